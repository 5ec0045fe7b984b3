"""Says which sample comes when: pure functions of (seed, position), so that any process can compute any part of it.

Two questions are answered here, both in exact integer arithmetic, so that the answers are the same on every machine, in
every numpy release, for any number of ranks and readers, and after any resume:

- which dataset is the n-th draw of a run, and how often was that dataset drawn before (`DrawSchedule`);
- which window of a dataset is the p-th that training sees (`shuffled`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

#: 2^64 divided by the golden ratio: multiples of it, modulo 2^64, fill the circle more evenly than random points do.
GOLDEN = 0x9E3779B97F4A7C15
_WORD = 1 << 64
_ROUNDS = 6
_CHUNK = 1 << 16


class DrawSchedule:
    """Datasets in proportion to their weights, draw after draw.

    Draw n takes the dataset in whose share of [0, 1) the n-th point of a golden-ratio sequence falls. Every stretch of
    the run then holds the datasets in proportion, which independent random draws reach only on average, and the number
    of earlier draws of a dataset is known without a state to save: it tells which of its windows are next.
    """

    def __init__(self, weights: Sequence[float], seed: int) -> None:
        total = sum(Fraction(weight) for weight in weights)
        borders = [
            int(sum(Fraction(weight) for weight in weights[: i + 1]) / total * _WORD) for i in range(len(weights))
        ]
        # The last border is the end of the circle, which 64 bits cannot hold; searchsorted does not need it.
        self._borders = np.array(borders[:-1], dtype=np.uint64)
        self._offset = keyed_words(1, "draws", seed)[0]
        self._datasets = np.empty(0, dtype=np.int64)
        self._occurrences = np.empty(0, dtype=np.int64)
        self._counts = np.zeros(len(weights), dtype=np.int64)

    def __getitem__(self, draw: int) -> tuple[int, int]:
        """(dataset, how many earlier draws were of the same dataset) of draw number `draw`, counted from 0."""
        while draw >= len(self._datasets):
            self._grow()
        return int(self._datasets[draw]), int(self._occurrences[draw])

    def _grow(self) -> None:
        length = max(_CHUNK, len(self._datasets))
        draws = np.arange(len(self._datasets), len(self._datasets) + length, dtype=np.uint64)
        points = draws * np.uint64(GOLDEN) + self._offset
        datasets = np.searchsorted(self._borders, points, side="right").astype(np.int64)
        occurrences = np.empty(length, dtype=np.int64)
        for dataset in range(len(self._counts)):
            places = np.flatnonzero(datasets == dataset)
            occurrences[places] = self._counts[dataset] + np.arange(len(places))
            self._counts[dataset] += len(places)
        self._occurrences = np.concatenate([self._occurrences, occurrences])
        self._datasets = np.concatenate([self._datasets, datasets])


def shuffled(positions: NDArray[np.int64], size: int, *key: str | int) -> NDArray[np.int64]:
    """Return the items, of `size`, at `positions` of an endless order that goes through all of them again and again.

    Every pass is a permutation of its own, so no item is seen twice before all are seen once. `key` names the order.
    """
    passes, places = np.divmod(positions, size)
    result = np.empty_like(positions)
    for number in np.unique(passes):
        chosen = passes == number
        result[chosen] = _Permutation.of(size, *key, int(number))(places[chosen])
    return result


@dataclass(frozen=True)
class _Permutation:
    """A bijection of range(size), evaluated where it is asked for: a balanced Feistel network with cycle walking."""

    size: int
    half_bits: int
    round_keys: NDArray[np.uint64]

    @classmethod
    def of(cls, size: int, *key: str | int) -> _Permutation:
        half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
        return cls(size, half_bits, keyed_words(_ROUNDS, "permutation", size, *key))

    def __call__(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Images of `places`. The network permutes up to 4 * size numbers; those outside are sent on until inside."""
        values = self._network(places.astype(np.uint64))
        while (outside := values >= self.size).any():
            values[outside] = self._network(values[outside])
        return values.astype(np.int64)

    def _network(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        bits, mask = np.uint64(self.half_bits), np.uint64((1 << self.half_bits) - 1)
        left, right = values >> bits, values & mask
        for key in self.round_keys:
            left, right = right, left ^ (mixed(right + key) & mask)
        return (left << bits) | right


def mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every input bit changes half of the output bits."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def keyed_words(count: int, *key: str | int) -> NDArray[np.uint64]:
    """`count` 64-bit words that depend on every part of `key`, and on nothing else."""
    digest = b"".join(hashlib.sha256(repr((*key, block)).encode()).digest() for block in range((count + 3) // 4))
    return np.frombuffer(digest, dtype="<u8")[:count].astype(np.uint64)
