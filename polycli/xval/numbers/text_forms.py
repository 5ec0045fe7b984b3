"""The paper's text forms of three significant figures (Golkar et al. 2023, table 1), over any exponents.

| form  | -60.2 is      | tokens | one token is                            |
|-------|---------------|--------|-----------------------------------------|
| p10   | -, 6, 0, 2, E-1 | 5    | a sign, a digit, a power of ten         |
| p1000 | -, 602, E-1   | 3      | a sign, three digits, a power of ten    |
| b1999 | -602, E-1     | 2      | a sign with three digits, a power of ten |
| fp15  | -602E-1       | 1      | the whole number                        |

A form is a row of parts; each part is a range of token ids and shows one property of the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polycli.json_records import JsonObject
from polycli.xval.numbers.base import NumberRangeError
from polycli.xval.numbers.figures import Figures, figures_of, value_of

TextName = Literal["p10", "p1000", "b1999", "fp15"]
#: Three figures with the first not zero: 100 to 999.
_FIRST, _COUNT = 100, 900
#: Tokens of fp15 above which no embedding should be made of it: 36 powers of ten.
_MOST_TOKENS = 65_536


@dataclass(frozen=True)
class TextForm:
    """One of the four; numbers from 10^low to just below 10^(high + 1), and zero."""

    name: TextName
    exponents: tuple[int, int]
    continuous: Literal[False] = field(default=False, init=False)
    fixed_point: Literal[False] = field(default=False, init=False)
    double: Literal[False] = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.exponents[0] > self.exponents[1]:
            raise ValueError(f"exponents {list(self.exponents)} do not rise")

    @property
    def tokens_per_number(self) -> int:
        """The number of tokens of every number: 5, 3, 2 or 1."""
        return len(self.slots)

    @cached_property
    def vocabulary_tokens(self) -> tuple[str, ...]:
        """The names of all tokens, part after part."""
        mantissas = ("000", *map(str, range(_FIRST, _FIRST + _COUNT)))
        if self.name == "p10":
            return ("+", "-", *map(str, range(10)), *self._powers)
        if self.name == "p1000":
            return ("+", "-", *mantissas, *self._powers)
        if self.name == "b1999":
            return (*mantissas, *(f"-{mantissa}" for mantissa in mantissas[1:]), *self._powers)
        signed = [f"{sign}{mantissa}" for sign in "+-" for mantissa in mantissas[1:]]
        return ("0", *(f"{number}{power}" for power in self._powers for number in signed))

    @cached_property
    def slots(self) -> tuple[tuple[int, int], ...]:
        """Gives, for each token of a number, the range of ids that may stand there."""
        powers = self.exponents[1] - self.exponents[0] + 1
        sizes: Sequence[int]
        if self.name == "p10":
            sizes = (2, 10, powers)
        elif self.name == "p1000":
            sizes = (2, 1 + _COUNT, powers)
        elif self.name == "b1999":
            sizes = (1 + 2 * _COUNT, powers)
        else:
            sizes = (1 + 2 * _COUNT * powers,)
        ends = np.cumsum(sizes).tolist()
        ranges = list(zip([0, *ends[:-1]], ends, strict=True))
        if self.name == "p10":
            ranges = [ranges[0], ranges[1], ranges[1], ranges[1], ranges[2]]
        return tuple(ranges)

    def encode(self, values: NDArray[np.float64]) -> NDArray[np.int32]:
        """Token ids, (numbers, tokens_per_number).

        Raises:
            NumberRangeError: a number is outside the range, or not finite.
        """
        self._refuse(~np.isfinite(values), values, "is not finite")
        figures = figures_of(values)
        zero = figures.mantissa == 0
        low, high = self.exponents
        self._refuse(
            ~zero & (figures.decade < low), values, f"is smaller than 1e{low}, the smallest that {self.name} has"
        )
        self._refuse(
            ~zero & (figures.decade > high), values, f"is beyond 9.99e{high}, the largest number that {self.name} has"
        )
        # Zero has every power; it is written with 10^0, or what is nearest to it.
        decade = np.where(zero, np.clip(0, low, high), figures.decade)
        parts = self._parts(figures._replace(decade=decade))
        ids: NDArray[np.int64] = np.stack(parts, axis=1) + np.array([start for start, _ in self.slots], dtype=np.int64)
        return ids.astype(np.int32)

    def decode(self, ids: NDArray[np.int32]) -> NDArray[np.float64]:
        """Numbers of token ids, (numbers, tokens_per_number); NaN where a token stands where it may not."""
        starts, ends = np.array(self.slots, dtype=np.int64).T
        wide = ids.astype(np.int64)
        valid = ((wide >= starts) & (wide < ends)).all(axis=1)
        parts = np.where(valid[:, None], wide - starts, 0)
        return np.where(valid, value_of(*self._figures(parts)), np.nan)

    def to_json(self) -> JsonObject:
        """Returns the encoding as it stands in model.json."""
        return {"name": self.name, "exponents": list(self.exponents)}

    @property
    def _powers(self) -> list[str]:
        """Names of powers of ten, of a mantissa without decimal point: 602 E-1."""
        return [f"E{decade - 2}" for decade in range(self.exponents[0], self.exponents[1] + 1)]

    def _parts(self, figures: Figures) -> list[NDArray[np.int64]]:
        """Splits numbers into the parts that each of their tokens shows, counted from 0."""
        negative, mantissa = figures.negative.astype(np.int64), figures.mantissa
        power = figures.decade - self.exponents[0]
        place = np.maximum(mantissa - _FIRST + 1, 0)
        if self.name == "p10":
            return [negative, mantissa // 100, mantissa // 10 % 10, mantissa % 10, power]
        if self.name == "p1000":
            return [negative, place, power]
        if self.name == "b1999":
            return [place + _COUNT * negative, power]
        whole = 1 + power * 2 * _COUNT + negative * _COUNT + mantissa - _FIRST
        return [np.where(mantissa == 0, 0, whole)]

    def _figures(self, parts: NDArray[np.int64]) -> Figures:
        """Inverts `_parts`: the parts back to sign, mantissa and power of ten."""
        columns = list(parts.T)
        if self.name == "p10":
            sign, hundreds, tens, ones, power = columns
            return Figures(sign == 1, 100 * hundreds + 10 * tens + ones, power + self.exponents[0])
        if self.name == "p1000":
            sign, place, power = columns
            return Figures(sign == 1, _mantissa(place), power + self.exponents[0])
        if self.name == "b1999":
            place, power = columns
            negative = place > _COUNT
            return Figures(negative, _mantissa(np.where(negative, place - _COUNT, place)), power + self.exponents[0])
        power, rest = np.divmod(columns[0] - 1, 2 * _COUNT)
        sign, offset = np.divmod(rest, _COUNT)
        mantissa = np.where(columns[0] == 0, 0, offset + _FIRST)
        return Figures((sign == 1) & (mantissa > 0), mantissa, power + self.exponents[0])

    def _refuse(self, wrong: NDArray[np.bool_], values: NDArray[np.float64], reason: str) -> None:
        if wrong.any():
            position = int(np.flatnonzero(wrong)[0])
            raise NumberRangeError(
                position, f"{values[position]!r} {reason}".replace("np.float64(", "").replace(")", "")
            )


def _mantissa(index: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(index == 0, 0, index + _FIRST - 1)


def too_many_tokens(name: TextName, exponents: tuple[int, int]) -> int:
    """The number of tokens, where it is more than an embedding should have; else 0."""
    tokens = 1 + 2 * _COUNT * (exponents[1] - exponents[0] + 1)
    return tokens if name == "fp15" and tokens > _MOST_TOKENS else 0
