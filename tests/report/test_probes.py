"""Probes against scikit-learn's own scores, and against what cannot be learnt."""

import numpy as np
import pytest
from sklearn import metrics

from polycli.report.bootstrap import Bootstrap
from polycli.report.probes import (
    Fit,
    ProbeSettings,
    accuracy_score,
    error_scores,
    predict_labels,
    predict_targets,
    r2_score,
)

SETTINGS = ProbeSettings(neighbours=16)


@pytest.fixture
def task():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((600, 4))
    return features, 100 + 5 * features[:, 0] + 0.1 * rng.standard_normal(600), rng


@pytest.mark.parametrize("probe", ["linear", "knn", "mlp", "boosting", "tuned_boosting"])
def test_every_probe_finds_what_is_there_and_not_what_is_not(task, probe):
    features, target, rng = task
    found = predict_targets(probe, features[:500], target[:500], features[500:], SETTINGS)
    assert metrics.r2_score(target[500:], found) > 0.7
    noise = rng.standard_normal(600)
    found = predict_targets(probe, features[:500], noise[:500], features[500:], SETTINGS)
    assert metrics.r2_score(noise[500:], found) < 0.2


def test_tuned_boosting_gains_where_plain_boosting_learns_noise_by_heart(task):
    features, _, rng = task
    target = features[:, 0] + 3 * rng.standard_normal(600)
    plain, tuned = (
        predict_targets(probe, features[:500], target[:500], features[500:], SETTINGS)
        for probe in ("boosting", "tuned_boosting")
    )
    error = {name: ((found - features[500:, 0]) ** 2).mean() for name, found in (("plain", plain), ("tuned", tuned))}
    assert error["tuned"] < 0.7 * error["plain"]
    few = [
        predict_targets(probe, features[:60], target[:60], features[60:90], SETTINGS)
        for probe in ("boosting", "tuned_boosting")
    ]
    np.testing.assert_array_equal(*few)  # too few rows to choose by


def test_neighbours_vote_with_the_inverse_of_their_distance():
    train, targets = np.array([[0.0], [1.0], [9.0]]), np.array([0.0, 1.0, 50.0])
    found = predict_targets("knn", train, targets, np.array([[0.25]]), ProbeSettings(neighbours=2))
    # Distances 0.25 and 0.75: weights 4 and 4/3.
    assert found == pytest.approx([(1 * 4 / 3) / (4 + 4 / 3)])
    labels = predict_labels(train, np.array([0, 1, 1]), np.array([[0.1], [8.0]]), ProbeSettings(neighbours=2))
    assert labels.tolist() == [0, 1]


def test_more_neighbours_than_objects_are_all_of_them():
    found = predict_targets("knn", np.array([[0.0], [2.0]]), np.array([1.0, 3.0]), np.array([[1.0]]), SETTINGS)
    assert found == pytest.approx([2.0])


def test_r2_is_scikit_learns_and_lies_in_its_interval(task):
    _, target, rng = task
    predicted = target + rng.standard_normal(600)
    scores = r2_score(target, predicted, Bootstrap(samples=300))
    assert scores.r2 == pytest.approx(metrics.r2_score(target, predicted), rel=1e-12)
    low, high = scores.interval
    assert low < scores.r2 < high
    assert r2_score(np.ones(5), np.arange(5.0), Bootstrap(samples=10)) == Fit(r2=None, interval=None)
    # The mean of a hundred times 0.1 is another number than 0.1.
    constant = np.full(100, 0.1)
    assert r2_score(constant, constant, Bootstrap(samples=10)) == Fit(r2=None, interval=None)


def test_errors_are_scikit_learns_and_lie_in_their_intervals(task):
    _, target, rng = task
    predicted = target + rng.standard_normal(600)
    scores = error_scores(target, predicted, Bootstrap(samples=300))
    assert scores.r2 == pytest.approx(metrics.r2_score(target, predicted))
    assert scores.mae == pytest.approx(metrics.mean_absolute_error(target, predicted))
    assert scores.rmse == pytest.approx(metrics.root_mean_squared_error(target, predicted))
    for name in ("r2", "mae", "rmse"):
        low, high = getattr(scores, f"{name}_interval")
        assert low < getattr(scores, name) < high


def test_accuracy_stands_beside_the_most_frequent_class():
    truth, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    scores = accuracy_score(truth, predicted, Bootstrap(samples=50))
    assert (scores.accuracy, scores.majority) == (0.75, 0.75)
