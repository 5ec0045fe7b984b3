"""Predicts properties from vectors: a line, k nearest neighbours, a small network, boosted trees, and their scores.

The protocol is that of Parker et al. 2024, section 6: vectors and targets standardised on the training rows, 64
neighbours weighted by inverse distance, few-shot networks with two hidden layers of 64.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from polycli.report.bootstrap import Bootstrap

Floats = NDArray[np.float64]
Probe = Literal["linear", "knn", "mlp", "boosting", "tuned_boosting"]
#: Learning rate and leaves of a tree that tuned boosting chooses from; rounds end where a held-back tenth gains none.
_BOOSTERS = ((0.1, 31), (0.1, 7), (0.05, 15), (0.03, 31))
#: The part of the rows by which it chooses, and the fewest rows with which it does.
_CHOOSING, _FEWEST_TO_CHOOSE = 0.2, 100
#: Ridge penalties that the linear probe chooses from by leave-one-out error; vectors may be longer than rows are many.
_PENALTIES = np.logspace(-3, 6, 19)


#: Low and high.
Bounds = Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How well numbers were predicted; None where the truth is constant."""

    #: 1 - residual variance over the variance of the truth.
    r2: float | None
    interval: Bounds | None


@dataclass(frozen=True, kw_only=True)
class NumberErrors:
    """R2, mean absolute and root mean square error of numbers, each with its interval over rows; None: not finite."""

    r2: float | None
    r2_interval: Bounds | None
    mae: float | None
    mae_interval: Bounds
    rmse: float | None
    rmse_interval: Bounds


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How often classes were right: 0 to 1."""

    accuracy: float
    interval: Bounds
    #: What naming the most frequent class would reach.
    majority: float


class Regressor(Protocol):
    """The methods that scikit-learn's estimators have in common."""

    def fit(self, features: Floats, targets: Floats) -> object:
        """Learns to predict targets from features."""
        ...

    def predict(self, features: Floats) -> Floats:
        """Predicts the targets of new features."""
        ...


@dataclass(frozen=True)
class ProbeSettings:
    """The number of neighbours, the smallest leaf of a tree, and the seed with which probes are made."""

    neighbours: int = 64
    seed: int = 0
    smallest_leaf: int = 20


def predict_targets(probe: Probe, train: Floats, targets: Floats, test: Floats, settings: ProbeSettings) -> Floats:
    """Values for the rows of `test` (n, d), learnt from `train` (m, d) and `targets` (m,); all finite.

    Boosting alone takes NaN in `train` and `test`, for what a row does not have.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    mean, spread = float(targets.mean()), float(targets.std()) or 1.0
    if probe == "tuned_boosting":
        regressor = _tuned_boosting(scaler.transform(train), (targets - mean) / spread, settings)
    else:
        regressor = _regressor(probe, len(train), settings)
    with warnings.catch_warnings():
        # The network has a budget of rounds; that it might have gained from more is no news.
        warnings.simplefilter("ignore", ConvergenceWarning)
        regressor.fit(scaler.transform(train), (targets - mean) / spread)
    return np.asarray(regressor.predict(scaler.transform(test)), np.float64) * spread + mean


def predict_labels(
    train: Floats, labels: NDArray[np.int64], test: Floats, settings: ProbeSettings
) -> NDArray[np.int64]:
    """The class of each row of `test` by a vote of its neighbours, weighted by inverse distance."""
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    voters = KNeighborsClassifier(min(settings.neighbours, len(train)), weights="distance")
    voters.fit(scaler.transform(train), labels)
    return np.asarray(voters.predict(scaler.transform(test)), np.int64)


def r2_score(truth: Floats, predicted: Floats, bootstrap: Bootstrap) -> Fit:
    """R2 and its interval over the rows."""
    residual, spread = (predicted - truth) ** 2, (truth - truth.mean()) ** 2
    # The mean of equal numbers is not always one of them: their spread would be a rounding error, and divided by.
    if not (truth != truth[:1]).any():
        return Fit(r2=None, interval=None)
    low, high = bootstrap.ratio(residual, spread).tolist()
    return Fit(r2=float(1 - residual.mean() / spread.mean()), interval=[1 - high, 1 - low])


def error_scores(truth: Floats, predicted: Floats, bootstrap: Bootstrap) -> NumberErrors:
    """R2, mean absolute and root mean square error of numbers, each with its interval over the rows."""
    fit = r2_score(truth, predicted, bootstrap)
    errors = np.abs(predicted - truth)
    return NumberErrors(
        r2=fit.r2,
        r2_interval=fit.interval,
        mae=float(errors.mean()),
        mae_interval=bootstrap.mean(errors).tolist(),
        rmse=float(np.sqrt((errors**2).mean())),
        rmse_interval=np.sqrt(bootstrap.mean(errors**2)).tolist(),
    )


def accuracy_score(truth: NDArray[np.int64], predicted: NDArray[np.int64], bootstrap: Bootstrap) -> Accuracy:
    """The share of right classes, its interval over the rows, and that of the most frequent class."""
    right = (truth == predicted).astype(np.float64)
    majority = float(np.bincount(truth).max() / len(truth))
    return Accuracy(accuracy=float(right.mean()), interval=bootstrap.mean(right).tolist(), majority=majority)


def _tuned_boosting(train: Floats, targets: Floats, settings: ProbeSettings) -> Regressor:
    """The booster, not yet fitted, that does best on a fifth of the rows after it has learnt from the others."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    if len(train) < _FEWEST_TO_CHOOSE:
        return _regressor("boosting", len(train), settings)

    def booster(rate: float, leaves: int) -> Regressor:
        return HistGradientBoostingRegressor(  # type: ignore[no-any-return]
            learning_rate=rate,
            max_leaf_nodes=leaves,
            max_iter=1000,
            early_stopping=True,
            n_iter_no_change=20,
            min_samples_leaf=settings.smallest_leaf,
            random_state=settings.seed,
        )

    order = np.random.default_rng(settings.seed).permutation(len(train))
    judged, learnt = np.split(order, [int(_CHOOSING * len(train))])
    errors = []
    for choice in _BOOSTERS:
        tried = booster(*choice)
        tried.fit(train[learnt], targets[learnt])
        errors.append(float(((tried.predict(train[judged]) - targets[judged]) ** 2).mean()))
    return booster(*_BOOSTERS[int(np.argmin(errors))])


def _regressor(probe: Probe, size: int, settings: ProbeSettings) -> Regressor:
    if probe == "linear":
        from sklearn.linear_model import RidgeCV

        return RidgeCV(alphas=_PENALTIES)  # type: ignore[no-any-return]
    if probe == "knn":
        from sklearn.neighbors import KNeighborsRegressor

        return KNeighborsRegressor(min(settings.neighbours, size), weights="distance")  # type: ignore[no-any-return]
    if probe == "boosting":
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(  # type: ignore[no-any-return]
            min_samples_leaf=settings.smallest_leaf, random_state=settings.seed
        )
    from sklearn.neural_network import MLPRegressor

    # Stops where a tenth of the training objects, held back, no longer gains.
    return MLPRegressor(  # type: ignore[no-any-return]
        hidden_layer_sizes=(64, 64),
        learning_rate_init=1e-3,
        early_stopping=size >= 50,
        max_iter=200,
        random_state=settings.seed,
    )
