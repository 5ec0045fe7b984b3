"""Bootstrap intervals over independent units: trajectories, objects, records; never over windows of one of them.

Percentile intervals (Efron and Tibshirani 1993, chapter 13), seeded: equal inputs give equal intervals. Of many units
none is drawn by its number: each counts as often as a Poisson variable of mean 1 says (Chamandy et al. 2012), which
for so many is the same, in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Resampled values held in memory at once; more are computed in parts.
_BLOCK = 4_000_000
#: From so many units on, each is drawn a Poisson number of times.
_MANY = 10_000
#: How often a unit counts, by a random byte: a Poisson variable of mean 1, whose mean and variance are exactly 1 here.
_TIMES = np.repeat(np.arange(6.0), (94, 95, 46, 16, 4, 1))


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
        return self._interval((values,), lambda means: means)

    def ratio(self, numerator: Floats, denominator: Floats) -> Floats:
        """Interval of mean(numerator) / mean(denominator), both (unit,), resampled in pairs: (2,), low and high."""
        return self._interval((numerator, denominator), lambda over, under: over / under)

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

    def _interval(self, arrays: Sequence[Floats], statistic: Callable[..., Floats]) -> Floats:
        """Percentiles of a statistic of the means over resampled units; arrays are (unit, ...), resampled alike."""
        # A diverged rollout is infinite: its resamples are too, and percentiles between two infinities are not numbers.
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            values = np.concatenate([statistic(*means) for means in self._means(arrays)])
            tail = (1 - self.level) / 2
            bounds: Floats = np.quantile(values, (tail, 1 - tail), axis=0)
        return bounds

    def _means(self, arrays: Sequence[Floats]) -> Iterator[list[Floats]]:
        """Means of each array over resampled units, (sample, ...), a part of the samples at a time."""
        generator = np.random.default_rng(self.seed)
        units = len(arrays[0])
        # Zero times infinity is no number, so that what is infinite has to be drawn.
        by_weight = units >= _MANY and all(np.isfinite(values).all() for values in arrays)
        part = max(1, _BLOCK // max(1, 2 * units if by_weight else arrays[0].size))
        for start in range(0, self.samples, part):
            count = min(part, self.samples - start)
            if by_weight:
                times = _TIMES[np.frombuffer(generator.bytes(count * units), np.uint8).reshape(count, units)]
                shares = times / times.sum(axis=1, keepdims=True)
                yield [np.tensordot(shares, values, 1) for values in arrays]
            else:
                rows = generator.integers(0, units, size=(count, units))
                yield [values[rows].mean(axis=1) for values in arrays]
