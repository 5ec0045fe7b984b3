"""Finding an object among many by its vector: ranks, recall, and how alike and how spread vectors are.

A rank is 1 plus the number of candidates that are nearer than the right one; a tie counts half, so that vectors which
are all equal rank in the middle and not first. Among the nearest k a candidate with ties stands by the chance that it
would where the order of the tied is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.report.bootstrap import Bootstrap
from polycli.report.probes import Bounds

Vectors = NDArray[np.float32]
#: Queries compared with all candidates at once.
_BLOCK = 1024
#: Cosines that differ by less are the same: equal vectors at other places of a product differ in their last bits.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Ranks:
    """Counts, for each of n queries, the candidates that are nearer than the right one, and those just as near."""

    nearer: NDArray[np.int64]
    tied: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.nearer)

    @property
    def middle(self) -> NDArray[np.float64]:
        """(n,) the ranks, from 1; a tie counts half."""
        return 1 + self.nearer + self.tied / 2

    def within(self, nearest: int) -> NDArray[np.float64]:
        """(n,) the chance that the right one is among the `nearest`: 0 or 1, but for ties.

        >>> Ranks(np.array([0, 3, 9, 10]), np.array([0, 1, 3, 0])).within(10).tolist()
        [1.0, 1.0, 0.25, 0.0]
        """
        return np.clip((nearest - self.nearer) / (1 + self.tied), 0.0, 1.0)

    def of(self, chosen: NDArray[np.bool_]) -> Ranks:
        """The same of some queries."""
        return Ranks(self.nearer[chosen], self.tied[chosen])


@dataclass(frozen=True, kw_only=True)
class Recall:
    """The share of queries whose partner is among the nearest, and what chance would reach."""

    recall: float
    interval: Bounds
    chance: float


@dataclass(frozen=True, kw_only=True)
class RetrievalScores:
    """One direction of retrieval."""

    candidates: int
    #: By how many of the nearest count.
    recall_at: Mapping[str, Recall]
    #: 1 is best.
    median_rank: float
    chance_rank: float


def unit(vectors: Vectors) -> Vectors:
    """Vectors (n, d) of length one; a zero vector stays zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length == 0, 1, length), np.float32)


def ranks(queries: Vectors, candidates: Vectors) -> Ranks:
    """Rank of candidate i for query i by cosine similarity, both (n, d)."""
    return _ranks_by_product(unit(queries).astype(np.float64), unit(candidates).astype(np.float64), _ROUNDING)


def ranks_by_distance(queries: NDArray[np.float64], candidates: NDArray[np.float64]) -> Ranks:
    """Rank of candidate i for query i by distance, both (n, d)."""
    middle = candidates.mean(axis=0)
    queries, candidates = queries - middle, candidates - middle
    # Of -|q - c|^2 the part that differs from candidate to candidate: 2 q c - |c|^2.
    squares = (candidates**2).sum(axis=1, keepdims=True)
    ones = np.ones((len(queries), 1))
    return _ranks_by_product(np.hstack([2 * queries, ones]), np.hstack([candidates, -squares]))


def _ranks_by_product(queries: NDArray[np.float64], candidates: NDArray[np.float64], rounding: float = 0.0) -> Ranks:
    nearer, tied = np.empty((2, len(queries)), np.int64)
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        similarity = block @ candidates.T
        # From the product itself: summed in another order, the same similarity would differ in its last bit.
        right = similarity[np.arange(len(block)), np.arange(start, start + len(block))][:, None]
        rows = slice(start, start + len(block))
        nearer[rows] = (similarity > right + rounding).sum(axis=1)
        tied[rows] = (similarity >= right - rounding).sum(axis=1) - nearer[rows] - 1
    return Ranks(nearer, tied)


def recall_within(nearest: int, found: Ranks, candidates: int, bootstrap: Bootstrap) -> Recall:
    """Recall among the `nearest` of so many candidates, by the ranks that queries found their partners at."""
    hits = found.within(nearest)
    chance = min(1.0, nearest / candidates)
    return Recall(recall=float(hits.mean()), interval=bootstrap.mean(hits).tolist(), chance=chance)


def retrieval_scores(found: Ranks, at: Sequence[int], bootstrap: Bootstrap) -> RetrievalScores:
    """Recall within the first `at` candidates with intervals, the median rank, and what chance would reach."""
    candidates = len(found)
    return RetrievalScores(
        candidates=candidates,
        recall_at={str(count): recall_within(count, found, candidates, bootstrap) for count in at},
        median_rank=float(np.median(found.middle)),
        chance_rank=(candidates + 1) / 2,
    )


def alignment(one: Vectors, other: Vectors) -> float:
    """Mean squared distance of the two unit vectors of an object; 0 is best (Wang and Isola 2020, section 4.1.1)."""
    return float(((unit(one) - unit(other)) ** 2).sum(axis=1).mean())


def uniformity(vectors: Vectors) -> float:
    """Log of the mean of exp(-2 d^2) over pairs of unit vectors; lower is more even (ibid., section 4.1.2)."""
    directions = unit(vectors[:4096])
    count = len(directions)
    if count < 2:
        return 0.0
    total = 0.0
    for start in range(0, count, _BLOCK):
        block = directions[start : start + _BLOCK]
        squared = np.maximum(2 - 2 * (block @ directions.T).astype(np.float64), 0)
        total += float(np.exp(-2 * squared).sum())
    return float(np.log((total - count) / (count * (count - 1))))
