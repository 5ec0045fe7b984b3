"""A convolutional image network in the manner of ConvNeXt (Liu et al. 2022): a supervised baseline of fair strength.

Four stages, each at half the size and twice the width of the one before; every block is a wide convolution of each
channel by itself, then two linear layers at each place, added to its input.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from polycli.astroclip.recipe.model import ImageSection

#: Parts of the blocks in each stage, as ConvNeXt-T has 3, 3, 9 and 3, and how its last width compares with the others.
_SHARES, _NARROWER = (1 / 6, 1 / 6, 1 / 2, 1 / 6), (8, 4, 2, 1)
_KERNEL, _WIDER, _STEM = 7, 4, 4


class ConvNeXt(nn.Module):
    """Feature maps at a thirty-second of the image's size.

    Attributes:
        section: the recipe section that it was built from; `depth` counts the blocks of all stages.
    """

    def __init__(self, section: ImageSection) -> None:
        super().__init__()
        self.section = section
        widths = [max(section.embed_dim // narrower, 1) for narrower in _NARROWER]
        counts = [max(round(section.depth * share), 1) for share in _SHARES]
        drops = torch.linspace(0, section.drop_path, sum(counts), device="cpu").tolist()
        self.stem = nn.Sequential(
            nn.Conv2d(section.planes, widths[0], kernel_size=_STEM, stride=_STEM), _ChannelNorm(widths[0])
        )
        self.stages = nn.ModuleList(
            nn.ModuleList(_Block(width, section.layer_scale, drops.pop(0)) for _ in range(count))
            for width, count in zip(widths, counts, strict=True)
        )
        self.reductions = nn.ModuleList(
            nn.Sequential(_ChannelNorm(before), nn.Conv2d(before, after, kernel_size=2, stride=2))
            for before, after in pairwise(widths)
        )
        self.norm = nn.LayerNorm(widths[-1])
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    @property
    def blocks(self) -> list[nn.Module]:
        """The blocks of all stages, in order."""
        return [block for stage in self.stages for block in stage.children()]

    def forward(self, rgb: Float[Tensor, "b p h w"]) -> Float[Tensor, "b t d"]:
        """Features at each place of the last map, row by row."""
        maps = self.stem(rgb)
        for number, stage in enumerate(self.stages):
            if number:
                maps = self.reductions[number - 1](maps)
            for block in stage.children():
                maps = block(maps)
        return self.norm(maps.flatten(2).transpose(1, 2))  # type: ignore[no-any-return]

    def pooled(self, rgb: Float[Tensor, "b p h w"]) -> Float[Tensor, "b d"]:
        """Returns the mean of the features over all places."""
        return self(rgb).mean(dim=1)  # type: ignore[no-any-return]


class _ChannelNorm(nn.LayerNorm):
    """Normalises the channels at each place of a map."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-6)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Block(nn.Module):
    """Convolve each channel by itself, mix the channels at each place, and add the input."""

    def __init__(self, width: int, scale: float, drop: float) -> None:
        super().__init__()
        self.drop = drop
        self.depthwise = nn.Conv2d(width, width, kernel_size=_KERNEL, padding=_KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.wider, self.narrower = nn.Linear(width, _WIDER * width), nn.Linear(_WIDER * width, width)
        self.gamma = nn.Parameter(torch.full((width,), scale))

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        places = self.norm(self.depthwise(maps).permute(0, 2, 3, 1))
        branch = (self.gamma * self.narrower(functional.gelu(self.wider(places)))).permute(0, 3, 1, 2)
        if self.training and self.drop > 0:
            # Stochastic depth: the branch of some images is left out, that of the others made larger.
            keep = torch.rand(len(maps), 1, 1, 1, device=maps.device) >= self.drop
            branch = branch * keep.to(branch.dtype) / (1 - self.drop)
        return maps + branch  # type: ignore[no-any-return]
