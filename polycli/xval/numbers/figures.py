"""Numbers as sign, three significant figures and a power of ten, which all text forms share.

x = sign * mantissa * 10^exponent with a mantissa from 100 to 999, or 0: -60.2 is -, 602, -1. Rounded as
`format(x, ".2e")` rounds: to nearest from the exact binary value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from polycli.xval.numbers.statistics import decades_of, powers_of_ten

#: Figures after the first one.
_MORE = 2
#: Within this of a tie, float64 cannot tell in which direction to round.
_UNSURE = 1e-6
#: Beyond these powers of ten the scaled mantissa loses bits to subnormals or overflows.
_SAFE = 290


class Figures(NamedTuple):
    """Arrays with the sign, the mantissa (0 or 100 to 999) and the power of ten of the first figure of each number."""

    negative: NDArray[np.bool_]
    mantissa: NDArray[np.int64]
    decade: NDArray[np.int64]


def figures_of(values: NDArray[np.float64]) -> Figures:
    """Three significant figures of finite numbers; zero has the mantissa 0 and no sign."""
    sizes = np.abs(values)
    nonzero = sizes > 0
    decade = np.zeros(len(values), dtype=np.int64)
    decade[nonzero] = decades_of(sizes[nonzero])
    with np.errstate(over="ignore", invalid="ignore"):
        # Powers up to 1e22 are exact: one multiplication or one division is then all the rounding there is.
        up, down = powers_of_ten(np.maximum(_MORE - decade, 0)), powers_of_ten(np.maximum(decade - _MORE, 0))
        raw = sizes * up / down
    raw = np.where(nonzero & np.isfinite(raw), raw, 0.0)
    mantissa = np.rint(raw).astype(np.int64)
    unsure = np.abs(raw - np.floor(raw) - 0.5) < _UNSURE
    for place in np.flatnonzero(nonzero & (unsure | (np.abs(decade) > _SAFE))):
        text, power = format(float(sizes[place]), f".{_MORE}e").split("e")
        mantissa[place], decade[place] = int(text.replace(".", "")), int(power)
    carried = mantissa == 10 ** (_MORE + 1)
    mantissa[carried] = 10**_MORE
    decade[carried] += 1
    return Figures((values < 0) & nonzero, mantissa, decade)


def value_of(
    negative: NDArray[np.bool_], mantissa: NDArray[np.int64], decade: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Converts figures back to the numbers that they stand for."""
    exponent = decade - _MORE
    up, down = powers_of_ten(np.maximum(exponent, 0)), powers_of_ten(np.maximum(-exponent, 0))
    with np.errstate(over="ignore"):
        sizes = mantissa * up / down
    return np.where(negative, -sizes, sizes)


def scientific(value: float) -> str:
    """A number as the paper's text forms show it: `-6.02e+1`."""
    figures = figures_of(np.array([value], dtype=np.float64))
    sign = "-" if figures.negative[0] else "+"
    digits = f"{int(figures.mantissa[0]):03d}"
    return f"{sign}{digits[0]}.{digits[1:]}e{int(figures.decade[0]):+d}"
