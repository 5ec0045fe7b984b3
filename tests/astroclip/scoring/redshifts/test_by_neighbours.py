"""Redshifts by neighbours in several ways, against scikit-learn and formulas."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from polycli.astroclip.scoring.measure import Side
from polycli.astroclip.scoring.redshifts.by_neighbours import (
    answers_by_neighbours,
    gaussians,
    inverse_distances,
    kernel_width,
    redshift_by_neighbours,
)
from polycli.report.bootstrap import Bootstrap


@pytest.fixture
def survey():
    """Vectors of four numbers, of which the first is the redshift, as (train, targets, test, truth)."""
    generator = np.random.default_rng(0)
    train, test = (generator.standard_normal((count, 4)) for count in (400, 100))
    return train, 0.3 + 0.1 * train[:, 0], test, 0.3 + 0.1 * test[:, 0]


@pytest.mark.parametrize("weights", ["distance", "uniform"])
def test_the_first_two_ways_are_scikit_learns_on_standardised_vectors(survey, weights):
    train, targets, test, _ = survey
    scaler = StandardScaler().fit(train)
    for count in (4, 64):
        regressor = KNeighborsRegressor(count, weights=weights).fit(scaler.transform(train), targets)
        found = answers_by_neighbours(train, targets, test, (4, 64))[count][weights]
        np.testing.assert_allclose(found, regressor.predict(scaler.transform(test)))


def test_a_kernel_takes_many_neighbours_for_what_near_ones_tell(survey):
    train, targets, test, truth = survey
    answers = answers_by_neighbours(train, targets, test, (64,))[64]
    errors = {name: np.square(predicted - truth).mean() for name, predicted in answers.items()}
    assert errors["kernel"] < 0.6 * errors["distance"] < 0.6 * errors["uniform"]


def test_a_neighbour_at_no_distance_decides_alone():
    np.testing.assert_array_equal(
        inverse_distances(np.array([[0.0, 0.0, 2.0], [0.5, 1.0, 4.0]])), [[1, 1, 0], [2, 1, 0.25]]
    )


def test_weights_of_the_kernel_are_gaussian_and_the_nearest_has_one():
    found = gaussians(np.array([[3.0, 5.0], [1e3, 1e3]]), 2.0)
    np.testing.assert_allclose(found, [[1.0, np.exp(-(25 - 9) / 8)], [1.0, 1.0]])


def test_the_width_is_the_one_that_predicts_training_objects_best_from_the_others():
    generator = np.random.default_rng(1)
    distance = np.sort(generator.uniform(0.1, 2, (200, 16)), axis=1)
    targets = generator.standard_normal(200)
    # Values that differ from the target by the distance: near ones are better, and narrow kernels best.
    narrow = kernel_width(
        distance, targets[:, None] + distance * generator.choice([-1, 1], distance.shape) * 3, targets
    )
    # Values with one error whatever the distance: the more of them, the better.
    wide = kernel_width(distance, targets[:, None] + generator.standard_normal(distance.shape), targets)
    assert narrow < 0.5 < wide
    assert kernel_width(np.zeros((3, 2)), np.ones((3, 2)), np.ones(3)) > 0


def test_more_neighbours_than_objects_are_all_of_them(survey):
    train, targets, test, _ = survey
    found = answers_by_neighbours(train[:6], targets[:6], test, (64,))[64]["uniform"]
    # One less than there are: a training object is predicted from the others.
    assert found.shape == (100,)
    assert np.isfinite(found).all()


def test_only_objects_whose_redshift_is_known_count(survey):
    train, targets, test, truth = survey
    sides = Side(np.arange(400), {"spectrum": train}), Side(np.arange(100), {"spectrum": test})
    targets, truth = targets.copy(), truth.copy()
    targets[::2], truth[1::2] = np.nan, np.nan
    found = redshift_by_neighbours(*sides, (targets, truth), (4,), Bootstrap(samples=20))
    halved = Side(np.arange(200), {"spectrum": train[1::2]}), Side(np.arange(50), {"spectrum": test[::2]})
    expected = redshift_by_neighbours(*halved, (targets[1::2], truth[::2]), (4,), Bootstrap(samples=20))
    assert found == expected
    assert set(found["spectrum"]["4"]) == {"distance", "uniform", "kernel"}
    assert redshift_by_neighbours(*sides, (targets, truth), (), Bootstrap(samples=20)) == {}
    assert redshift_by_neighbours(*sides, (targets, np.full(100, np.nan)), (4,), Bootstrap(samples=20)) == {}
