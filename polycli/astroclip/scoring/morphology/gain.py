"""Normalised discounted cumulative gain within the first ten (Jarvelin and Kekalainen 2002).

With the gain g of what stands at rank r,

    DCG = sum over r = 1 ... 10 of g_r / log2(r + 1),     nDCG = DCG / the largest DCG that any order reaches,

and 1 is best. Gains are linear. A random order reaches the mean gain of all candidates times the sum of the discounts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: How many of the first count.
DEPTH = 10
#: Queries compared with all candidates at once.
_BLOCK = 512


def discounts(count: int) -> Floats:
    """(count,) the weight of each rank."""
    return np.asarray(1 / np.log2(np.arange(2, count + 2)), np.float64)


def normalised_gain(found: Floats, gains: Floats, own: Floats | None = None) -> tuple[Floats, Floats]:
    """(n,) nDCG of n queries, and what a random order reaches; NaN where nothing that could be found has a gain.

    Args:
        found: (n, at most ten) gains of what stands first, the best match first.
        gains: (all,) gains of everything that could be found.
        own: (n,) gains of the queries, where these stand among `gains` themselves; they are not found.

    Example:
        >>> reached, chance = normalised_gain(np.array([[0.0, 1.0]]), np.array([1.0, 0.0, 0.0]))
        >>> reached.round(3).tolist(), chance.round(3).tolist()  # one of three stands at rank 2: 1 / log2(3)
        ([0.631], [0.71])
    """
    others = len(gains) - (own is not None)
    weights = discounts(min(DEPTH, others))
    top = np.sort(gains)[::-1][: len(weights) + 1]
    best, total = np.full(len(found), top[: len(weights)] @ weights), np.full(len(found), gains.sum())
    if own is not None:
        total = total - own
        for value in np.unique(own[own >= top[-1]]):
            without = np.delete(top, int(np.argmax(top == value)))
            best[own == value] = without @ weights[: len(without)]
    with np.errstate(invalid="ignore", divide="ignore"):
        reached = found @ weights[: found.shape[1]] / best
        return reached, total / others * weights.sum() / best


def nearest(vectors: NDArray[np.float32], queries: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n, at most ten) places of the unit vectors that are most similar to some of them, without themselves."""
    count = min(DEPTH, len(vectors) - 1)
    found = np.empty((len(queries), count), np.int64)
    for start in range(0, len(queries), _BLOCK):
        mine = queries[start : start + _BLOCK]
        similarity = vectors[mine] @ vectors.T
        similarity[np.arange(len(mine)), mine] = -np.inf
        some = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(similarity, some, axis=1), axis=1, kind="stable")
        found[start : start + len(mine)] = np.take_along_axis(some, order, axis=1)
    return found
