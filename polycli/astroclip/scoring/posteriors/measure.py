"""Scores posteriors against the truth: PIT, CRPS, and coverage over all and in thirds by magnitude and redshift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.scoring.posteriors.distributions import Distributions
from polycli.astroclip.scoring.posteriors.records import Coverage, CoverageBin, HeldShare, PitScores, PosteriorScores
from polycli.report.binomial import beta_interval
from polycli.report.bootstrap import Bootstrap

Floats = NDArray[np.float64]
#: Shares of central intervals whose coverage is counted.
SHARES = (0.68, 0.9, 0.95)
PIT_BINS = 20
_THIRDS = 3
#: By share: low and high of each object.
Intervals = Mapping[float, tuple[Floats, Floats]]


@dataclass(frozen=True)
class SortedBy:
    """The quantities by whose thirds coverage is counted, one value for each object; NaN where unknown."""

    magnitude: Floats | None
    redshift: Floats | None
    #: Whether redshifts are the head's own.
    predicted: bool

    def of(self, chosen: NDArray[np.bool_]) -> SortedBy:
        """The same of some objects."""
        return SortedBy(
            None if self.magnitude is None else self.magnitude[chosen],
            None if self.redshift is None else self.redshift[chosen],
            self.predicted,
        )


def score_posterior(truth: Floats, found: Distributions, by: SortedBy, bootstrap: Bootstrap) -> PosteriorScores:
    """All scores of the posteriors of one column, of objects whose value is known."""
    from scipy.stats import kstest

    crps, reached = found.crps(truth), found.probability(truth)
    uniform = kstest(reached, "uniform")
    counts, _ = np.histogram(reached, bins=PIT_BINS, range=(0, 1))
    return PosteriorScores(
        crps=float(crps.mean()),
        crps_interval=bootstrap.mean(crps).tolist(),
        pit=PitScores(counts=counts.tolist(), ks=float(uniform.statistic), p_value=float(uniform.pvalue)),
        coverage=coverage_of(truth, own_intervals(found), by),
    )


def own_intervals(found: Distributions) -> Intervals:
    """The central intervals between known quantiles, by share."""
    return {share: ends for share in SHARES if (ends := found.interval(share)) is not None}


def coverage_of(truth: Floats, intervals: Intervals, by: SortedBy) -> Coverage:
    """How often intervals hold the truth, their ends included."""
    return Coverage(
        all=_shares(truth, intervals, np.arange(len(truth))),
        by_magnitude=_in_thirds(truth, intervals, by.magnitude),
        by_redshift=_in_thirds(truth, intervals, by.redshift),
        redshift=None if by.redshift is None else ("predicted" if by.predicted else "true"),
    )


def _in_thirds(truth: Floats, intervals: Intervals, values: Floats | None) -> list[CoverageBin] | None:
    if values is None or not np.isfinite(values).any():
        return None
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    return [
        CoverageBin(
            between=[float(values[part].min()), float(values[part].max())], levels=_shares(truth, intervals, part)
        )
        for part in np.array_split(order, _THIRDS)
        if len(part)
    ]


def _shares(truth: Floats, intervals: Intervals, rows: NDArray[np.int64]) -> list[HeldShare]:
    found = []
    for share, (low, high) in intervals.items():
        held = int(((truth[rows] >= low[rows]) & (truth[rows] <= high[rows])).sum())
        found.append(
            HeldShare(
                nominal=share,
                objects=len(rows),
                measured=held / len(rows) if len(rows) else None,
                interval=list(beta_interval(held, len(rows))) if len(rows) else None,
                width=float((high[rows] - low[rows]).mean()) if len(rows) else None,
            )
        )
    return found
