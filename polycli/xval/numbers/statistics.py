"""Statistics of numbers by key path, in float64, combined over blocks in a fixed order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.store.statistics import Moments

#: Powers of ten from that of the smallest float64 to that of the largest.
LOWEST_DECADE, HIGHEST_DECADE = -324, 308


@dataclass(frozen=True)
class NumberStatistics:
    """Statistics of the numbers of one key path, in their own units."""

    count: int
    mean: float
    std: float
    min: float
    max: float
    #: Sizes of the smallest and the largest number that is not zero; 0 where all are zero.
    smallest: float
    largest: float
    #: Power of ten below which 1 % of the sizes lie, zeros apart: where numbers of note begin. 0 where all are zero.
    low_decade: int

    def as_dict(self) -> dict[str, float]:
        """Returns the statistics as they stand in a manifest."""
        return {name: float(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> NumberStatistics:
        """Rebuilds statistics from what `as_dict` wrote."""
        whole = {"count", "low_decade"}
        return cls(
            **{
                name: int(values[name]) if name in whole else float(values[name])  # type: ignore[arg-type]
                for name in cls.__dataclass_fields__
            }
        )


class NumberSums:
    """Running sums of the numbers of many key paths."""

    def __init__(self) -> None:
        self._moments: dict[int, Moments] = {}
        self._sizes: dict[int, tuple[float, float]] = {}
        self._decades: dict[int, NDArray[np.int64]] = {}

    def update(self, values: NDArray[np.float64], keys: NDArray[np.int32]) -> None:
        """Add numbers and, for each, the place of its key path."""
        for key, members in by_key(values, keys):
            self._moments[key] = self._moments.get(key, Moments()).merged(Moments.of(members))
            sizes = np.abs(members[members != 0])
            if sizes.size:
                low, high = self._sizes.get(key, (math.inf, 0.0))
                self._sizes[key] = (min(low, float(sizes.min())), max(high, float(sizes.max())))
                found = np.bincount(decades_of(sizes) - LOWEST_DECADE, minlength=HIGHEST_DECADE - LOWEST_DECADE + 1)
                self._decades[key] = self._decades.get(key, np.zeros_like(found)) + found

    def decades(self, key: int) -> dict[int, int]:
        """Counts the numbers in each power of ten, zeros apart."""
        counts = self._decades.get(key, np.zeros(0, dtype=np.int64))
        return {int(place) + LOWEST_DECADE: int(counts[place]) for place in np.flatnonzero(counts)}

    def statistics(self, key_paths: Sequence[str]) -> dict[str, NumberStatistics]:
        """Maps each key path to its statistics; paths without numbers are left out."""
        return {path: self._of(key) for key, path in enumerate(key_paths) if key in self._moments}

    def _of(self, key: int) -> NumberStatistics:
        moments = self._moments[key]
        smallest, largest = self._sizes.get(key, (0.0, 0.0))
        low = 0
        if key in self._decades:
            share = np.cumsum(self._decades[key]) / self._decades[key].sum()
            low = int(np.searchsorted(share, 0.01)) + LOWEST_DECADE
        return NumberStatistics(
            count=int(moments.count),
            mean=moments.mean,
            std=moments.std,
            min=moments.minimum,
            max=moments.maximum,
            smallest=smallest,
            largest=largest,
            low_decade=low,
        )


def by_key(values: NDArray[np.float64], keys: NDArray[np.int32]) -> list[tuple[int, NDArray[np.float64]]]:
    """The numbers of each key path that occurs, in their order."""
    if not len(keys):
        return []
    # Of small integers numpy counts how many there are of each, which is faster than to compare them.
    small = keys.astype(np.uint16) if keys.min() >= 0 and keys.max() < 2**16 else keys
    order = np.argsort(small, kind="stable")
    ordered, values = keys[order], values[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    return [(int(key), part) for key, part in zip(ordered[starts], np.split(values, starts[1:]), strict=True)]


def decades_of(sizes: NDArray[np.float64]) -> NDArray[np.int64]:
    """The power of ten of each positive number: e in 10^e <= x < 10^(e + 1)."""
    # log10 may round up to the next power just below it: 9.999999999999999e22 has the logarithm 23.
    found = np.floor(np.log10(sizes)).astype(np.int64)
    found -= (powers_of_ten(found) > sizes).astype(np.int64)
    found += (powers_of_ten(found + 1) <= sizes).astype(np.int64)
    return found


_TABLE = np.array([float(f"1e{power}") for power in range(LOWEST_DECADE, HIGHEST_DECADE + 1)] + [math.inf])


def powers_of_ten(exponents: NDArray[np.int64]) -> NDArray[np.float64]:
    """Powers of ten, correctly rounded, which numpy's `power` is not."""
    return _TABLE[np.clip(exponents - LOWEST_DECADE, 0, len(_TABLE) - 1)]
