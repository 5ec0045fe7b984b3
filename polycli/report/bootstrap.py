"""Bootstrap intervals over independent units: trajectories, objects, records; never over windows of one of them.

Percentile intervals (Efron and Tibshirani 1993, chapter 13), seeded: equal inputs give equal intervals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Resampled values held in memory at once; more are computed in parts.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Bootstrap:
    """Bootstrap intervals of means, ratios and medians; `samples`, `seed` and `level` say how they are drawn.

    Example:
        >>> import numpy as np
        >>> errors = np.array([0.1, 0.2, 0.3, 0.4])  # one value for each trajectory
        >>> low, high = Bootstrap(level=0.9).mean(errors)
        >>> bool(low < errors.mean() < high)
        True
        >>> Bootstrap().ratio(errors, 2 * errors).tolist()  # resampled in pairs, so a fixed ratio has no spread
        [0.5, 0.5]
    """

    samples: int = 2000
    seed: int = 0
    level: float = 0.95

    def mean(self, values: Floats) -> Floats:
        """Interval of the mean over the first axis of `values` (unit, ...): (2, ...), low and high.

        One unit alone tells nothing about its spread: low and high are then its value.
        """
        return self._interval(values.shape[0], lambda rows: values[rows].mean(axis=1), values[0].size)

    def ratio(self, numerator: Floats, denominator: Floats) -> Floats:
        """Interval of mean(numerator) / mean(denominator), both (unit,), resampled in pairs: (2,), low and high."""
        return self._interval(
            numerator.shape[0], lambda rows: numerator[rows].mean(axis=1) / denominator[rows].mean(axis=1), 1
        )

    def median(self, values: Floats, units: NDArray[np.int64]) -> Floats:
        """Interval of the median of `values` (n,), where whole units are resampled; `units` says whose each value is.

        (2,), low and high. Half of the samples are drawn: a median takes longer than a mean.
        """
        generator = np.random.default_rng(self.seed)
        _, unit = np.unique(units, return_inverse=True)
        count = int(unit.max()) + 1
        order = np.argsort(values, kind="stable")
        ranked, owners = values[order], unit[order]
        medians = np.empty(max(1, self.samples // 2))
        for index in range(len(medians)):
            # How often each unit is drawn is how often each of its values counts.
            times = np.bincount(generator.integers(0, count, size=count), minlength=count)[owners]
            reached = np.cumsum(times)
            # As numpy's: between the two in the middle where their number is even.
            middle = np.searchsorted(reached, reached[-1] / 2), np.searchsorted(reached, reached[-1] / 2, side="right")
            medians[index] = ranked[list(middle)].mean()
        tail = (1 - self.level) / 2
        bounds: Floats = np.quantile(medians, (tail, 1 - tail))
        return bounds

    def _interval(self, units: int, statistic: Callable[[NDArray[np.int64]], Floats], width: int) -> Floats:
        generator = np.random.default_rng(self.seed)
        drawn = generator.integers(0, units, size=(self.samples, units))
        part = max(1, _BLOCK // max(1, units * width))
        # A diverged rollout is infinite: its resamples are too, and percentiles between two infinities are not numbers.
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            values = np.concatenate([statistic(drawn[start : start + part]) for start in range(0, self.samples, part)])
            tail = (1 - self.level) / 2
            bounds: Floats = np.quantile(values, (tail, 1 - tail), axis=0)
        return bounds
