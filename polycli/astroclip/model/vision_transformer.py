"""A vision transformer as DINOv2 has it (Oquab et al. 2023): class token, layer scale, learned positions.

The names in the state dict are DINOv2's with flat block numbers; `published_names` knows its chunked ones.
"""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from polycli.astroclip.model.stems import PatchConvolutions
from polycli.astroclip.recipe.model import ImageInput, ImageSection
from polycli.errors import UserError

EPSILON = 1e-6
#: Mean and standard deviation of the pixels of each kind of model input, measured on simulated cutouts of 144 pixels.
#: Random weights start so that the first layer sees this as 0 and 1; otherwise all images start as one and the same
#: vector.
INPUT_MEAN: dict[ImageInput, float] = {"rgb": 0.14, "stein": 0.017, "flux": 0.003, "asinh": 0.009}
INPUT_DEVIATION: dict[ImageInput, float] = {"rgb": 0.10, "stein": 0.064, "flux": 0.034, "asinh": 0.058}


class VisionTransformer(nn.Module):
    """Tokens of an image: one for the whole, then one per patch, row by row.

    Attributes:
        section: the recipe section that it was built from.
    """

    def __init__(self, section: ImageSection) -> None:
        super().__init__()
        self.section = section
        width = section.embed_dim
        self.patches = section.size // section.patch_size
        self.patch_embed = _PatchEmbed(section)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.patches**2, width))
        # Stands for hidden patches in the objective `dinov2`, which alone trains it.
        self.mask_token = nn.Parameter(torch.zeros(1, width), requires_grad=False)
        last = max(section.depth - 1, 1)
        self.blocks = nn.ModuleList(
            Block(section, drop=section.drop_path * number / last) for number in range(section.depth)
        )
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self._initialise()

    def forward(
        self,
        rgb: Float[Tensor, "b 3 h w"],
        *,
        whole: bool = True,
        positions: bool = True,
        hidden: Bool[Tensor, "b n"] | None = None,
        seen: Int[Tensor, "b k"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """Normalised tokens of model input (see `polycli.astroclip.data.rgb`).

        Args:
            rgb: H and W are multiples of the patch size; positions of another size than trained are interpolated.
            whole: put the token of the whole image first. AstroCLIP's image head was trained without it,
            positions: and without positions.
            hidden: patches in whose place the mask token stands.
            seen: the numbers of the only patches that there are to be tokens of; all if absent.
        """
        tokens = self.patch_embed(rgb)
        if hidden is not None:
            tokens = torch.where(hidden[:, :, None], self.mask_token.to(tokens.dtype), tokens)
        if positions:
            tokens = tokens + self._patch_positions(rgb.shape[-2:])
        if seen is not None:
            tokens = tokens.gather(1, seen[:, :, None].expand(-1, -1, tokens.shape[2]))
        if whole:
            first = self.cls_token + self.pos_embed[:, :1] if positions else self.cls_token
            tokens = torch.cat([first.expand(len(tokens), -1, -1).to(tokens.dtype), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)  # type: ignore[no-any-return]

    def pooled(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """One vector per image: the token of the whole, as AstroDINO is read, or the mean of its patches."""
        return self.pool(self(rgb))

    def pool(self, tokens: Float[Tensor, "b t d"]) -> Float[Tensor, "b d"]:
        """The vector for the whole image of all its tokens, the class token first."""
        return tokens[:, 0] if self.section.pool == "class" else tokens[:, 1:].mean(dim=1)

    def _patch_positions(self, size: tuple[int, ...]) -> Float[Tensor, "1 n d"]:
        positions = self.pos_embed[:, 1:]
        wanted = (size[0] // self.section.patch_size, size[1] // self.section.patch_size)
        if wanted == (self.patches, self.patches):
            return positions
        grid = positions.view(1, self.patches, self.patches, -1).permute(0, 3, 1, 2).float()
        resized = functional.interpolate(grid, size=wanted, mode="bicubic", align_corners=False)
        return resized.flatten(2).transpose(1, 2).to(positions.dtype)

    def _initialise(self) -> None:
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        with torch.no_grad():
            first = self.patch_embed.first
            first.weight /= INPUT_DEVIATION[self.section.input]
            if first.bias is not None:
                first.bias -= INPUT_MEAN[self.section.input] * first.weight.sum(dim=(1, 2, 3))


class _PatchEmbed(nn.Module):
    def __init__(self, section: ImageSection) -> None:
        super().__init__()
        self.patch_size, self.planes = section.patch_size, section.planes
        self.proj: nn.Conv2d | PatchConvolutions = (
            PatchConvolutions(section.patch_size, section.embed_dim, section.planes)
            if section.stem == "convolution"
            else nn.Conv2d(section.planes, section.embed_dim, kernel_size=section.patch_size, stride=section.patch_size)
        )

    @property
    def first(self) -> nn.Conv2d:
        """The layer that sees the pixels."""
        return self.proj if isinstance(self.proj, nn.Conv2d) else cast("nn.Conv2d", self.proj.layers[0])

    def forward(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n d"]:
        if rgb.ndim != 4 or rgb.shape[1] != self.planes or any(side % self.patch_size for side in rgb.shape[2:]):
            raise UserError(
                f"model input is {tuple(rgb.shape)}, (images, {self.planes}, height, width) with sides divisible by "
                f"{self.patch_size} was expected"
            )
        return self.proj(rgb).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and a two-layer network, each normalised before and scaled after, then added."""

    def __init__(self, section: ImageSection, *, drop: float) -> None:
        super().__init__()
        width = section.embed_dim
        self.drop = drop
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.attn = _Attention(width, section.num_heads)
        self.ls1 = _LayerScale(width, section.layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)
        self.mlp = _Mlp(width, 4 * width)
        self.ls2 = _LayerScale(width, section.layer_scale)

    def forward(self, tokens: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """The tokens with what both branches add to them."""
        tokens = tokens + self._dropped(self.ls1(self.attn(self.norm1(tokens))))
        return tokens + self._dropped(self.ls2(self.mlp(self.norm2(tokens))))

    def _dropped(self, branch: Tensor) -> Tensor:
        """Stochastic depth: the branch of some images is left out, that of the others made larger."""
        if not self.training or self.drop == 0:
            return branch
        keep = torch.rand(len(branch), 1, 1, device=branch.device) >= self.drop
        return branch * keep.to(branch.dtype) / (1 - self.drop)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        batch, count, width = tokens.shape
        parts = self.qkv(tokens).view(batch, count, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, width))  # type: ignore[no-any-return]


class _LayerScale(nn.Module):
    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), initial))

    def forward(self, values: Tensor) -> Tensor:
        return values * self.gamma


class _Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, values: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(values)))  # type: ignore[no-any-return]
