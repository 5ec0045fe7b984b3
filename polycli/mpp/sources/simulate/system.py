"""The interface of a simulated system, and how it reads its section of the recipe.

A `System` is built from a `SimulationSection` and describes one dataset; `start` gives a `Batch` of trajectories
that advance together. Nothing that one trajectory does depends on the others in its batch.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from polycli.errors import SourceError
from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.recipe.training import SimulationSection

#: Fewer cells along an axis than this cannot hold the waves of the initial conditions.
SMALLEST_GRID = 16


#: Cells along an axis for which `Work` is given.
WORK_GRID = 32


@dataclass(frozen=True)
class Work:
    """The measured cost of a unit of time of one trajectory, to forecast how long a preparation takes."""

    seconds: float
    #: 3 where a finer grid also needs shorter steps, else 2.
    power: int

    def of(self, duration: float, grid: int) -> float:
        """Returns the seconds that one core needs for a duration on a grid."""
        return self.seconds * duration * (grid / WORK_GRID) ** self.power


class Batch(Protocol):
    """A batch of trajectories that advance together."""

    #: (trajectory, parameter), in the order of the dataset's `parameter_names`.
    parameters: NDArray[np.float64]

    def advance(self, duration: float) -> None:
        """Move every trajectory on by this time."""
        ...

    def fields(self) -> Tensor:
        """(trajectory, field, x, y), in the order of the dataset's fields."""
        ...


class System(Protocol):
    """One dataset: a system of equations with its grid, boundary, constants and kind of initial condition."""

    #: `dt` is the time between frames.
    about: PdeDescription
    #: Time of the first frame; the start before it is computed and left out.
    first_time: float
    #: What a trajectory costs.
    work: Work

    def start(self, generators: Sequence[np.random.Generator]) -> Batch:
        """One trajectory per generator, at time 0; a trajectory draws from its own generator alone."""
        ...


def choice(dataset: str, key: str, value: str | None, allowed: Sequence[str]) -> str:
    """The value, or the first of those allowed where there is none.

    Raises:
        SourceError: the system does not offer this value.
    """
    if value is None:
        return allowed[0]
    if value not in allowed:
        raise SourceError(f"simulate.{dataset}.{key} is '{value}', expected one of: {', '.join(allowed)}")
    return value


def settings(dataset: str, section: SimulationSection, defaults: Mapping[str, float]) -> dict[str, float]:
    """The defaults with the section's parameters in their place; none of them may be negative.

    Raises:
        SourceError: a parameter is unknown, negative or not finite, or the grid is too small.
    """
    if section.grid < SMALLEST_GRID:
        raise SourceError(f"simulate.{dataset}.grid is {section.grid}, expected at least {SMALLEST_GRID}")
    for name, value in section.parameters.items():
        if name not in defaults:
            near = difflib.get_close_matches(name, defaults, n=1)
            raise SourceError(
                f"simulate.{dataset}.parameters.{name} is unknown to {section.system}, "
                f"which has: {', '.join(defaults)}",
                hint=f"did you mean '{near[0]}'?" if near else None,
            )
        if not (np.isfinite(value) and value >= 0):
            raise SourceError(f"simulate.{dataset}.parameters.{name} is {value}, expected a finite number from 0 up")
    return {**defaults, **section.parameters}


def require_positive(dataset: str, values: Mapping[str, float], *names: str) -> None:
    """Raise SourceError unless all these parameters are above zero."""
    for name in names:
        if not values[name] > 0:
            raise SourceError(f"simulate.{dataset}.parameters.{name} is {values[name]}, expected more than 0")
