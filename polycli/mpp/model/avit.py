"""The network: an axial vision transformer over the frames of a trajectory (McCabe et al. 2024, section 4).

AViT normalises each field by its own statistics over the context, projects the fields that are present into one
space, and predicts the next frame. It says nothing about how it is trained. Its state dict has the names of the
published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polycli.mpp.model.attention import Axes, SpaceTimeBlock
from polycli.mpp.model.network import Network
from polycli.mpp.model.padding import PERIODIC, crop_to_grid, pad_to_patches
from polycli.mpp.model.position_bias import POSITION_BIASES
from polycli.mpp.model.stem import FieldProjection, Head, Stem
from polycli.mpp.recipe.training import ModelSection


class AViT(Network):
    """Next frame from a context of frames, for any subset of the known fields."""

    section: ModelSection

    def __init__(self, section: ModelSection) -> None:
        super().__init__(section)
        width, states = section.embed_dim, len(section.fields)
        self.space_bag = FieldProjection(states, width // 4)
        self.embed = Stem(section.patch_size, width)
        self.blocks = nn.ModuleList(SpaceTimeBlock(section) for _ in range(section.blocks))
        self.debed = Head(section.patch_size, width, states)

    @property
    def feature_points(self) -> int:
        """A token is a patch; where the patch size does not divide the grid, outer patches reach beyond it."""
        return self.section.patch_size

    @property
    def field_axes(self) -> Mapping[str, int]:
        """Columns of the projection, kernels of the last layer and their biases."""
        return {"space_bag.weight": 1, f"debed.{self.debed.kernel_name}": 1, "debed.out_bias": 0}

    @property
    def shared_ends(self) -> Sequence[nn.Module]:
        """The stem, and the head but for its last kernel."""
        return (self.embed, self.debed.out_proj)

    def hidden(
        self, x: Float[Tensor, "b t c h w"], selection: Float[Tensor, "s c n"], bcs: Int[Tensor, "b 2"]
    ) -> Float[Tensor, "b hp wp d"]:
        """The tokens of the last frame after all blocks."""
        return self._tokens(x, selection, bcs)[:, -1]

    def decoded(
        self, hidden: Float[Tensor, "b hp wp d"], selection: Float[Tensor, "s c n"], grid: tuple[int, int]
    ) -> Float[Tensor, "b c h w"]:
        """The fields that the head makes of tokens."""
        return crop_to_grid(self.debed(hidden, selection), grid, self.section.patch_size)

    def _tokens(
        self, x: Float[Tensor, "b t c h w"], selection: Float[Tensor, "s c n"], bcs: Int[Tensor, "b 2"]
    ) -> Float[Tensor, "b 1 hp wp d"]:
        """Tokens of the last frame after all blocks, from frames that are normalised."""
        with torch.autocast(x.device.type, enabled=False):
            columns, bias = self.space_bag(selection)
        tokens = self.embed(pad_to_patches(x, bcs, self.section.patch_size), columns, bias)
        axes = self._axes(tokens, bcs)
        for number in range(self.section.blocks):
            tokens = self._run(number, tokens, axes)
        return tokens  # type: ignore[no-any-return]

    def _axes(self, tokens: Float[Tensor, "b t hp wp d"], bcs: Int[Tensor, "b 2"]) -> Axes:
        features = POSITION_BIASES[self.section.position_bias].features
        frames, height, width = tokens.shape[1:4]
        return Axes(
            time=features(frames, tokens.device)[:1],
            height=features(height, tokens.device),
            width=features(width, tokens.device),
            periodic_height=bcs[:, 1] == PERIODIC,
            periodic_width=bcs[:, 0] == PERIODIC,
        )

    def _run(self, number: int, tokens: Tensor, axes: Axes) -> Tensor:
        last_frame = number == self.section.blocks - 1
        drop = self.section.drop_path * number / max(self.section.blocks - 1, 1)
        keep = torch.full((), 1 - drop, device=tokens.device) if self.training and drop > 0 else None
        return self.blocks[number](tokens, axes, keep, last_frame=last_frame)  # type: ignore[no-any-return]
