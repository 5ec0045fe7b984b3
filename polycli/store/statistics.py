"""Mean, spread and range of fields and of their frame-to-frame changes, summed in float64 over blocks of frames.

Sums are kept as (count, mean, sum of squared deviations) and combined pairwise (Chan, Golub, LeVeque 1979), so that a
field of small variations on a large constant keeps its variance, which a sum of squares would lose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What `as_dict` returns: by field, moments of the values and of the changes.
FieldSums = dict[str, dict[str, dict[str, float]]]


@dataclass
class Moments:
    """Count, mean, sum of squared deviations from the mean, and range of a set of numbers."""

    count: float = 0.0
    mean: float = 0.0
    deviation: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf

    @classmethod
    def of(cls, values: NDArray[np.float64], scratch: NDArray[np.float64] | None = None) -> Moments:
        """Moments of all entries, in two passes; `scratch`, of the same shape, is overwritten."""
        if values.size == 0:
            return cls()
        minimum, maximum = float(values.min()), float(values.max())
        mean = float(values.mean())
        residual = np.subtract(values, mean, out=scratch)
        # What rounding left in the mean: the residuals of a field near 1e6 do not quite sum to zero.
        correction = float(residual.mean())
        deviation = float(np.square(residual, out=residual).sum()) - values.size * correction**2
        return cls(float(values.size), mean + correction, max(deviation, 0.0), minimum, maximum)

    def merged(self, other: Moments) -> Moments:
        """Returns the moments of both sets together."""
        if self.count == 0:
            return other
        if other.count == 0:
            return self
        count = self.count + other.count
        step = other.mean - self.mean
        return Moments(
            count,
            self.mean + step * (other.count / count),
            self.deviation + other.deviation + step**2 * (self.count * other.count / count),
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
        )

    @property
    def std(self) -> float:
        """The population standard deviation."""
        return math.sqrt(self.deviation / self.count) if self.count else 0.0

    @property
    def rms(self) -> float:
        """The root mean square."""
        return math.sqrt(self.mean**2 + self.deviation / self.count) if self.count else 0.0


class RunningStatistics:
    """Statistics of one trajectory that arrives in consecutive blocks of frames."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = tuple(fields)
        self._values = [Moments() for _ in fields]
        self._changes = [Moments() for _ in fields]
        self._last_frame: NDArray[Any] | None = None

    def update(self, block: NDArray[Any]) -> None:
        """Add the next block, (time, field, x, y); the change from the frame before the block counts too."""
        if block.ndim < 2 or block.shape[1] != len(self._fields):
            raise ValueError(f"a block of shape {block.shape} does not have {len(self._fields)} fields on axis 1")
        if block.shape[0] == 0:
            return
        # All fields share three arrays in double precision: new ones for each cost more time than the sums do.
        values, changes, scratch = (np.empty((block.shape[0] - less, *block.shape[2:])) for less in (0, 1, 0))
        for index in range(len(self._fields)):
            values[...] = block[:, index]
            self._values[index] = self._values[index].merged(Moments.of(values, scratch))
            if self._last_frame is not None:
                border = values[0] - self._last_frame[index].astype(np.float64)
                self._changes[index] = self._changes[index].merged(Moments.of(border))
            np.subtract(values[1:], values[:-1], out=changes)
            self._changes[index] = self._changes[index].merged(Moments.of(changes, scratch[1:]))
        self._last_frame = block[-1].copy()

    def as_dict(self) -> FieldSums:
        """The sums by field, as JSON that reads back to the same numbers. Only of finite values: JSON has no NaN."""
        return {
            field: {"values": _finite(vars(values)), "changes": _finite(vars(changes))}
            for field, values, changes in zip(self._fields, self._values, self._changes, strict=True)
        }

    @classmethod
    def merge(cls, parts: Sequence[Mapping[str, Mapping[str, Mapping[str, float]]]]) -> dict[str, dict[str, float]]:
        """Statistics by field over several trajectories, combined in the given order, for a manifest.

        Returns mean, std (population), rms, min, max, count, and mean_change, std_change, rms_change of the change
        from one frame to the next; the changes are 0 where there is one frame only.
        """
        fields: dict[str, tuple[Moments, Moments]] = {}
        for part in parts:
            for field, sums in part.items():
                values, changes = fields.get(field, (Moments(), Moments()))
                fields[field] = (
                    values.merged(Moments(**sums["values"])),
                    changes.merged(Moments(**sums["changes"])),
                )
        return {field: _statistics(values, changes) for field, (values, changes) in fields.items()}


def _finite(sums: Mapping[str, float]) -> dict[str, float]:
    """The sums without the infinite range of an empty set, which JSON cannot hold."""
    return {name: value for name, value in sums.items() if math.isfinite(value)}


def _statistics(values: Moments, changes: Moments) -> dict[str, float]:
    return {
        "mean": values.mean,
        "std": values.std,
        "rms": values.rms,
        "min": values.minimum,
        "max": values.maximum,
        "mean_change": changes.mean,
        "std_change": changes.std,
        "rms_change": changes.rms,
        "count": values.count,
    }
