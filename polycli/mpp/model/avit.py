"""The network: an axial vision transformer over the frames of a trajectory (McCabe et al. 2024, section 4).

AViT normalises each field by its own statistics over the context, projects the fields that are present into one
space, and predicts the next frame. It says nothing about how it is trained. Its state dict has the names of the
published checkpoints.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polycli.errors import UserError
from polycli.mpp.model.attention import Axes, SpaceTimeBlock
from polycli.mpp.model.normalization import change_scale, field_statistics, widen
from polycli.mpp.model.padding import OPEN, PERIODIC, crop_to_grid, pad_to_patches
from polycli.mpp.model.position_bias import POSITION_BIASES
from polycli.mpp.model.stem import FieldProjection, Head, Stem, select_fields
from polycli.mpp.recipe.training import ModelSection
from polycli.nn.skeleton import skeleton


class AViT(nn.Module):
    """Next frame from a context of frames, for any subset of the known fields.

    Attributes:
        section: the recipe section that it was built from.
    """

    def __init__(self, section: ModelSection) -> None:
        super().__init__()
        self.section = section
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
            x: frames; where the patch size does not divide H or W, see `padding`.
            state_labels: which known state each channel is: (C,) where that holds for the whole batch, else (B, C).
            bcs: 0 wall, 1 periodic, 2 open; [:, 0] is along W, [:, 1] along H.

        Raises:
            UserError: in eval mode, an input has another type or shape, or a label that the model does not know.
        """
        x, mean, scale, selection = self._normalised(x, state_labels, bcs)
        tokens = self._tokens((x - mean) / scale, selection, bcs)
        output = crop_to_grid(self.debed(tokens[:, -1], selection), (x.shape[3], x.shape[4]), self.section.patch_size)
        if self.section.predicts == "change":
            return x[:, -1] + output * change_scale(x, scale)[:, 0]
        return output * scale[:, 0] + mean[:, 0]

    def features(
        self,
        x: Float[Tensor, "b t c h w"],
        state_labels: Int[Tensor, " c"] | Int[Tensor, "b c"],
        bcs: Int[Tensor, "b 2"],
    ) -> Float[Tensor, "b hp wp d"]:
        """The last hidden state: the tokens of the last frame of `x` after all blocks, from which the head decodes.

        Arguments and errors are those of `forward`. A token is a patch of `patch_size` points along both axes; where
        that does not divide the grid, outer patches reach beyond it, as `padding` says.
        """
        x, mean, scale, selection = self._normalised(x, state_labels, bcs)
        return self._tokens((x - mean) / scale, selection, bcs)[:, -1]

    def _normalised(
        self, x: Float[Tensor, "b t c h w"], state_labels: Tensor, bcs: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The frames in the precision of the statistics, their mean and scale by field, and which states they are."""
        # While training, batches come from stores that were checked, and a look at values costs a sync; in a compiled
        # graph there is no looking.
        if not self.training and not torch.compiler.is_compiling():
            check_inputs(x, state_labels, bcs, states=len(self.section.fields))
        x = widen(x).to(torch.promote_types(self.space_bag.weight.dtype, torch.float32))
        mean, scale = field_statistics(x)
        with torch.autocast(x.device.type, enabled=False):
            selection = select_fields(state_labels, len(self.section.fields), x.dtype)
        return x, mean, scale, selection

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


def check_inputs(x: Tensor, state_labels: Tensor, bcs: Tensor, *, states: int) -> None:
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
    for name, value, count in (("state_labels", state_labels, states), ("bcs", bcs, OPEN + 1)):
        if value.is_floating_point() or value.is_complex():
            raise UserError(f"{name} is {value.dtype}; integers were expected")
        if value.numel() and not 0 <= int(value.min()) <= int(value.max()) < count:
            raise UserError(
                f"{name} holds {sorted(set(value.flatten().tolist()))}; numbers from 0 to {count - 1} have a meaning"
            )


def parameter_count(section: ModelSection) -> int:
    """Counts the parameters of such a model without allocating them."""
    with skeleton():
        return sum(parameter.numel() for parameter in AViT(section).parameters())
