"""The records in scores.json of redshifts by other neighbours than the paper's, and by templates alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from polycli.json_records import INLINE
from polycli.report.probes import Bounds, Fit


@dataclass(frozen=True, kw_only=True)
class NeighbourScores:
    """Redshifts by one number of neighbours, weighed in one way."""

    fit: Fit = field(metadata=INLINE)
    #: Of (z - z_true) / (1 + z_true).
    sigma_nmad: float | None
    #: The share of errors beyond 0.15.
    outlier_fraction: float


@dataclass(frozen=True, kw_only=True)
class TemplateScores:
    """Redshifts that are the likeliest shift of the templates, but for one constant."""

    #: Shift minus log(1 + z): the median over the training objects, all that is learnt from labels.
    constant: float
    fit: Fit = field(metadata=INLINE)
    bias: float | None
    sigma_nmad: float | None
    outlier_fraction: float
    outlier_interval: Bounds
