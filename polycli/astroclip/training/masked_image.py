"""Masked autoencoding of images (He et al. 2022): stage `image`, objective `masked`.

The encoder sees the patches alone that are left; a smaller decoder gets their tokens, and a token of its own in place
of each hidden one, and reconstructs the hidden patches as the encoder would have seen them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.masking import seen_patches
from polycli.astroclip.model.vision_transformer import EPSILON, INPUT_DEVIATION, INPUT_MEAN, Block
from polycli.astroclip.recipe.model import AugmentationSection, ImageSection
from polycli.astroclip.recipe.objectives import MaskedImageSection
from polycli.astroclip.training.distillation import backbone_of
from polycli.astroclip.training.objectives import Objective, Outcome, input_view
from polycli.engine.task import Batch


class MaskedImages(Objective):
    """Reconstruct hidden patches from the others."""

    def __init__(
        self,
        network: AstroClip,
        section: MaskedImageSection,
        augmentation: AugmentationSection,
        *,
        bands: Sequence[str],
    ) -> None:
        super().__init__(network)
        self.section, self.augmentation, self.bands = section, augmentation, tuple(bands)
        self.image = backbone_of(network).section
        self.decoder = PatchDecoder(self.image, section)

    def forward(self, batch: Batch) -> Outcome:
        """The mean squared error over all numbers of the hidden patches, whose variance is about one."""
        augmentation = self.augmentation if self.training else None
        rgb = input_view(self.network, batch["image"], batch["keys"], augmentation, bands=self.bands)
        mean, deviation = INPUT_MEAN[self.image.input], INPUT_DEVIATION[self.image.input]
        with torch.autocast(rgb.device.type, enabled=False):
            patches = as_patches((rgb - mean) / deviation, self.image.patch_size)
            seen, hidden = seen_patches(batch["keys"], patches.shape[1], hidden=self.section.hidden)
            target = standardised(patches) if self.section.standardise else patches
        # Convolutions see beyond a patch: what is hidden must not be there at all.
        side = self.image.size // self.image.patch_size
        cover = hidden.view(-1, 1, side, side).repeat_interleave(self.image.patch_size, dim=2)
        covered = rgb.masked_fill(cover.repeat_interleave(self.image.patch_size, dim=3), mean)
        tokens = backbone_of(self.network)(covered, seen=seen)
        error = (self.decoder(tokens, seen, hidden).float() - target).square().mean(dim=2)
        loss = error[hidden].mean()
        if self.training:
            return loss, {}
        return loss, {"vectors": self.network.image_features(rgb).float()}


class PatchDecoder(nn.Module):
    """Tokens of the whole and of seen patches to the pixels of all patches."""

    def __init__(self, image: ImageSection, section: MaskedImageSection) -> None:
        super().__init__()
        width, count = section.decoder_width, (image.size // image.patch_size) ** 2
        sizes = {"embed_dim": width, "depth": section.decoder_depth, "num_heads": section.decoder_heads}
        inner = image.model_copy(update={**sizes, "drop_path": 0.0})
        self.embed = nn.Linear(image.embed_dim, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + count, width))
        self.blocks = nn.ModuleList(Block(inner, drop=0.0) for _ in range(section.decoder_depth))
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.pixels = nn.Linear(width, image.planes * image.patch_size**2)
        nn.init.trunc_normal_(self.positions, std=0.02)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(
        self, tokens: Float[Tensor, "b t d"], seen: Int[Tensor, "b k"], hidden: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b n p"]:
        """Pixels of every patch, as `as_patches` orders them; those of seen ones are of no use."""
        given = self.embed(tokens)
        rest = self.mask_token.to(given.dtype).expand(*hidden.shape, -1)
        patches = rest.scatter(1, seen[:, :, None].expand(-1, -1, given.shape[2]), given[:, 1:])
        mixed = torch.cat([given[:, :1], patches], dim=1) + self.positions
        for block in self.blocks:
            mixed = block(mixed)
        return self.pixels(self.norm(mixed[:, 1:]))  # type: ignore[no-any-return]


def as_patches(images: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b n p"]:
    """Images cut into patches, row by row, the pixels of each as one vector: bands, then rows, then columns."""
    cut = images.unfold(2, size, size).unfold(3, size, size)
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def standardised(patches: Float[Tensor, "b n p"]) -> Float[Tensor, "b n p"]:
    """Each patch less its mean and over its deviation."""
    deviation, mean = torch.std_mean(patches, dim=2, keepdim=True)
    return (patches - mean) / deviation.clamp(min=EPSILON)
