"""The ways in which a head's outputs say what is known of a number: its mean, its quantiles, or a flow.

All work on standardised numbers. Outputs are (b, n, o): of each object, for each of n columns, o outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from polycli.astroclip.recipe.model import PropertySection
from polycli.errors import MissingDependencyError
from polycli.nn.quantiles import middle_of, pinball, rising

#: A flow's factor on deviations from its middle lies between this and one over it.
_SMALLEST_SCALE = 1e-6
_OF_MIDDLE_AND_SCALE = 2


class Posterior(Protocol):
    """One way to read outputs as knowledge of numbers."""

    @property
    def outputs(self) -> int:
        """The outputs that it needs for each column."""
        ...

    @property
    def answers(self) -> int:
        """The values that it gives for each column."""
        ...

    def losses(self, outputs: Float[Tensor, "b n o"], target: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """How badly the outputs fit the true numbers, which are finite."""
        ...

    def values(self, outputs: Float[Tensor, "b n o"]) -> Float[Tensor, "b n q"]:
        """The mean alone, or the quantiles in rising order."""
        ...


@dataclass(frozen=True)
class Mean:
    """One output, the mean; squared error."""

    outputs: int = 1
    answers: int = 1

    def losses(self, outputs: Float[Tensor, "b n o"], target: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """The squared error of the mean."""
        return (target - outputs[..., 0]).square()

    def values(self, outputs: Float[Tensor, "b n o"]) -> Float[Tensor, "b n 1"]:
        """The output, which is the mean."""
        return outputs


@dataclass(frozen=True)
class Quantiles:
    """An output for each level; pinball loss."""

    levels: Sequence[float]
    #: Whether they rise by construction, in training too; else, as in earlier versions, they are sorted afterwards.
    rise: bool

    @property
    def outputs(self) -> int:
        """One for each level."""
        return len(self.levels)

    @property
    def answers(self) -> int:
        """One for each level."""
        return len(self.levels)

    def losses(self, outputs: Float[Tensor, "b n o"], target: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """The mean pinball loss of all levels."""
        return pinball(self._quantiles(outputs), target, self.levels).mean(dim=2)

    def values(self, outputs: Float[Tensor, "b n o"]) -> Float[Tensor, "b n q"]:
        """The quantiles in rising order."""
        found = self._quantiles(outputs)
        return found if self.rise else found.sort(dim=2).values

    def _quantiles(self, outputs: Float[Tensor, "b n o"]) -> Float[Tensor, "b n q"]:
        return rising(outputs, middle_of(self.levels)) if self.rise else outputs


@dataclass(frozen=True)
class Flow:
    """A neural spline flow of one number (Durkan et al. 2019), conditioned on what the head sees; negative log density.

    A number becomes a normal deviate by a shift, a factor and a monotonic rational-quadratic spline, whose parameters
    are the outputs. Each column has a flow of its own, so an unknown value of one column does not hide the others, and
    distribution function and quantiles are exact, without draws.
    """

    bins: int
    levels: Sequence[float]

    @property
    def outputs(self) -> int:
        """Middle and scale; widths and heights of the spline's bins, and the slopes between them."""
        return _OF_MIDDLE_AND_SCALE + 3 * self.bins - 1

    @property
    def answers(self) -> int:
        """A quantile for each level."""
        return len(self.levels)

    def losses(self, outputs: Float[Tensor, "b n o"], target: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """Minus the logarithm of the density at the true numbers."""
        from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform

        middle, scale, spline = self._parameters(outputs)
        affine = MonotonicAffineTransform(torch.zeros_like(middle), scale, slope=_SMALLEST_SCALE)
        near, slope = affine.call_and_ladj(target - middle)
        deviate, bend = MonotonicRQSTransform(*spline).call_and_ladj(near)
        return 0.5 * (deviate.square() + math.log(2 * math.pi)) - slope - bend  # type: ignore[no-any-return]

    def values(self, outputs: Float[Tensor, "b n o"]) -> Float[Tensor, "b n q"]:
        """The quantiles at its levels."""
        return self.quantiles(outputs, torch.tensor(self.levels, device=outputs.device))

    def quantiles(self, outputs: Float[Tensor, "b n o"], levels: Float[Tensor, "*b q"]) -> Float[Tensor, "b n q"]:
        """The quantiles at any levels, the same for all or (b, n, q) for each."""
        from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform

        middle, scale, spline = self._parameters(outputs)
        shape = (*outputs.shape[:2], levels.shape[-1])
        deviate = torch.special.ndtri(levels.double()).to(outputs.dtype).expand(shape)
        near = MonotonicRQSTransform(*(part[:, :, None] for part in spline)).inv(deviate)
        affine = MonotonicAffineTransform(torch.zeros_like(middle), scale, slope=_SMALLEST_SCALE)
        found = near / affine.scale[..., None] + middle[..., None]
        # Rounding may turn two neighbours around.
        return torch.cummax(found, dim=2).values if levels.ndim == 1 else found

    def _parameters(self, outputs: Float[Tensor, "b n o"]) -> tuple[Tensor, Tensor, list[Tensor]]:
        middle, scale = outputs[..., 0], outputs[..., 1]
        sizes = [_OF_MIDDLE_AND_SCALE, self.bins, self.bins, self.bins - 1]
        return middle, scale, list(torch.split(outputs, sizes, dim=-1)[1:])


def posterior_of(section: PropertySection) -> Posterior:
    """The posterior that a recipe or a checkpoint asks for.

    Raises:
        MissingDependencyError: it is a flow, and zuko is not installed.
    """
    if section.posterior == "flow":
        if find_spec("zuko") is None:
            raise MissingDependencyError(
                "model.properties.posterior=flow needs zuko, which the extra `flows` brings",
                hint="pip install 'polycli[flows]', or --set model.properties.posterior=quantiles",
            )
        return Flow(section.flow_bins, section.quantiles)
    if section.quantiles:
        return Quantiles(section.quantiles, rise=section.posterior == "quantiles")
    return Mean()
