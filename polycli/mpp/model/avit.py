"""The network: an axial vision transformer over the frames of a trajectory (McCabe et al. 2024, section 4).

AViT normalises each field by its own statistics over the context, projects the fields that are present into one
space, and predicts the next frame. It says nothing about how it is trained. Its state dict has the names of the
published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polycli.mpp.model.absolute_position import AbsolutePosition
from polycli.mpp.model.attention import Axes, SpaceTimeBlock
from polycli.mpp.model.conditioning import Conditioning
from polycli.mpp.model.jitter import Draw, Fractions, drawn_in_training, jittered
from polycli.mpp.model.mixture import MixedPlacement, TokenMask
from polycli.mpp.model.network import Network
from polycli.mpp.model.padding import PERIODIC, Placement
from polycli.mpp.model.position_bias import POSITION_BIASES, key_mask
from polycli.mpp.model.stem import FieldProjection, Head, Stem
from polycli.mpp.recipe.training import ModelSection


class AViT(Network):
    """Next frame from a context of frames, for any subset of the known fields."""

    section: ModelSection
    mixes = True

    def __init__(self, section: ModelSection) -> None:
        super().__init__(section)
        width, states = section.embed_dim, len(section.fields)
        self.space_bag = FieldProjection(states, width // 4)
        self.embed = Stem(section.patch_size, width)
        self.blocks = nn.ModuleList(SpaceTimeBlock(section) for _ in range(section.blocks))
        self.debed = Head(section.patch_size, width, states)
        self.position: AbsolutePosition | None = None
        self.tell_positions(section.absolute_position)
        self.conditioning: Conditioning | None = None
        self.tell(section)

    def tell_positions(self, axes: Literal["none", "walls", "all"]) -> None:
        """Tell tokens their place along these axes from now on; one that was not told before adds nothing at first."""
        self.section = self.section.model_copy(update={"absolute_position": axes})
        if axes == "none":
            self.position = None
        elif self.position is None:
            self.position = AbsolutePosition(self.section.embed_dim, axes)
        else:
            self.position.axes = axes

    def tell(self, section: ModelSection) -> None:
        """Tell numbers about samples as a section says from now on; what was not told before changes nothing yet."""
        known, self.section = self.conditioning, section
        if not section.told:
            self.conditioning = None
            return
        width, dropout = section.embed_dim, section.condition_dropout
        self.conditioning = Conditioning(section.told, section.blocks, width, dropout)
        if known is not None:
            self.conditioning.copy_from(known)

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
        self,
        x: Float[Tensor, "b t c h w"],
        selection: Float[Tensor, "s c n"],
        bcs: Int[Tensor, "b 2"],
        told: Float[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b hp wp d"]:
        """The tokens of the last frame after all blocks; patches are not jittered here."""
        placement = Placement.centred((x.shape[3], x.shape[4]), self.section.patch_size)
        return self._tokens(x, selection, bcs, placement, told)[:, -1]

    def decoded(
        self, hidden: Float[Tensor, "b hp wp d"], selection: Float[Tensor, "s c n"], grid: tuple[int, int]
    ) -> Float[Tensor, "b c h w"]:
        """The fields that the head makes of tokens."""
        return Placement.centred(grid, self.section.patch_size).take_back(self.debed(hidden, selection))

    def output(
        self,
        x: Float[Tensor, "b t c h w"],
        selection: Float[Tensor, "s c n"],
        bcs: Int[Tensor, "b 2"],
        draw: Draw,
        told: Float[Tensor, "b m"] | None = None,
        *,
        grids: Int[Tensor, "b 2"] | None = None,
    ) -> Float[Tensor, "b c h w"]:
        """The decoded tokens of the last frame; where patches are jittered, from a grid that was moved, moved back."""
        grid = (x.shape[3], x.shape[4])
        if grids is not None:
            mixed = MixedPlacement.of(grids, grid, bcs, self.section.patch_size, self._fractions(draw))
            tokens = self._tokens(x, selection, bcs, mixed, told)[:, -1]
            return mixed.take_back(self.debed(tokens, selection, mixed.mask), grid)
        placement = self._placement(grid, bcs, draw)
        return placement.take_back(self.debed(self._tokens(x, selection, bcs, placement, told)[:, -1], selection))

    def _placement(self, grid: tuple[int, int], bcs: Int[Tensor, "b 2"], draw: Draw) -> Placement:
        """Decides where the grid lies among the patches."""
        fractions = self._fractions(draw)
        if fractions is None:
            return Placement.centred(grid, self.section.patch_size)
        return jittered(grid, bcs, self.section.patch_size, fractions)

    def _fractions(self, draw: Draw) -> Fractions | None:
        """Decides how far the grid is moved against the patches, where it is."""
        jitter = self.section.jitter
        if jitter == "none" or (jitter == "training" and not self.training):
            return None
        return drawn_in_training() if self.training else draw.fractions

    def _tokens(
        self,
        x: Float[Tensor, "b t c h w"],
        selection: Float[Tensor, "s c n"],
        bcs: Int[Tensor, "b 2"],
        placement: Placement | MixedPlacement,
        told: Float[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b 1 hp wp d"]:
        """Tokens of the last frame after all blocks, from frames that are normalised."""
        mask = placement.mask if isinstance(placement, MixedPlacement) else None
        with torch.autocast(x.device.type, enabled=False):
            columns, bias = self.space_bag(selection, mixed=mask is not None)
        tokens = self.embed(placement.lay(x, bcs), columns, bias, mask)
        if self.position is not None:
            tokens = self.position(tokens, bcs, placement)
        axes = self._axes(tokens, bcs) if mask is None else self._own_axes(tokens, bcs, mask)
        if self.conditioning is None:
            for number in range(self.section.blocks):
                tokens = self._run(number, tokens, axes)
            return tokens  # type: ignore[no-any-return]
        scales, shifts = self.conditioning(told, len(x), tokens.dtype)
        for number, (scale, shift) in enumerate(zip(scales, shifts, strict=True)):
            tokens = self._run(number, torch.addcmul(tokens + shift, tokens, scale), axes)
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

    def _own_axes(self, tokens: Float[Tensor, "b t hp wp d"], bcs: Int[Tensor, "b 2"], mask: TokenMask) -> Axes:
        """The axes of samples that differ in their grids."""
        bias = POSITION_BIASES[self.section.position_bias]
        frames, height, width = tokens.shape[1:4]
        rows, columns = mask.counts.unbind(dim=1)
        periodic_width, periodic_height = (bcs == PERIODIC).unbind(dim=1)
        return Axes(
            time=bias.features(frames, tokens.device)[:1],
            height=bias.own_features(height, rows, periodic_height),
            width=bias.own_features(width, columns, periodic_width),
            periodic_height=periodic_height,
            periodic_width=periodic_width,
            own=mask.at(tokens),
            hidden_height=key_mask(height, rows),
            hidden_width=key_mask(width, columns),
        )

    def _run(self, number: int, tokens: Tensor, axes: Axes) -> Tensor:
        last_frame = number == self.section.blocks - 1
        drop = self.section.drop_path * number / max(self.section.blocks - 1, 1)
        keep = torch.full((), 1 - drop, device=tokens.device) if self.training and drop > 0 else None
        return self.blocks[number](tokens, axes, keep, last_frame=last_frame)  # type: ignore[no-any-return]
