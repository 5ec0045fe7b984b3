"""The finite-sample bound of split conformal prediction: formulas by hand, coverage by simulation, scipy's law."""

from fractions import Fraction

import numpy as np
import pytest

from polycli.report.conformal import conformal_quantile, expected_coverage, fewest_units, rank_of


@pytest.mark.parametrize(
    ("level", "units", "rank"),
    [
        (0.9, 9, 9),  # 10 * 0.9 = 9: the largest of nine
        (0.9, 10, 10),  # 9.9
        (0.9, 99, 90),
        (0.95, 19, 19),
        (0.95, 100, 96),  # 95.95
        (0.68, 24, 17),  # 25 * 0.68 = 17 exactly
        (0.55, 99, 55),  # 100 * 0.55 is 55.000000000000007 in binary, whose ceiling would be 56
    ],
)
def test_the_bound_is_the_score_of_rank_ceil_of_n_plus_one_times_the_level(level, units, rank):
    assert rank_of(level, units) == rank
    scores = np.random.default_rng(0).permutation(np.arange(1.0, units + 1))
    assert conformal_quantile(scores, level) == rank


@pytest.mark.parametrize("percent", range(1, 100))
def test_fewest_units_is_the_smallest_sample_whose_bound_is_one_of_its_scores(percent):
    level = percent / 100
    alpha = 1 - Fraction(percent, 100)
    fewest = fewest_units(level)
    assert fewest >= 1 / alpha - 1 > fewest - 1
    assert rank_of(level, fewest) <= fewest
    if fewest > 1:
        assert rank_of(level, fewest - 1) > fewest - 1


def test_a_level_beyond_the_sample_is_refused_with_the_number():
    with pytest.raises(ValueError, match=r"level 0\.95 needs 19 scores, there are 18"):
        conformal_quantile(np.ones(18), 0.95)
    for level in (0.0, 1.0, -0.5, 95.0):
        with pytest.raises(ValueError, match="above 0 and below 1"):
            fewest_units(level)


def test_units_are_bounded_column_by_column_and_failed_ones_count_as_the_worst():
    scores = np.stack([np.arange(1.0, 10.0), 10 * np.arange(1.0, 10.0)], axis=1)
    scores[3, 0] = np.inf
    assert conformal_quantile(scores, 0.8).tolist() == [9.0, 80.0]
    assert conformal_quantile(scores, 0.9).tolist() == [np.inf, 90.0]


@pytest.mark.parametrize("level", [0.68, 0.9, 0.95])
@pytest.mark.parametrize("units", [19, 40, 100])
def test_the_next_of_exchangeable_units_is_covered_as_often_as_promised(level, units):
    """Scores of a heavy tail: coverage is (rank / (units + 1)), at least the level, whatever the distribution."""
    generator = np.random.default_rng(units)
    draws = 20_000
    scores = generator.lognormal(sigma=2.0, size=(units + 1, draws))
    covered = (scores[-1] <= conformal_quantile(scores[:-1], level)).mean()
    exact = rank_of(level, units) / (units + 1)
    spread = 4 * np.sqrt(exact * (1 - exact) / draws)
    assert level <= exact < level + 1 / (units + 1)
    assert covered == pytest.approx(exact, abs=spread)


def test_the_plain_quantile_would_cover_less_than_it_says():
    """The correction matters: without it, 19 scores at 95 % cover about 91 %."""
    generator = np.random.default_rng(1)
    scores = generator.normal(size=(20, 20_000))
    plain = (scores[-1] <= np.quantile(scores[:-1], 0.95, axis=0)).mean()
    corrected = (scores[-1] <= conformal_quantile(scores[:-1], 0.95)).mean()
    assert plain < 0.93
    assert corrected == pytest.approx(0.95, abs=0.01)


def test_counted_coverage_lies_in_its_range_as_often_as_the_law_says():
    level, units, tested, draws = 0.9, 40, 50, 4000
    low, high = expected_coverage(level, units, tested)
    generator = np.random.default_rng(2)
    scores = generator.normal(size=(units + tested, draws))
    counted = (scores[units:] <= conformal_quantile(scores[:units], level)).mean(axis=0)
    inside = ((counted >= low) & (counted <= high)).mean()
    assert 0.94 < inside < 0.985  # At least 95 %; counts are whole numbers, so a little more.
    assert low < level < high
