"""Errors with their intervals, and how often intervals hold: what the records of all scores are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polycli.json_records import INLINE

#: Low and high.
Bounds = Sequence[float | None]
#: By method: `model`, then the baselines that answered (`mean`, `key mean`, `persistence`, `k-NN`, ...).
ByMethod = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Means of one error over numbers, beside those of simpler models."""

    by_method: ByMethod = field(metadata=INLINE)
    #: Of the model's mean.
    interval: Bounds
    #: The model's mean over that of the key's mean, below 1 where the model is better.
    ratio: float | None
    ratio_interval: Bounds


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
