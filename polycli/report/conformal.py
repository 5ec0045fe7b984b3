"""Split conformal prediction: from the scores of units that were held back to bounds that hold for the next one.

The only assumption is that the next unit (a trajectory, a record, an object) is exchangeable with those that were
held back: drawn alike, in no special order. Vovk, Gammerman and Shafer 2005; Lei et al. 2018, theorem 2.2; Angelopoulos
and Bates 2021, sections 1 and 3.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom

Floats = NDArray[np.float64]
#: The probability below each end of the range of counted coverages.
_TAIL = (1 - 0.95) / 2


def rank_of(level: float, units: int) -> int:
    """Which of the sorted scores of `units` is the bound, counted from 1: the smallest integer from (units + 1) level.

    The level is taken as the decimal that it is written as: in binary, 100 times 0.55 is above 55.
    """
    return ceil((units + 1) * _exact(level))


def fewest_units(level: float) -> int:
    """How many scores a bound at this level needs, 1 / alpha - 1 for level 1 - alpha: below, no finite bound holds.

    >>> fewest_units(0.95), fewest_units(0.9), fewest_units(0.68)
    (19, 9, 3)
    """
    return ceil(1 / (1 - _exact(level)) - 1)


def conformal_quantile(scores: Floats, level: float) -> Floats:
    """The bound that the score of the next unit does not exceed with a probability of at least `level`.

    Args:
        scores: (unit, ...), one for each unit; infinite where a unit failed.
        level: between 0 and 1.

    Returns:
        (...): the score of rank `rank_of(level, units)`; nothing is interpolated.

    Raises:
        ValueError: there are fewer than `fewest_units(level)`.

    >>> float(conformal_quantile(np.arange(1.0, 20.0), 0.95))  # 19 scores: the largest
    19.0
    """
    rank = rank_of(level, len(scores))
    if rank > len(scores):
        raise ValueError(f"level {level:g} needs {fewest_units(level)} scores, there are {len(scores)}")
    bound: Floats = np.sort(scores, axis=0)[rank - 1]
    return bound


def expected_coverage(level: float, units: int, tested: int) -> tuple[float, float]:
    """The range in which the counted coverage of `tested` units lies in 95 % of all cases, where all is right.

    The promise is about the draw of both samples. One calibration on `units` may by its luck cover more or less: how
    many of the next ones are covered is a beta-binomial number (Angelopoulos and Bates 2021, section 3.2).
    """
    rank = rank_of(level, units)
    low, high = betabinom.ppf((_TAIL, 1 - _TAIL), tested, rank, units + 1 - rank)
    return float(low) / tested, float(high) / tested


def _exact(level: float) -> Fraction:
    if not 0 < level < 1:
        raise ValueError(f"a level is above 0 and below 1, found {level:g}")
    return Fraction(Decimal(repr(float(level))))
