"""Inverse variances of spectra whose files give errors instead."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def ivar_of_errors(errors: NDArray[Any]) -> NDArray[np.float64]:
    """Inverse variances of standard deviations: 0 where the error is 0 or infinite, which marks what was not measured.

    A NaN stays NaN, and below 0 is -1, so that what is wrong is seen as it is in inverse variances.

    >>> ivar_of_errors(np.array([0.5, 0.0, np.inf, -1.0])).tolist()
    [4.0, 0.0, 0.0, -1.0]
    """
    exact = errors.astype(np.float64)
    with np.errstate(divide="ignore"):
        squared = np.where(exact > 0, 1 / np.square(exact), 0.0)
    return np.where(np.isnan(exact), np.nan, np.where(exact < 0, -1.0, squared))
