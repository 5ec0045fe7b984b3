"""The records of how good posteriors are: PIT, CRPS and coverage, as scores.json has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from polycli.json_records import IF_GIVEN
from polycli.report.probes import Bounds


@dataclass(frozen=True, kw_only=True)
class HeldShare:
    """How often intervals of one level hold the truth, and how wide they are."""

    #: The share that they promise.
    nominal: float
    objects: int
    #: The share that they hold and its 95 % binomial interval (Clopper and Pearson); None without objects.
    measured: float | None
    interval: Bounds | None
    #: The mean width, in the property's unit.
    width: float | None


@dataclass(frozen=True, kw_only=True)
class CoverageBin:
    """The same for the objects of one third."""

    #: The lowest and the highest value of what the objects were sorted by.
    between: Bounds
    levels: Sequence[HeldShare]


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Shares that intervals hold, over all objects and in thirds with equal numbers of objects."""

    all: Sequence[HeldShare]
    #: The brightest first, r in mag AB; absent where no magnitudes are known.
    by_magnitude: Sequence[CoverageBin] | None = field(default=None, metadata=IF_GIVEN)
    #: The lowest redshift first; absent where no redshifts are known.
    by_redshift: Sequence[CoverageBin] | None = field(default=None, metadata=IF_GIVEN)
    #: Of `by_redshift`: `predicted` where the head has a redshift, else `true`. Sorted by its own truth, even a perfect
    #: posterior is off in the outer thirds.
    redshift: str | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, kw_only=True)
class PitScores:
    """The distribution function at the true values, which is uniform where posteriors are right."""

    #: Objects in each of as many equal parts of 0 to 1.
    counts: Sequence[int]
    #: The Kolmogorov-Smirnov distance from a uniform distribution, and how probable a larger one is by chance.
    ks: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class PosteriorScores:
    """The scores of one column's posteriors."""

    #: In the property's unit; 0 is best.
    crps: float
    crps_interval: Bounds
    pit: PitScores
    coverage: Coverage
