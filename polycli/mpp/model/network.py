"""The contract of every network of MPP: the next frame of any subset of named fields, in the units that came in.

Normalisation, the choice of fields by name and the step from an output to a state are the same for all of them. A
network brings what lies between: `hidden` and `decoded`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polycli.errors import UserError
from polycli.mpp.model.jitter import Draw
from polycli.mpp.model.mixture import check_grids, first_points, own_values
from polycli.mpp.model.normalization import change_scale, field_statistics, widen
from polycli.mpp.model.padding import OPEN
from polycli.mpp.model.stem import select_fields
from polycli.mpp.recipe.networks import NetworkSection
from polycli.mpp.recipe.physics import ABSENT


class Network(nn.Module, ABC):
    """Next frame from a context of frames, for any subset of the known fields.

    Attributes:
        section: the recipe section that it was built from.
        blocks: the parts that repeat, each of which is recomputed, compiled or frozen by itself.
    """

    section: NetworkSection
    blocks: nn.ModuleList
    #: Whether what lies below the blocks is registered before them and what lies above behind, each block on the last.
    is_chain: ClassVar[bool] = True
    #: Whether samples of several fields, grids and boundaries can share a batch.
    mixes: ClassVar[bool] = False

    def __init__(self, section: NetworkSection) -> None:
        super().__init__()
        self.section = section

    def forward(
        self,
        x: Float[Tensor, "b t c h w"],
        state_labels: Int[Tensor, " c"] | Int[Tensor, "b c"],
        bcs: Int[Tensor, "b 2"],
        draw: Draw = Draw(),  # noqa: B008  # An immutable value.
        told: Float[Tensor, "b m"] | None = None,
        *,
        grids: Int[Tensor, "b 2"] | None = None,
    ) -> Float[Tensor, "b c h w"]:
        """The frame after the last one of `x`, in the units of `x`, float32.

        Args:
            x: frames; where the patch size does not divide H or W, see `padding`.
            state_labels: which known state each channel is: (C,) where that holds for the whole batch, else (B, C).
            bcs: 0 wall, 1 periodic, 2 open; [:, 0] is along W, [:, 1] along H.
            draw: which random placement of the patches, where they are jittered in forecasts; training draws its own.
            told: numbers about each sample in the order of `section.told`, NaN where one is not known; None is none.
            grids: where samples of several physics share the batch (see `mixture`), the points of each along (H, W);
                labels are (B, C) then, -1 for a channel that a sample does not have. Padding comes out as zeros.

        Raises:
            UserError: in eval mode, an input has another type or shape, or a label that the model does not know; or
                there are grids, and the network cannot mix them.
        """
        if grids is not None:
            return self._mixed(x, state_labels, bcs, draw, told=told, grids=grids)
        x, mean, scale, selection = self._normalised(x, state_labels, bcs)
        output = self.output((x - mean) / scale, selection, bcs, draw, told)
        if self.section.predicts == "change":
            return x[:, -1] + output * change_scale(x, scale)[:, 0]
        return output * scale[:, 0] + mean[:, 0]

    def _mixed(
        self,
        x: Float[Tensor, "b t c h w"],
        state_labels: Int[Tensor, "b c"],
        bcs: Int[Tensor, "b 2"],
        draw: Draw,
        *,
        told: Float[Tensor, "b m"] | None,
        grids: Int[Tensor, "b 2"],
    ) -> Float[Tensor, "b c h w"]:
        """`forward` of samples of several physics, each with statistics of its own points."""
        if not self.mixes:
            raise UserError(f"samples of several grids share no batch in a network of kind {self.section.kind}")
        x, mean, scale, selection = self._normalised(x, state_labels, bcs, grids)
        output = self.output((x - mean) / scale, selection, bcs, draw, told, grids=grids)
        if self.section.predicts == "change":
            own = first_points(grids, x.shape[3], x.shape[4])[:, None, None]
            output = x[:, -1] + output * change_scale(x, scale, own)[:, 0]
        else:
            output = output * scale[:, 0] + mean[:, 0]
        return own_values(output[:, None], state_labels, grids)[:, 0]

    def features(
        self,
        x: Float[Tensor, "b t c h w"],
        state_labels: Int[Tensor, " c"] | Int[Tensor, "b c"],
        bcs: Int[Tensor, "b 2"],
        told: Float[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b hp wp d"]:
        """The last hidden state, from which the next frame is decoded. Arguments and errors are those of `forward`.

        One vector stands for `feature_points` points of the grid along both axes.
        """
        x, mean, scale, selection = self._normalised(x, state_labels, bcs)
        return self.hidden((x - mean) / scale, selection, bcs, told)

    def output(
        self,
        x: Float[Tensor, "b t c h w"],
        selection: Float[Tensor, "s c n"],
        bcs: Int[Tensor, "b 2"],
        draw: Draw,  # noqa: ARG002  # AViT needs it.
        told: Float[Tensor, "b m"] | None = None,
        *,
        grids: Int[Tensor, "b 2"] | None = None,  # noqa: ARG002  # And this.
    ) -> Float[Tensor, "b c h w"]:
        """The answer to normalised frames: the next state or the change to it, normalised."""
        return self.decoded(self.hidden(x, selection, bcs, told), selection, (x.shape[3], x.shape[4]))

    @abstractmethod
    def hidden(
        self,
        x: Float[Tensor, "b t c h w"],
        selection: Float[Tensor, "s c n"],
        bcs: Int[Tensor, "b 2"],
        told: Float[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b hp wp d"]:
        """The last hidden state, from frames that are normalised; `selection` is as `stem.select_fields` gives it."""

    @abstractmethod
    def decoded(
        self, hidden: Float[Tensor, "b hp wp d"], selection: Float[Tensor, "s c n"], grid: tuple[int, int]
    ) -> Float[Tensor, "b c h w"]:
        """The selected fields on the grid (H, W) of the data, normalised, from the last hidden state."""

    @property
    @abstractmethod
    def feature_points(self) -> int:
        """Points of the grid along each axis for which one feature stands."""

    @property
    @abstractmethod
    def field_axes(self) -> Mapping[str, int]:
        """Maps the name of each tensor with one entry for each known field to the axis along which these stand."""

    @property
    @abstractmethod
    def shared_ends(self) -> Sequence[nn.Module]:
        """The parts before and behind the blocks that belong to no field."""

    def _normalised(
        self, x: Float[Tensor, "b t c h w"], state_labels: Tensor, bcs: Tensor, grids: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The frames in the precision of the statistics, their mean and scale by field, and which states they are."""
        # While training, batches come from stores that were checked, and a look at values costs a sync; in a compiled
        # graph there is no looking.
        if not self.training and not torch.compiler.is_compiling():
            lowest = 0 if grids is None else ABSENT
            check_inputs(x, state_labels, bcs, states=len(self.section.fields), lowest_label=lowest)
            if grids is not None:
                check_grids(
                    grids, state_labels, batch=len(x), size=(x.shape[3], x.shape[4]), patch_size=self.feature_points
                )
        x = widen(x).to(torch.promote_types(next(self.parameters()).dtype, torch.float32))
        own = None
        if grids is not None:
            x = own_values(x, state_labels, grids)
            own = first_points(grids, x.shape[3], x.shape[4])[:, None, None]
        mean, scale = field_statistics(x, own)
        with torch.autocast(x.device.type, enabled=False):
            selection = select_fields(state_labels, len(self.section.fields), x.dtype)
        return x, mean, scale, selection


def check_inputs(x: Tensor, state_labels: Tensor, bcs: Tensor, *, states: int, lowest_label: int = 0) -> None:
    """Refuse what is no batch of frames with labels and boundary conditions of this model, in a sentence.

    Raises:
        UserError: an input is no tensor, has another shape, or holds a number without meaning.
    """
    for name, value in {"x": x, "state_labels": state_labels, "bcs": bcs}.items():
        if not isinstance(value, Tensor):
            raise UserError(f"{name} is a {type(value).__name__}, not a tensor", hint=f"torch.as_tensor({name})")
    if x.ndim != 5 or not x.is_floating_point():
        raise UserError(f"x is {x.dtype} {tuple(x.shape)}; frames are floating-point (batch, time, field, H, W)")
    batch, fields = x.shape[0], x.shape[2]
    if tuple(state_labels.shape) not in {(fields,), (batch, fields)}:
        raise UserError(
            f"state_labels is {tuple(state_labels.shape)}; x has {fields} fields, so ({fields},) was expected, or "
            f"({batch}, {fields}) where samples differ"
        )
    if tuple(bcs.shape) != (batch, 2):
        raise UserError(f"bcs is {tuple(bcs.shape)}; ({batch}, 2) was expected: along W, along H")
    for name, value, lowest, count in (
        ("state_labels", state_labels, lowest_label, states),
        ("bcs", bcs, 0, OPEN + 1),
    ):
        if value.is_floating_point() or value.is_complex():
            raise UserError(f"{name} is {value.dtype}; integers were expected")
        if value.numel() and not lowest <= int(value.min()) <= int(value.max()) < count:
            raise UserError(
                f"{name} holds {sorted(set(value.flatten().tolist()))}; numbers from {lowest} to {count - 1} have a "
                "meaning"
            )
