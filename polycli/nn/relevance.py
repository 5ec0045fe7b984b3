"""Relevance feedback: the vector to look for, made of examples that are wanted and unwanted (Rocchio 1971)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
#: How much the mean of what is unwanted is taken from the mean of what is wanted.
UNLIKE_WEIGHT = 0.5


def remade_query(like: Floats, unlike: Floats | None = None) -> Floats:
    """(width,) the mean of the unit vectors of what is wanted less half the other mean.

    Args:
        like: (n, width) vectors that the answer shall be like, at least one.
        unlike: (m, width) those that it shall not be like.

    Example:
        >>> remade_query(np.float32([[2, 0], [0, 1]]), np.float32([[0, 3]])).tolist()
        [0.5, 0.0]
    """
    vector = _mean_direction(like)
    if unlike is not None and len(unlike):
        vector = vector - np.float32(UNLIKE_WEIGHT) * _mean_direction(unlike)
    return vector


def _mean_direction(vectors: Floats) -> Floats:
    """The mean of vectors, each made as long as one."""
    wide = vectors.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray((wide / np.where(length == 0, 1, length)).mean(axis=0), np.float32)
