"""Redshifts by k nearest neighbours, for several k and three ways to weigh them.

The paper's protocol is 64 neighbours weighed by inverse distance, of more than a hundred thousand objects. Of few
objects 64 lie far apart where vectors hold more than the redshift, and inverse distances in many dimensions are nearly
equal, so that all 64 count alike. A Gaussian kernel (Nadaraya and Watson 1964) lets the near ones rule; its width is
the one that predicts each training object best from the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.scoring.measure import Side
from polycli.astroclip.scoring.redshift import redshift_scores
from polycli.astroclip.scoring.redshifts.records import NeighbourScores
from polycli.report.bootstrap import Bootstrap
from polycli.report.probes import Floats, r2_score

#: What is scored so, as far as it is there.
SCORED = (
    "image",
    "spectrum",
    "image_unaligned",
    "spectrum_unaligned",
    "spectrum_templates",
    "spectrum_shift",
)
_WIDTHS = 24


def redshift_by_neighbours(
    reference: Side,
    test: Side,
    known: tuple[Floats, Floats],
    counts: tuple[int, ...],
    bootstrap: Bootstrap,
) -> dict[str, dict[str, dict[str, NeighbourScores]]]:
    """Scores by input, number of neighbours and weights (`distance`, `uniform`, `kernel`).

    `known`: the redshifts of the reference and of the test objects, NaN where nobody knows them.
    """
    learn, judge = np.isfinite(known[0]), np.isfinite(known[1])
    if not counts or min(learn.sum(), judge.sum()) < 2:
        return {}
    targets, truth = known[0][learn], known[1][judge]
    found: dict[str, dict[str, dict[str, NeighbourScores]]] = {}
    for name in (name for name in SCORED if name in test.inputs):
        answers = answers_by_neighbours(reference.inputs[name][learn], targets, test.inputs[name][judge], counts)
        found[name] = {
            str(count): {weights: scores_of(truth, predicted, bootstrap) for weights, predicted in by_weights.items()}
            for count, by_weights in answers.items()
        }
    return found


def answers_by_neighbours(
    train: NDArray[np.floating], targets: Floats, test: NDArray[np.floating], counts: tuple[int, ...]
) -> dict[int, dict[str, Floats]]:
    """Predictions for the rows of `test` (n, d) from `train` (m, d) and `targets` (m,), by number and weights.

    Vectors are standardised on `train` first, as in the paper's protocol.
    """
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train.astype(np.float64))
    most = min(max(counts), len(train) - 1)
    index = NearestNeighbors(n_neighbors=most).fit(scaler.transform(train.astype(np.float64)))
    distance, places = index.kneighbors(scaler.transform(test.astype(np.float64)))
    # Without a query: of each reference object, itself left out.
    distance_within, places_within = index.kneighbors()
    found: dict[int, dict[str, Floats]] = {}
    for count in counts:
        kept = min(count, most)
        near, values = distance[:, :kept], targets[places[:, :kept]]
        width = kernel_width(distance_within[:, :kept], targets[places_within[:, :kept]], targets)
        weights: Mapping[str, Callable[[Floats], Floats]] = {
            "distance": inverse_distances,
            "uniform": np.ones_like,
            "kernel": lambda some, width=width: gaussians(some, width),  # type: ignore[misc]
        }
        found[count] = {name: _weighted_mean(values, made(near)) for name, made in weights.items()}
    return found


def inverse_distances(distance: Floats) -> Floats:
    """Returns 1 / distance; where a distance is 0, such neighbours alone count."""
    same = distance == 0
    weights: Floats = np.where(same.any(axis=1, keepdims=True), same, 1 / np.where(same, 1, distance))
    return weights


def gaussians(distance: Floats, width: float) -> Floats:
    """Returns Gaussian weights of that width, (n, k), of which the nearest neighbour has 1, so that none is lost."""
    squares = distance**2 - distance[:, :1] ** 2
    weights: Floats = np.exp(-squares / (2 * width**2))
    return weights


def kernel_width(distance: Floats, values: Floats, targets: Floats) -> float:
    """The width by which `targets` (m,) are predicted best from `values` (m, k) of neighbours at `distance` (m, k)."""
    apart = distance[distance > 0]
    if not len(apart):
        return 1.0
    widths = np.geomspace(np.quantile(apart, 0.01) / 2, np.quantile(apart, 0.99), _WIDTHS)
    errors = [float(np.square(_weighted_mean(values, gaussians(distance, width)) - targets).mean()) for width in widths]
    return float(widths[int(np.argmin(errors))])


def _weighted_mean(values: Floats, weights: Floats) -> Floats:
    mean: Floats = (values * weights).sum(axis=1) / weights.sum(axis=1)
    return mean


def scores_of(truth: Floats, predicted: Floats, bootstrap: Bootstrap) -> NeighbourScores:
    """Scores redshifts that neighbours told."""
    errors = redshift_scores(truth, predicted, bootstrap)
    return NeighbourScores(
        fit=r2_score(truth, predicted, bootstrap),
        sigma_nmad=errors.sigma_nmad,
        outlier_fraction=errors.outlier_fraction,
    )
