"""The records of how often a calibration's intervals hold the truth, level by level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LevelCoverage:
    """How often the calibrated intervals of one level hold the truth."""

    #: The share that they promise.
    nominal: float
    numbers: int
    #: The share that they hold and its binomial interval; None without numbers.
    measured: float | None
    interval: Sequence[float] | None


@dataclass(frozen=True, kw_only=True)
class DecadeCoverage:
    """The same for numbers of one size, from 10^decade to 10^(decade + 1)."""

    decade: int
    levels: Sequence[LevelCoverage]


@dataclass(frozen=True, kw_only=True)
class CalibratedCoverage:
    """The coverage of a calibration at each of its levels."""

    all: Sequence[LevelCoverage]
    #: By key path, or by the pattern of those that are scored together.
    keys: Mapping[str, Sequence[LevelCoverage]]
    decades: Sequence[DecadeCoverage]
