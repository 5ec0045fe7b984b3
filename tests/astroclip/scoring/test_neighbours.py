"""Neighbours against numbers worked out by hand."""

import numpy as np
import pytest

from polycli.astroclip.scoring.neighbours import Neighbours, weighted_quantiles


def test_an_object_that_is_among_the_labelled_gets_its_own_value():
    vectors = np.eye(4, dtype=np.float32)
    answer = Neighbours(vectors, 4).answer(3 * vectors[2:3], np.array([1.0, 2, 30, 4]), (0.5,))
    assert answer.mean[0] == pytest.approx(30, abs=1e-3)
    # Cosines 1, 0, 0 and 0.
    assert answer.similarity[0] == pytest.approx(0.25, abs=1e-5)


def test_neighbours_that_are_equally_near_count_equally():
    answer = Neighbours(np.eye(3, dtype=np.float32), 3).answer(
        np.ones((1, 3), np.float32), np.array([1.0, 2, 6]), (0.5,)
    )
    assert answer.mean[0] == pytest.approx(3, rel=1e-6)
    assert answer.quantiles[0, 0] == pytest.approx(2, rel=1e-6)


def test_quantiles_weigh_values():
    values, weights = np.array([[30.0, 10.0, 20.0]]), np.array([[0.5, 0.25, 0.25]])
    # Sorted 10, 20, 30 with weights 1/4, 1/4, 1/2: in the middle of their weights at 0.125, 0.375, 0.75.
    found = weighted_quantiles(values, weights, (0.05, 0.125, 0.25, 0.375, 0.75, 0.99))
    assert found[0] == pytest.approx([10, 10, 15, 20, 30, 30])


def test_quantiles_of_many_equal_weights_are_numpys():
    values = np.random.default_rng(0).standard_normal((3, 2001))
    found = weighted_quantiles(values, np.full(values.shape, 1 / 2001), (0.16, 0.5, 0.84))
    assert found == pytest.approx(np.quantile(values, (0.16, 0.5, 0.84), axis=1).T, abs=2e-3)
