"""Loss spikes: a step whose loss stands out from those before it. They are reported; the training goes on unchanged.

The measure is robust, so that one spike does not hide the next: the median of the last steps and their median absolute
deviation from it, scaled to a standard deviation of normal noise (Rousseeuw and Croux 1993).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

#: Steps that a loss is compared with, and how many of them there must be.
WINDOW, LEAST = 100, 20
#: A deviation is at least this part of the median: of a loss that has come to rest, no tremor is a spike.
SMALLEST_DEVIATION = 0.01
#: Standard deviations of a normal distribution in its median absolute deviation.
_NORMAL = 1.4826


@dataclass(frozen=True)
class Spike:
    """How far a loss stood out."""

    loss: float
    median: float
    #: Robust standard deviations above the median.
    deviations: float

    def __str__(self) -> str:
        return f"loss {self.loss:.4g} is {self.deviations:.0f} deviations above the median of late, {self.median:.4g}"


def find_spike(loss: float, recent: Sequence[float], factor: float) -> Spike | None:
    """A spike, if `loss` is at least `factor` robust deviations above the median of `recent` losses."""
    if len(recent) < LEAST:
        return None
    median = statistics.median(recent)
    spread = statistics.median(abs(value - median) for value in recent)
    deviation = max(_NORMAL * spread, SMALLEST_DEVIATION * abs(median))
    height = loss - median
    # A NaN loss compares false, so it is never a spike.
    if height > 0 and height >= factor * deviation:
        return Spike(loss, median, height / deviation if deviation else float("inf"))
    return None


def remember(loss: float, recent: list[float]) -> None:
    """Add a loss to the window, from which the oldest drops out."""
    recent.append(loss)
    del recent[:-WINDOW]
