"""Intervals over independent units."""

import tracemalloc

import numpy as np
import pytest

from polycli.report.bootstrap import _TIMES, Bootstrap


def test_an_interval_holds_the_estimate_and_is_that_of_normal_theory_where_theory_holds():
    values = np.random.default_rng(0).normal(5.0, 2.0, size=400)
    low, high = Bootstrap(samples=4000).mean(values)
    assert low < values.mean() < high
    theory = 2 * 1.96 * values.std(ddof=1) / np.sqrt(400)
    assert high - low == pytest.approx(theory, rel=0.06)


def test_intervals_shrink_with_the_root_of_the_number_of_units():
    values = np.random.default_rng(1).exponential(size=900)
    widths = [np.ptp(Bootstrap().mean(values[:n])) for n in (9, 100, 900)]
    assert widths[0] > widths[1] > widths[2]
    assert widths[1] / widths[2] == pytest.approx(3.0, rel=0.3)


def test_equal_seeds_give_equal_intervals_and_memory_parts_do_not_matter(monkeypatch):
    values = np.random.default_rng(2).normal(size=(20, 3))
    whole = Bootstrap(seed=4).mean(values)
    monkeypatch.setattr("polycli.report.bootstrap._BLOCK", 100)
    np.testing.assert_array_equal(Bootstrap(seed=4).mean(values), whole)
    assert not np.array_equal(Bootstrap(seed=5).mean(values), whole)
    assert whole.shape == (2, 3)


def test_a_ratio_is_resampled_in_pairs():
    denominator = np.random.default_rng(3).uniform(1, 100, size=12)
    # Errors that vary wildly between units and yet are half of the other everywhere: the ratio is known exactly.
    np.testing.assert_allclose(Bootstrap().ratio(denominator / 2, denominator), [0.5, 0.5])
    assert np.ptp(Bootstrap().mean(denominator)) > 10


def test_one_unit_has_no_spread_and_an_infinite_one_does_not_raise():
    np.testing.assert_array_equal(Bootstrap().mean(np.array([3.0])), [3.0, 3.0])
    assert Bootstrap().mean(np.array([1.0, np.inf]))[0] >= 1.0


def test_weights_of_many_units_have_mean_and_variance_one():
    assert len(_TIMES) == 256
    assert (_TIMES.mean(), _TIMES.var()) == (1.0, 1.0)


def test_many_units_have_the_intervals_that_normal_theory_gives():
    values = np.random.default_rng(6).normal(5.0, 2.0, size=40_000)
    low, high = Bootstrap(samples=1000).mean(values)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 200, rel=0.1)
    assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.003)
    np.testing.assert_allclose(Bootstrap(samples=100).ratio(values, 2 * values), [0.5, 0.5], rtol=1e-12)


def test_many_units_of_which_one_is_infinite_do_not_turn_into_what_is_no_number():
    values = np.append(np.ones(20_000), np.inf)
    assert Bootstrap(samples=50).mean(values)[0] >= 1.0


def test_memory_does_not_grow_with_the_number_of_units():
    tracemalloc.start()
    Bootstrap(samples=200).mean(np.random.default_rng(7).normal(size=200_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6  # 200 samples of 200,000 numbers of 8 bytes would be 320 MB.
