"""Intervals that are stretched until they hold: how far a model says that it may be off, and how far it was.

Conformalised quantile regression (Romano, Patterson and Candes 2019), with the deviation in units of the model's own
interval on either side of its middle, as Sesia and Candes 2020 compare it: an interval stays wide where the model says
that it is unsure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: A side of an interval is never taken for shorter than the first times its ends, or the second of ends that are 0:
#: a model that is too sure must not divide by zero.
_SMALLEST, _OF_ZEROS = 1e-9, 1e-300


@dataclass(frozen=True)
class Reach:
    """A middle of each number, and how far the model's own interval reaches from it on both sides."""

    middle: Floats
    below: Floats
    above: Floats

    @classmethod
    def between(cls, low: Floats, middle: Floats, high: Floats) -> Reach:
        """The reach of intervals whose ends and middles are known.

        >>> reach = Reach.between(np.array([1.0]), np.array([2.0]), np.array([5.0]))
        >>> reach.deviations(np.array([3.5])).tolist()  # half of the way from the middle to the upper end
        [0.5]
        >>> [side.tolist() for side in reach.stretched(2.0)]
        [[0.0], [8.0]]
        """
        size = np.maximum.reduce([np.abs(low), np.abs(middle), np.abs(high)])
        smallest = np.maximum(_SMALLEST * size, _OF_ZEROS)
        return cls(middle, np.maximum(middle - low, smallest), np.maximum(high - middle, smallest))

    def deviations(self, truth: Floats) -> Floats:
        """How far each true number lies from the middle, in units of the reach on that side; infinite where unknown."""
        off = truth - self.middle
        found = np.where(off < 0, -off / self.below, off / self.above)
        return np.where(np.isfinite(found), found, np.inf)

    def stretched(self, factor: Floats | float) -> tuple[Floats, Floats]:
        """Low and high of the intervals that reach `factor` times as far."""
        return self.middle - factor * self.below, self.middle + factor * self.above
