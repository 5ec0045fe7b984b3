"""Finding an object among many by its vector: ranks, recall, and how alike and how spread vectors are.

A rank is 1 plus the number of candidates that are nearer than the right one; a tie counts half, so that vectors which
are all equal rank in the middle and not first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.report.bootstrap import Bootstrap
from polycli.report.probes import Bounds

Vectors = NDArray[np.float32]
#: Queries compared with all candidates at once.
_BLOCK = 1024


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


def ranks(queries: Vectors, candidates: Vectors) -> NDArray[np.float64]:
    """Rank of candidate i for query i by cosine similarity, both (n, d)."""
    return _ranks_by_product(unit(queries), unit(candidates))


def ranks_by_distance(queries: NDArray[np.float64], candidates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank of candidate i for query i by distance, both (n, d)."""
    middle = candidates.mean(axis=0)
    queries, candidates = queries - middle, candidates - middle
    # Of -|q - c|^2 the part that differs from candidate to candidate: 2 q c - |c|^2.
    squares = (candidates**2).sum(axis=1, keepdims=True)
    ones = np.ones((len(queries), 1))
    return _ranks_by_product(np.hstack([2 * queries, ones]), np.hstack([candidates, -squares]))


def _ranks_by_product(queries: NDArray[np.floating[Any]], candidates: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    found = np.empty(len(queries))
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        similarity = block @ candidates.T
        # From the product itself: summed in another order, the same similarity would differ in its last bit.
        right = similarity[np.arange(len(block)), np.arange(start, start + len(block))][:, None]
        nearer, ties = (similarity > right).sum(axis=1), (similarity == right).sum(axis=1) - 1
        found[start : start + len(block)] = 1 + nearer + ties / 2
    return found


def recall_within(nearest: int, found: NDArray[np.float64], candidates: int, bootstrap: Bootstrap) -> Recall:
    """Recall among the `nearest` of so many candidates, by the ranks (n,) that queries found their partners at."""
    hits = (found <= nearest).astype(np.float64)
    chance = min(1.0, nearest / candidates)
    return Recall(recall=float(hits.mean()), interval=bootstrap.mean(hits).tolist(), chance=chance)


def retrieval_scores(found: NDArray[np.float64], at: Sequence[int], bootstrap: Bootstrap) -> RetrievalScores:
    """Recall within the first `at` candidates with intervals, the median rank, and what chance would reach."""
    candidates = len(found)
    return RetrievalScores(
        candidates=candidates,
        recall_at={str(count): recall_within(count, found, candidates, bootstrap) for count in at},
        median_rank=float(np.median(found)),
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
