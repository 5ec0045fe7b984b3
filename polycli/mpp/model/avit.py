"""The network: an axial vision transformer over the frames of a trajectory (McCabe et al. 2024, section 4).

AViT normalises each field by its own statistics over the context, projects the fields that are present into one
space, and predicts the next frame. It says nothing about how it is trained. Its state dict has the names of the
published checkpoints.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from polycli.errors import UserError
from polycli.mpp.model.attention import Axes, SpaceTimeBlock
from polycli.mpp.model.flops import flops_per_sample
from polycli.mpp.model.normalization import change_scale, field_statistics, widen
from polycli.mpp.model.position_bias import POSITION_BIASES
from polycli.mpp.model.stem import FieldProjection, Head, Stem, select_fields
from polycli.mpp.recipe.training import ModelSection
from polycli.nn.skeleton import skeleton

__all__ = ["AViT", "flops_per_sample", "parameter_count", "patch_grid_check"]


class AViT(nn.Module):
    """Next frame from a context of frames, for any subset of the known fields.

    Attributes:
        section: the recipe section that it was built from.
        activation_checkpointing: recompute blocks in the backward pass; the engine sets it.
    """

    def __init__(self, section: ModelSection) -> None:
        super().__init__()
        self.section = section
        self.activation_checkpointing = False
        width, states = section.embed_dim, len(section.fields)
        self.space_bag = FieldProjection(states, width // 4)
        self.embed = Stem(section.patch_size, width)
        self.blocks = nn.ModuleList(SpaceTimeBlock(section) for _ in range(section.blocks))
        self.debed = Head(section.patch_size, width, states)

    def forward(
        self,
        x: Float[Tensor, "b t c h w"],
        state_labels: Int[Tensor, " c"] | Int[Tensor, "b c"],
        bcs: Int[Tensor, "b 2"],
    ) -> Float[Tensor, "b c h w"]:
        """The frame after the last one of `x`, in the units of `x`, float32.

        Args:
            x: frames; H and W are multiples of the patch size (`patch_grid_check`).
            state_labels: which known state each channel is: (C,) where that holds for the whole batch, else (B, C).
            bcs: 1 where an axis is periodic; [:, 0] is along W, [:, 1] along H.
        """
        patch_grid_check((x.shape[3], x.shape[4]), self.section.patch_size)
        x = widen(x)
        mean, scale = field_statistics(x)
        with torch.autocast(x.device.type, enabled=False):
            selection = select_fields(state_labels, len(self.section.fields), x.dtype)
            columns, bias = self.space_bag(selection)
        tokens = self.embed((x - mean) / scale, columns, bias)
        axes = self._axes(tokens, bcs)
        for number in range(self.section.blocks):
            tokens = self._run(number, tokens, axes)
        output = self.debed(tokens[:, -1], selection)
        if self.section.predicts == "change":
            return x[:, -1] + output * change_scale(x, scale)[:, 0]  # type: ignore[no-any-return]
        return output * scale[:, 0] + mean[:, 0]  # type: ignore[no-any-return]

    def compile_blocks(self, backend: str = "inductor") -> None:
        """Compile block by block, in place: alike blocks share their code, so that depth costs no time to compile.

        `torch.compile(model)` makes one graph instead, which takes minutes for twelve blocks and runs no faster.
        """
        from torch._functorch import config

        # By default a compiled backward pass runs under the forward pass's autocast: it would multiply in bfloat16 what
        # `products` multiplies in float32 on purpose. Uncompiled it does not, and neither shall it here.
        config.backward_pass_autocast = "off"  # noqa: S105  # not a password
        for block in self.blocks:
            block.compile(backend=backend, fullgraph=True, dynamic=False)

    def _axes(self, tokens: Float[Tensor, "b t hp wp d"], bcs: Int[Tensor, "b 2"]) -> Axes:
        features = POSITION_BIASES[self.section.position_bias].features
        frames, height, width = tokens.shape[1:4]
        return Axes(
            time=features(frames, tokens.device)[:1],
            height=features(height, tokens.device),
            width=features(width, tokens.device),
            periodic_height=bcs[:, 1] > 0,
            periodic_width=bcs[:, 0] > 0,
        )

    def _run(self, number: int, tokens: Tensor, axes: Axes) -> Tensor:
        last_frame = number == self.section.blocks - 1
        drop = self.section.drop_path * number / max(self.section.blocks - 1, 1)
        keep = torch.full((), 1 - drop, device=tokens.device) if self.training and drop > 0 else None
        if self.activation_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(  # type: ignore[no-any-return]
                self.blocks[number], tokens, axes, keep, last_frame=last_frame, use_reentrant=False
            )
        return self.blocks[number](tokens, axes, keep, last_frame=last_frame)  # type: ignore[no-any-return]


def patch_grid_check(grid: tuple[int, int], patch_size: int) -> None:
    """Refuse a grid that the patch size does not divide."""
    if grid[0] % patch_size or grid[1] % patch_size:
        fitting = [size for size in (16, 8, 4) if grid[0] % size == 0 and grid[1] % size == 0]
        raise UserError(
            f"fields are {grid[0]} x {grid[1]}, which model.patch_size {patch_size} does not divide",
            hint=f"use model.patch_size={fitting[0]}"
            if fitting
            else "prepare them on a grid of a multiple of 4 points",
        )


def parameter_count(section: ModelSection) -> int:
    """Parameters, counted without allocating them."""
    with skeleton():
        return sum(parameter.numel() for parameter in AViT(section).parameters())
