"""A network that answers a question about a whole trajectory: its physical parameters, from its pooled tokens.

The tokens of the last frame after all blocks are averaged, as `embed` pools them, and a small head maps the average to
numbers. `AViT` divides every field by its own spread, so that sizes are lost; with `statistics` the head is also told
the mean, the spread and the rate of change of each field.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from polycli.mpp.model.avit import AViT
from polycli.mpp.model.normalization import change_scale, field_statistics, widen
from polycli.mpp.model.stem import select_fields
from polycli.mpp.recipe.training import ModelSection

Floats = NDArray[np.float64]
#: Where the head's tensors stand in the state dict, beside the network's published names.
HEAD_PREFIX = "parameter_head."
#: Numbers that the head is told of each field with `statistics`.
STATISTICS = 3
#: An input that varies less than this in training, relative to its size, is not blown up to unit deviation.
_SMALLEST_DEVIATION = 1e-6


class Target(BaseModel):
    """One parameter that a head predicts, with the scale and the range that it had in the training trajectories."""

    model_config = ConfigDict(frozen=True)

    name: str
    #: Whether the head predicts log10 of it; `centre` and `scale` are then of that.
    logarithm: bool
    centre: float
    scale: float
    #: Smallest and largest value that trained, in the parameter's own units.
    low: float
    high: float


class HeadDescription(BaseModel):
    """The question that a head answers, as model.json has it under `head`."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["regression"] = "regression"
    targets: tuple[Target, ...]
    hidden: tuple[int, ...]
    statistics: bool

    @property
    def standard(self) -> tuple[Floats, Floats]:
        """Centres and scales of the targets, in which the head's answers are counted."""
        return (
            np.array([target.centre for target in self.targets]),
            np.array([target.scale for target in self.targets]),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters, in the order of the answers."""
        return tuple(target.name for target in self.targets)


class ParameterHead(nn.Module):
    """Pooled vectors to standardised numbers: hidden layers with GELU, in float32.

    Inputs are standardised with `input_centre` and `input_scale`, which finetune takes from training windows.
    """

    input_centre: Tensor
    input_scale: Tensor

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((inputs, *hidden)):
            layers += [nn.Linear(before, after), nn.GELU(), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.outer = nn.Linear((inputs, *hidden)[-1], outputs)
        self.register_buffer("input_centre", torch.zeros(inputs))
        self.register_buffer("input_scale", torch.ones(inputs))

    def forward(self, seen: Float[Tensor, "b d"]) -> Float[Tensor, "b n"]:
        """Returns a standardised number for each target."""
        with torch.autocast(seen.device.type, enabled=False):
            standard = (seen.float() - self.input_centre) / self.input_scale
            return self.outer(self.hidden(standard))  # type: ignore[no-any-return]

    @torch.no_grad()
    def standardise(self, seen: Float[Tensor, "n d"]) -> None:
        """Take centre and scale of the inputs from some training windows; what does not vary keeps its own scale."""
        deviation, mean = torch.std_mean(seen.float(), dim=0, correction=0)
        varies = deviation > _SMALLEST_DEVIATION * (1 + mean.abs())
        self.input_centre.copy_(mean)
        self.input_scale.copy_(torch.where(varies, deviation, torch.ones_like(deviation)))


class ParameterAViT(AViT):
    """An AViT that also predicts parameters of the physics that it sees.

    Attributes:
        head: what it predicts.
    """

    def __init__(self, section: ModelSection, head: HeadDescription, *, dropout: float = 0.0) -> None:
        super().__init__(section)
        self.head = head
        inputs = section.embed_dim + STATISTICS * len(section.fields) * head.statistics
        self.parameter_head = ParameterHead(inputs, head.hidden, len(head.targets), dropout)

    def pooled(
        self,
        x: Float[Tensor, "b t c h w"],
        state_labels: Int[Tensor, " c"] | Int[Tensor, "b c"],
        bcs: Int[Tensor, "b 2"],
    ) -> Float[Tensor, "b d"]:
        """Everything that the head is told of a window: the mean over the tokens of its last frame, and statistics."""
        tokens = self.features(x, state_labels, bcs).float().mean(dim=(1, 2))
        if not self.head.statistics:
            return tokens
        return torch.cat([tokens, window_statistics(x, state_labels, len(self.section.fields))], dim=1)

    def standardised(self, x: Tensor, state_labels: Tensor, bcs: Tensor) -> Float[Tensor, "b n"]:
        """A number for each target, in the units of training: arguments are those of `forward`."""
        return self.parameter_head(self.pooled(x, state_labels, bcs))  # type: ignore[no-any-return]

    def answers(self, x: Tensor, state_labels: Tensor, bcs: Tensor) -> Float[Tensor, "b n"]:
        """The parameters of the physics of each window in their own units, in the order of `head.targets`.

        Arguments and errors are those of `forward`.
        """
        return in_units(self.standardised(x, state_labels, bcs).double(), self.head)


def in_units(numbers: Float[Tensor, "b n"], head: HeadDescription) -> Float[Tensor, "b n"]:
    """Standardised numbers in the units of the targets."""
    columns = []
    for target, values in zip(head.targets, numbers.unbind(dim=1), strict=True):
        value = values * target.scale + target.centre
        columns.append(10**value if target.logarithm else value)
    return torch.stack(columns, dim=1)


def original(standard: Floats, head: HeadDescription) -> Floats:
    """Standardised numbers (row, target) in the units of the targets."""
    return in_units(torch.from_numpy(standard), head).numpy()


def scaled(values: Floats, head: HeadDescription) -> Floats:
    """Values (row, target) as errors are counted: log10 of those that are learnt so, NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = [
            np.where(column > 0, np.log10(column), np.nan) if target.logarithm else column
            for target, column in zip(head.targets, values.T, strict=True)
        ]
    return np.stack(columns, axis=1)


def standardised(values: Floats, head: HeadDescription) -> Floats:
    """Values (row, target) as the head is trained on them."""
    centre, scale = head.standard
    found: Floats = (scaled(values, head) - centre) / scale
    return found


@torch.no_grad()
def window_statistics(
    x: Float[Tensor, "b t c h w"], state_labels: Tensor, states: int
) -> Float[Tensor, "b {STATISTICS}*{states}"]:
    """The mean over the spread (as arsinh), and logarithms of the spread and of the change between frames over it.

    Each known state has its own places; those of states that the window does not have are zero.
    """
    x = widen(x).float()
    mean, scale = field_statistics(x)
    change = change_scale(x, scale)
    found = torch.stack([(mean / scale).asinh(), scale.log10(), (change / scale).log10()], dim=-1)
    selection = select_fields(state_labels, states, x.dtype).expand(len(x), -1, -1)
    return torch.einsum("bck,bcn->bnk", found[:, 0, :, 0, 0], selection).flatten(1)
