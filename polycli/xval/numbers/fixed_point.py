"""Numbers as digits at fixed places, of which the model sees sines and cosines (Zhou et al. 2025, FoNE).

A number is one [NUM] whose value goes along, as in xVal. What is fixed is its digits: from the power of ten of the
first, which no number may exceed, to that of the last, to which all are rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polycli.json_records import JsonObject
from polycli.xval.numbers.base import NumberRangeError

#: float64 tells all numbers of so many digits apart.
MOST_DIGITS = 15
#: Figures that the smallest number keeps where the data choose the digits, as text forms keep three.
_FIGURES = 3


@dataclass(frozen=True)
class FixedPoint:
    """`fone`: digits of 10^low to 10^high, and a sign."""

    exponents: tuple[int, int]
    name: Literal["fone"] = "fone"
    continuous: Literal[True] = True
    fixed_point: Literal[True] = True
    double: Literal[True] = True
    tokens_per_number: int = 1
    vocabulary_tokens: tuple[str, ...] = ()
    slots: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        low, high = self.exponents
        if not low <= high < low + MOST_DIGITS:
            raise ValueError(f"exponents {list(self.exponents)} are not those of 1 to {MOST_DIGITS} digits")

    def encode(self, values: NDArray[np.float64]) -> NDArray[np.int32]:
        """Zeros: all that tells numbers apart goes beside the tokens.

        Raises:
            NumberRangeError: a number has more digits before the point, or is not finite.
        """
        low, high = self.exponents
        for wrong, reason in (
            (~np.isfinite(values), "is not finite"),
            (
                self.digits_below(values) >= 10 ** (high - low + 1),
                f"has digits above 1e{high}, the first that fone has",
            ),
        ):
            if wrong.any():
                position = int(np.flatnonzero(wrong)[0])
                raise NumberRangeError(position, f"{float(values[position])!r} {reason}")
        return np.zeros((len(values), 1), dtype=np.int32)

    def digits_below(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sizes in units of the last digit, whole."""
        low = self.exponents[0]
        with np.errstate(over="ignore", invalid="ignore"):
            return np.rint(np.abs(values) * 10.0**-low if low < 0 else np.abs(values) / 10.0**low)

    def decode(self, ids: NDArray[np.int32]) -> NDArray[np.float64]:
        """NaN: no token has a value."""
        return np.full(len(ids), np.nan)

    def to_json(self) -> JsonObject:
        """Returns the encoding as it stands in model.json."""
        return {"name": self.name, "exponents": list(self.exponents)}


def digits_for(decades: tuple[int, int]) -> tuple[int, int]:
    """The digits for numbers from one power of ten to another: three figures of the smallest, if there is room."""
    low, high = decades
    return max(low - _FIGURES + 1, high - MOST_DIGITS + 1), high
