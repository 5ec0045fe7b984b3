"""Scores redshifts in the words of the field: bias, scatter and outliers of (z - z_true) / (1 + z_true).

sigma_NMAD is 1.4826 times the median absolute deviation from the median (Brammer et al. 2008, equation 5, without its
dependence on the sign convention); outliers are beyond 0.15 (Ilbert et al. 2006).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.scoring.score_records import MagnitudeBin, RedshiftErrors
from polycli.report.bootstrap import Bootstrap

Floats = NDArray[np.float64]
OUTLIER = 0.15


def redshift_scores(truth: Floats, predicted: Floats, bootstrap: Bootstrap) -> RedshiftErrors:
    """Bias (mean), sigma_NMAD and outlier fraction, the mean and the fraction with intervals."""
    error = (predicted - truth) / (1 + truth)
    outlier = (np.abs(error) > OUTLIER).astype(np.float64)
    return RedshiftErrors(
        objects=len(truth),
        bias=float(error.mean()),
        bias_interval=bootstrap.mean(error).tolist(),
        sigma_nmad=float(1.4826 * np.median(np.abs(error - np.median(error)))),
        outlier_fraction=float(outlier.mean()),
        outlier_interval=bootstrap.mean(outlier).tolist(),
    )


def binned_redshift_scores(
    truth: Floats, predicted: Floats, magnitude: Floats, bootstrap: Bootstrap, bins: int = 4
) -> list[MagnitudeBin]:
    """The same in bins of magnitude with equal numbers of objects, the brightest first."""
    known = np.isfinite(magnitude)
    truth, predicted, magnitude = truth[known], predicted[known], magnitude[known]
    parts = [part for part in np.array_split(np.argsort(magnitude, kind="stable"), bins) if len(part)]
    return [
        MagnitudeBin(
            magnitude=[float(magnitude[part].min()), float(magnitude[part].max())],
            errors=redshift_scores(truth[part], predicted[part], bootstrap),
        )
        for part in parts
    ]
