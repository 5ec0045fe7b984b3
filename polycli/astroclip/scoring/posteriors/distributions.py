"""Distributions that are known by quantiles: distribution function, CRPS and intervals, all exact.

Between two quantiles the distribution function is a straight line; beyond the outermost ones it goes straight on, until
0 and 1. So whoever has the quantile columns of `predict` can repeat every score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.recipe.model import PropertySection

Floats = NDArray[np.float64]
#: Levels at which a flow, which has them all, is looked at.
DENSE = tuple(place / 200 for place in range(1, 200))
#: Objects whose scores are made at a time, which bounds the memory.
_BLOCK = 20_000
#: Levels that differ by less are the same.
_ROUNDING = 1e-9


def levels_of(section: PropertySection) -> tuple[float, ...]:
    """The levels at which a head is asked, so that its distributions are known as well as it knows them."""
    if section.posterior != "flow":
        return section.quantiles
    return tuple(sorted({*DENSE, *section.quantiles}))


@dataclass(frozen=True)
class Distributions:
    """The distributions of n numbers, one for each object, from their quantiles at rising levels."""

    levels: Sequence[float]
    #: (n, levels), rising along each row.
    quantiles: Floats

    def at(self, level: float) -> Floats:
        """(n,): the quantiles at any level from the first known to the last, linear between two of them.

        Raises:
            ValueError: the level lies outside.
        """
        if not self.reaches(level):
            raise ValueError(f"levels from {self.levels[0]:g} to {self.levels[-1]:g} are known, {level:g} is asked for")
        nearest = min(range(len(self.levels)), key=lambda place: abs(self.levels[place] - level))
        if abs(self.levels[nearest] - level) <= _ROUNDING:
            return self.quantiles[:, nearest]
        lower = max(place for place, known in enumerate(self.levels) if known < level)
        share = (level - self.levels[lower]) / (self.levels[lower + 1] - self.levels[lower])
        found: Floats = (1 - share) * self.quantiles[:, lower] + share * self.quantiles[:, lower + 1]
        return found

    def reaches(self, level: float) -> bool:
        """Whether the quantile at a level lies between known ones."""
        return self.levels[0] - _ROUNDING <= level <= self.levels[-1] + _ROUNDING

    def interval(self, share: float) -> tuple[Floats, Floats] | None:
        """Low and high of the central interval with this probability; None where the outermost quantiles are nearer."""
        tail = (1 - share) / 2
        if not (self.reaches(tail) and self.reaches(1 - tail)):
            return None
        return self.at(tail), self.at(1 - tail)

    def probability(self, truth: Floats) -> Floats:
        """(n,): the distribution function at the true numbers, uniform where all is right (PIT)."""
        return np.concatenate([_probability(*part) for part in self._parts(truth)]) if len(truth) else truth

    def crps(self, truth: Floats) -> Floats:
        """(n,): the continuous ranked probability score (Gneiting and Raftery 2007), in the numbers' unit."""
        return np.concatenate([_crps(*part) for part in self._parts(truth)]) if len(truth) else truth

    def _parts(self, truth: Floats) -> list[tuple[Floats, Floats, Floats]]:
        """Knots of the distribution functions, their levels from 0 to 1, and the truth; a block of objects each."""
        levels = np.asarray(self.levels, np.float64)
        parts = []
        for start in range(0, len(truth), _BLOCK):
            known = self.quantiles[start : start + _BLOCK]
            first = known[:, 0] - levels[0] * (known[:, 1] - known[:, 0]) / (levels[1] - levels[0])
            last = known[:, -1] + (1 - levels[-1]) * (known[:, -1] - known[:, -2]) / (levels[-1] - levels[-2])
            knots = np.column_stack([first, known, last])
            parts.append((knots, np.concatenate([[0.0], levels, [1.0]]), truth[start : start + _BLOCK]))
        return parts


def _probability(knots: Floats, levels: Floats, truth: Floats) -> Floats:
    # The stretch in which the truth lies, or the nearest; where knots fall together, the last of them.
    place = np.clip((knots <= truth[:, None]).sum(axis=1) - 1, 0, knots.shape[1] - 2)
    rows = np.arange(len(truth))
    low, width = knots[rows, place], knots[rows, place + 1] - knots[rows, place]
    share = np.divide(truth - low, width, out=(truth >= low).astype(np.float64), where=width > 0)
    found: Floats = levels[place] + np.clip(share, 0, 1) * (levels[place + 1] - levels[place])
    return found


def _crps(knots: Floats, levels: Floats, truth: Floats) -> Floats:
    """The integral of the squared distance of the distribution function from the step at the truth."""
    reached = _probability(knots, levels, truth)[:, None]
    truth = truth[:, None]
    left, right = knots[:, :-1], knots[:, 1:]
    low, high = levels[None, :-1], levels[None, 1:]
    # Each stretch in two parts: before the truth, where the step is 0, and behind it, where it is 1.
    middle = np.clip(truth, left, right)
    at_middle = np.where(truth <= left, low, np.where(truth >= right, high, reached))
    before = (middle - left) * (low**2 + low * at_middle + at_middle**2) / 3
    rest, at_end = 1 - at_middle, 1 - high
    behind = (right - middle) * (rest**2 + rest * at_end + at_end**2) / 3
    outside = np.maximum(knots[:, :1] - truth, 0) + np.maximum(truth - knots[:, -1:], 0)
    total: Floats = (before + behind).sum(axis=1) + outside[:, 0]
    return total
