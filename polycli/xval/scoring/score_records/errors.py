"""Errors with their intervals, and how often intervals hold: what the records of all scores are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from polycli.json_records import INLINE
from polycli.report.scores import Bounds, ByMethod


@dataclass(frozen=True, kw_only=True)
class WithInterval:
    """One number by method, and the interval of the model's."""

    by_method: ByMethod = field(metadata=INLINE)
    interval: Bounds


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How often the model's own intervals hold the truth."""

    #: The share that they state, and the share that they hold: 0 to 1.
    nominal: float
    measured: float
    interval: Bounds
    mean_width: float | None
    #: The interval of `measured` as if all numbers were independent, by Clopper and Pearson.
    binomial: Sequence[float]
