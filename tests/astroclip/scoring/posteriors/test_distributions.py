"""Distributions from quantiles: their function, score and intervals are those that sampling and integration give."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from polycli.astroclip.recipe.model import PropertySection
from polycli.astroclip.scoring.posteriors.distributions import DENSE, Distributions, levels_of

LEVELS = (0.1, 0.3, 0.5, 0.9)
QUANTILES = np.array([[0.0, 1.0, 1.5, 4.0], [-2.0, -2.0, -1.0, 3.0], [5.0, 5.1, 5.2, 5.3]])


def knots(row):
    """The corners of one distribution function, by hand: straight on beyond the ends."""
    first = QUANTILES[row, 0] - 0.1 * (QUANTILES[row, 1] - QUANTILES[row, 0]) / 0.2
    last = QUANTILES[row, 3] + 0.1 * (QUANTILES[row, 3] - QUANTILES[row, 2]) / 0.4
    return [first, *QUANTILES[row], last], [0.0, *LEVELS, 1.0]


@pytest.mark.parametrize("truth", [-5.0, -0.3, 0.4, 1.2, 3.9, 4.4, 9.0])
def test_probability_and_crps_are_those_of_the_definition(truth):
    found = Distributions(LEVELS, QUANTILES)
    values = np.full(3, truth)
    for row in range(3):
        places, levels = knots(row)

        def function(x, places=places, levels=levels):
            return np.interp(x, places, levels, left=0.0, right=1.0)

        assert found.probability(values)[row] == pytest.approx(function(truth))
        ends = [min(places[0], truth) - 0.1, *sorted({*places, truth}), max(places[-1], truth) + 0.1]
        expected = sum(
            quad(lambda x, function=function: (function(x) - (x >= truth)) ** 2, a, b)[0] for a, b in pairwise(ends)
        )
        assert found.crps(values)[row] == pytest.approx(expected, abs=1e-8)


def test_of_a_normal_distribution_crps_is_the_known_formula():
    truth = np.array([-1.3, 0.0, 0.7, 3.0])
    found = Distributions(DENSE, np.tile(norm.ppf(DENSE), (4, 1)))
    expected = truth * (2 * norm.cdf(truth) - 1) + 2 * norm.pdf(truth) - 1 / np.sqrt(np.pi)
    np.testing.assert_allclose(found.crps(truth), expected, atol=2e-3)
    np.testing.assert_allclose(found.probability(truth)[:3], norm.cdf(truth[:3]), atol=1e-3)


def test_quantiles_that_fall_together_give_a_step():
    found = Distributions((0.25, 0.5, 0.75), np.array([[2.0, 2.0, 2.0]] * 3))
    assert found.probability(np.array([1.9, 2.0, 2.1])).tolist() == [0.0, 1.0, 1.0]
    np.testing.assert_allclose(found.crps(np.array([1.5, 2.0, 2.5])), [0.5, 0.0, 0.5])


def test_intervals_are_between_known_quantiles_alone():
    found = Distributions((0.05, 0.16, 0.5, 0.84, 0.95), np.arange(10.0).reshape(2, 5))
    low, high = found.interval(0.68)
    assert (low.tolist(), high.tolist()) == ([1.0, 6.0], [3.0, 8.0])
    assert found.interval(0.95) is None
    low, high = found.interval(0.79)  # halfway from 0.05 to 0.16, and from 0.84 to 0.95
    np.testing.assert_allclose((low, high), ([0.5, 5.5], [3.5, 8.5]))


def test_a_flow_is_looked_at_at_many_levels_and_at_its_own():
    keys = {"modalities": ("image",), "regression": ("a",), "quantiles": (0.123, 0.5)}
    assert levels_of(PropertySection(**keys, posterior="quantiles")) == (0.123, 0.5)
    found = levels_of(PropertySection(**keys, posterior="flow"))
    assert set(found) == {*DENSE, 0.123}
    assert list(found) == sorted(found)
