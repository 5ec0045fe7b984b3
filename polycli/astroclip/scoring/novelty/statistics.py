"""Statistics of training vectors, and the novelty of others: a Mahalanobis distance, on a scale that people can read.

Vectors count by their direction. Novelty 1 is as far from the mean of the training, in units of its own spread in each
direction, as the 99th percentile of training objects that were held back. The covariance is shrunk as Ledoit and Wolf
(2004) found best, so that few objects of wide vectors have one too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.scoring.retrieval import unit
from polycli.checkpoints import training_vectors
from polycli.errors import CheckpointError, StoreError

#: The share of training objects that are held back for the scale, its percentile, and the fewest objects.
_HELD_BACK, _PERCENTILE, FEWEST = 0.2, 0.99, 50


@dataclass(frozen=True)
class TrainingVectors:
    """The mean and the spread of the training vectors of one modality."""

    #: (d,) and (d, d): vectors less the mean, times this, have unit covariance.
    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]
    #: The distance that is novelty 1.
    scale: float

    def novelty(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """(n,) of vectors (n, d)."""
        return (self._distance(vectors) / self.scale).astype(np.float32)

    def _distance(self, vectors: NDArray[Any]) -> NDArray[np.float64]:
        centred = unit(vectors.astype(np.float32)) - self.mean
        distance: NDArray[np.float64] = np.linalg.norm(centred.astype(np.float64) @ self.whitening, axis=1)
        return distance

    @classmethod
    def of(cls, vectors: NDArray[np.float32], seed: int = 0) -> TrainingVectors:
        """The statistics of training vectors (n, d).

        Raises:
            StoreError: there are fewer than 50.
        """
        from sklearn.covariance import LedoitWolf

        if len(vectors) < FEWEST:
            raise StoreError(
                f"{len(vectors)} training objects, at least {FEWEST} are needed to say what is unlike them",
                hint="give more --data, or leave novelty out",
            )
        order = np.random.default_rng(seed).permutation(len(vectors))
        held, learnt = np.split(order, [int(_HELD_BACK * len(vectors))])
        directions = unit(vectors)
        fitted = LedoitWolf().fit(directions[learnt].astype(np.float64))
        whitening = np.linalg.cholesky(fitted.precision_ + 1e-12 * np.eye(vectors.shape[1]))
        found = cls(fitted.location_.astype(np.float32), whitening.astype(np.float32), 1.0)
        scale = float(np.quantile(found._distance(vectors[held]), _PERCENTILE))
        return cls(found.mean, found.whitening, scale or 1.0)


def write_statistics(path: Path, statistics: Mapping[str, TrainingVectors], model_hash: str) -> None:
    """Write the statistics of all modalities, with the hash of the weights that made the vectors."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, found in statistics.items():
        arrays |= {f"{name}_mean": found.mean, f"{name}_whitening": found.whitening}
        arrays[f"{name}_scale"] = np.array(found.scale)
    training_vectors.write_statistics(path, arrays, model_hash)


def read_statistics(path: Path, model_hash: str) -> dict[str, TrainingVectors]:
    """The statistics in a file, by modality.

    Raises:
        CheckpointError: it is damaged, or of other weights.
    """
    arrays, own = training_vectors.read_statistics(path)
    names = [name.removesuffix("_mean") for name in arrays if name.endswith("_mean")]
    found = {name: _of_arrays(path, name, arrays) for name in names}
    if own != model_hash:
        raise CheckpointError(f"{path}: statistics of the vectors of other weights", hint=training_vectors.MADE_BY)
    return found


def _of_arrays(path: Path, name: str, arrays: Mapping[str, NDArray[Any]]) -> TrainingVectors:
    mean, whitening, scale = (arrays.get(f"{name}_{part}") for part in ("mean", "whitening", "scale"))
    if mean is None or whitening is None or scale is None:
        raise training_vectors.damaged(path, f"those of the {name} vectors are not whole")
    fitting = mean.ndim == 1 and whitening.shape == (mean.size, mean.size) and scale.shape == ()
    if not fitting or any(part.dtype.kind != "f" or not np.isfinite(part).all() for part in (mean, whitening, scale)):
        raise training_vectors.damaged(path, f"those of the {name} vectors are no mean and spread")
    return TrainingVectors(mean, whitening, float(scale))
