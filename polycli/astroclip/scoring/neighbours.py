"""Properties of objects without labels from their nearest labelled neighbours, with quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.scoring.retrieval import unit

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """Predictions for n objects: the weighted mean, quantiles (n, quantiles), and the mean cosine to the neighbours."""

    mean: Floats
    quantiles: Floats
    similarity: Floats


class Neighbours:
    """Labelled vectors to look up; weights are inverse distances of unit vectors."""

    def __init__(self, vectors: NDArray[np.float32], count: int) -> None:
        from sklearn.neighbors import NearestNeighbors

        self.count = min(count, len(vectors))
        self._index = NearestNeighbors(n_neighbors=self.count).fit(unit(vectors))

    def answer(self, vectors: NDArray[np.float32], values: Floats, quantiles: Sequence[float]) -> Answer:
        """Predicts `values` (labelled,) for each row of `vectors` (n, d) from its nearest labelled neighbours."""
        distance, found = self._index.kneighbors(unit(vectors))
        # An object that is among the labelled ones has distance 0: it then decides, but divides by no zero.
        weights = 1 / np.maximum(distance.astype(np.float64), 1e-6)
        weights /= weights.sum(axis=1, keepdims=True)
        near = values[found]
        return Answer(
            mean=(weights * near).sum(axis=1),
            quantiles=weighted_quantiles(near, weights, quantiles),
            similarity=(1 - 0.5 * distance.astype(np.float64) ** 2).mean(axis=1),
        )


def side_by_side(vectors: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Unit vectors of one kind or of several, (n, sum of widths): how objects are compared by all of them."""
    return np.concatenate([unit(values) for values in vectors], axis=1)


def weighted_quantiles(values: Floats, weights: Floats, quantiles: Sequence[float]) -> Floats:
    """(n, quantiles) of each row of `values` (n, k), whose weights (n, k) add up to one.

    Each value stands in the middle of its weight; between values it is linear, and beyond the ends constant.
    """
    order = np.argsort(values, axis=1)
    sorted_values = np.take_along_axis(values, order, axis=1)
    sorted_weights = np.take_along_axis(weights, order, axis=1)
    places = np.cumsum(sorted_weights, axis=1) - sorted_weights / 2
    rows = zip(places, sorted_values, strict=True)
    return np.array([np.interp(quantiles, place, row) for place, row in rows], np.float64)
