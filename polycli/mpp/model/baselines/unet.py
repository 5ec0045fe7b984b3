"""A U-Net whose blocks are those of ConvNeXt (Liu et al. 2022), the strongest baseline of The Well (Ohana et al. 2024).

The resolution is halved `stages` times while the channels double, and doubled back; at each resolution what went down
is joined to what comes up. Convolutions reach over the sides of the grid by the rule of each side, so that on periodic
grids the network commutes with shifts by whole coarsest points.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from polycli.mpp.model.baselines.fields import FieldLifting, FieldReadout, GridNetwork
from polycli.mpp.model.baselines.sides import with_margins
from polycli.mpp.model.padding import crop_to_grid, pad_to_patches
from polycli.mpp.model.stem import PatchConvolution, PatchTransposed
from polycli.mpp.recipe.networks import UnetSection
from polycli.nn.products import linear


class ConvNextBlock(nn.Module):
    """A depthwise convolution, a norm over channels and an MLP at each point, added to what came in."""

    def __init__(self, channels: int, kernel_size: int, layer_scale: float) -> None:
        super().__init__()
        self.reach = kernel_size // 2
        self.depthwise = nn.Conv2d(channels, channels, kernel_size, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.expand = nn.Linear(channels, 4 * channels)
        self.shrink = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), layer_scale))

    def forward(self, x: Float[Tensor, "b h w d"], bcs: Int[Tensor, "b 2"]) -> Float[Tensor, "b h w d"]:
        """Returns hidden fields of the same shape."""
        y = self.depthwise(with_margins(x, bcs, self.reach).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        y = functional.gelu(linear(self.norm(y), self.expand.weight, self.expand.bias))
        return x + self.scale * linear(y, self.shrink.weight, self.shrink.bias)


class Resolution(nn.Module):
    """The blocks of one resolution, one after the other."""

    def __init__(self, section: UnetSection, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            ConvNextBlock(channels, section.kernel_size, section.layer_scale) for _ in range(section.blocks_per_stage)
        )

    def forward(self, x: Float[Tensor, "b h w d"], bcs: Int[Tensor, "b 2"]) -> Float[Tensor, "b h w d"]:
        """Returns hidden fields of the same shape."""
        for layer in self.layers:
            x = layer(x, bcs)
        return x


class ConvNextUnet(GridNetwork):
    """Next frame from a context of frames, whose channels are taken together at each point."""

    section: UnetSection
    is_chain = False

    def __init__(self, section: UnetSection) -> None:
        super().__init__(section)
        if section.history is None:
            raise ValueError("a U-Net is made for a number of frames: `history` of its section is missing")
        states, widths = len(section.fields), [section.width * 2**stage for stage in range(section.stages + 1)]
        self.lifting = FieldLifting(states, section.history, section.width)
        #: Down to the coarsest resolution and up again.
        self.blocks = nn.ModuleList(Resolution(section, width) for width in (*widths, *widths[-2::-1]))
        self.down_norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for width in widths[:-1])
        self.down = nn.ModuleList(PatchConvolution(width, 2 * width, 2) for width in widths[:-1])
        self.up_norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for width in widths[:0:-1])
        self.up = nn.ModuleList(PatchTransposed(width, width // 2, 2) for width in widths[:0:-1])
        self.join = nn.ModuleList(nn.Linear(2 * width, width) for width in widths[-2::-1])
        self.last_norm = nn.LayerNorm(section.width, eps=1e-6)
        self.readout = FieldReadout(section.width, states)

    @property
    def shared_ends(self) -> Sequence[nn.Module]:
        """The parts that lead from one resolution to the next, and the last norm."""
        return (self.down_norms, self.down, self.up_norms, self.up, self.join, self.last_norm)

    def hidden(
        self,
        x: Float[Tensor, "b t c h w"],
        selection: Float[Tensor, "s c n"],
        bcs: Int[Tensor, "b 2"],
        told: Float[Tensor, "b m"] | None = None,  # noqa: ARG002  # AViT alone is told something.
    ) -> Float[Tensor, "b h w d"]:
        """Hidden fields at the resolution of the grid, after the way down and up."""
        grid, coarsest = (x.shape[3], x.shape[4]), 2**self.section.stages
        fields = self.lifting(pad_to_patches(x, bcs, coarsest), selection)
        passed = []
        for stage in range(self.section.stages):
            fields = self.blocks[stage](fields, bcs)
            passed.append(fields)
            fields = self.down[stage](self.down_norms[stage](fields))
        fields = self.blocks[self.section.stages](fields, bcs)
        for stage in range(self.section.stages):
            fields = self.up[stage](self.up_norms[stage](fields))
            joined = torch.cat([fields, passed.pop().to(fields.dtype)], dim=-1)
            fields = self.join[stage](joined)
            fields = self.blocks[self.section.stages + 1 + stage](fields, bcs)
        fields = self.last_norm(fields)
        return crop_to_grid(fields.permute(0, 3, 1, 2), grid, coarsest).permute(0, 2, 3, 1)

    def decoded(
        self,
        hidden: Float[Tensor, "b h w d"],
        selection: Float[Tensor, "s c n"],
        grid: tuple[int, int],  # noqa: ARG002  # That of the hidden fields.
    ) -> Float[Tensor, "b c h w"]:
        """Returns the selected fields on the grid."""
        return self.readout(hidden, selection)  # type: ignore[no-any-return]
