"""The digits that numbers of each key path have in the training data, so that answers are written alike."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from decimal import Decimal

import numpy as np
from pydantic import BaseModel, ConfigDict

from polycli.xval.data.store import RecordStore

#: Training records of each store that are looked at, spread evenly.
_LOOKED_AT = 512
#: More decimals than this are those of a computation, not of a way of writing.
_MOST_DECIMALS = 6
#: Larger ones are whole numbers, to float64, with any decimals.
_EXACT = 2.0**53


class Digits(BaseModel):
    """The section `digits` of how data were read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: By key path, how many decimals its numbers have at most; absent where there are more than people write.
    decimals: dict[str, int] = {}
    #: Key paths whose numbers are integers, all of them.
    integers: tuple[str, ...] = ()

    def value(self, path: str, answer: float) -> float | int:
        """An answer as the key path's own numbers are written.

        >>> Digits(decimals={"mass": 1, "n": 0}, integers=("n",)).value("mass", 2.3456)
        2.3
        >>> Digits(decimals={"n": 0}, integers=("n",)).value("n", 2.7)
        3
        """
        decimals = self.decimals.get(path)
        if decimals is None or not math.isfinite(answer) or abs(answer) * 10**decimals > _EXACT:
            return answer
        rounded = round(answer, decimals) + 0.0  # no -0.0
        return int(rounded) if path in self.integers else rounded

    def bounds(self, path: str, interval: tuple[float, float]) -> tuple[float, float]:
        """An interval with one decimal more, no narrower than it was.

        >>> Digits(decimals={"mass": 1}).bounds("mass", (2.3456, 2.3457))
        (2.34, 2.35)
        """
        decimals = self.decimals.get(path)
        if decimals is None or max(map(abs, interval)) * 10 ** (decimals + 1) > _EXACT:
            return interval
        scale = 10 ** (decimals + 1)
        low, high = math.floor(interval[0] * scale) / scale, math.ceil(interval[1] * scale) / scale
        return round(low, decimals + 1) + 0.0, round(high, decimals + 1) + 0.0

    def joined(self, other: Digits) -> Digits:
        """These digits, and of key paths that both know the larger number of decimals; integers where both say so."""
        known = set(self.decimals) & set(other.decimals)
        decimals = {**self.decimals, **other.decimals}
        decimals |= {path: max(self.decimals[path], other.decimals[path]) for path in known}
        either = {*self.integers, *other.integers}
        both = set(self.integers) & set(other.integers)
        integers = sorted(path for path in either if path in both or path not in known)
        return Digits(decimals=decimals, integers=tuple(integers))

    def extended(self, other: Digits, *, before: Collection[str], now: Collection[str]) -> Digits:
        """These digits with those of later data, where `before` and `now` are the key paths that each had.

        One that was there and has no digits had too many of them, and has none from the other side either.

        >>> Digits().extended(Digits(decimals={"mass": 1, "n": 0}), before=["mass"], now=["mass", "n"]).decimals
        {'n': 0}
        """
        full = (set(before) - set(self.decimals)) | (set(now) - set(other.decimals))
        both = self.joined(other)
        kept = {path: most for path, most in both.decimals.items() if path not in full}
        return Digits(decimals=kept, integers=tuple(path for path in both.integers if path in kept))


def digits_of(stores: Sequence[RecordStore]) -> Digits:
    """The digits of the numbers of some stores, from some hundreds of records of each."""
    found = Digits()
    many: set[str] = set()
    for store in stores:
        training = store.rows("train")
        records = store.read(
            training[np.unique(np.linspace(0, len(training) - 1, _LOOKED_AT).round().astype(np.int64))]
        )
        decimals, integers = {}, []
        for key, path in enumerate(records.key_paths):
            mine = records.number_keys == key
            if not mine.any():
                continue
            most = _decimals(records.numbers[mine])
            if most is None:
                many.add(path)
                continue
            decimals[path] = most
            integers += [path] if bool(records.number_integers[mine].all()) else []
        found = found.joined(Digits(decimals=decimals, integers=tuple(integers)))
    kept = {path: most for path, most in found.decimals.items() if path not in many}
    return Digits(decimals=kept, integers=tuple(path for path in found.integers if path in kept))


def _decimals(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> int | None:
    """The largest number of decimals; None where one has too many."""
    most = 0
    for value in np.unique(values).tolist():
        exponent = Decimal(repr(value)).normalize().as_tuple().exponent
        most = max(most, -int(exponent))
        if most > _MOST_DECIMALS:
            return None
    return most
