"""Permutation tests of nuisances: their share of false alarms, and which of several is named."""

import numpy as np
import pytest

from polycli.astroclip.scoring.audits.leaks import (
    correlation_p,
    enough_permutations,
    explained_beyond,
    magnitude_bins,
    permuted,
)
from polycli.astroclip.scoring.audits.nuisances import Nuisance


def objects(seed, count=120):
    """Magnitudes that tell the target, and three nuisances that have nothing to do with it."""
    generator = np.random.default_rng(seed)
    magnitudes = generator.standard_normal((count, 2))
    target = magnitudes[:, 0] + 0.5 * magnitudes[:, 1] ** 3 + generator.standard_normal(count)
    nuisances = {name: generator.standard_normal((count, 2)) for name in ("psf", "noise", "sky")}
    return target, magnitudes, nuisances


def found(target, magnitudes, nuisances, level=0.01, permutations=999):
    given = [Nuisance(name, ("a", "b"), values) for name, values in nuisances.items()]
    explained = explained_beyond(
        target,
        magnitudes,
        magnitude_bins(magnitudes[:, 0]),
        given,
        permutations=permutations,
        level=level,
        seed=0,
    )
    assert {one.name for one in explained} == set(nuisances)
    return [one.name for one in explained if one.p * len(given) <= level]


def test_false_alarms_are_as_rare_as_was_asked_for():
    # Of 100 clean surveys at a level of 10 %, more than 20 with an alarm come by chance once in a thousand times.
    alarms = sum(bool(found(*objects(seed), level=0.1, permutations=99)) for seed in range(100))
    assert 1 <= alarms <= 20


def test_a_nuisance_that_tells_the_target_is_named_alone_though_another_follows_it():
    target, magnitudes, nuisances = objects(1, count=400)
    target = target + 1.5 * nuisances["psf"][:, 0]
    nuisances["sky"] = nuisances["psf"] + 0.5 * nuisances["sky"]
    assert found(target, magnitudes, nuisances) == ["psf"]


def test_a_nuisance_that_follows_magnitude_alone_is_no_leak():
    target, magnitudes, nuisances = objects(2, count=400)
    nuisances["noise"] = magnitudes + 0.3 * nuisances["noise"]
    assert found(target, magnitudes, nuisances) == []


def test_bins_hold_equal_numbers_and_permutations_stay_within_them():
    bins = magnitude_bins(np.random.default_rng(0).standard_normal(205))
    assert np.bincount(bins).tolist() in ([21, 20] * 5, [20, 21] * 5) or set(np.bincount(bins)) == {20, 21}
    rows = permuted(bins, np.random.default_rng(1))
    assert sorted(rows) == list(range(205))
    assert (bins[rows] == bins).all()
    assert (rows != np.arange(205)).mean() > 0.8
    assert set(magnitude_bins(np.arange(30.0))) == {0}


def test_permutations_suffice_for_the_level_whatever_the_number_of_columns():
    assert enough_permutations(999, 3, 0.01) == 999
    assert 50 / (1 + enough_permutations(999, 50, 0.01)) < 0.01


def test_the_p_of_a_correlation_is_the_share_of_permutations_that_reach_it():
    generator = np.random.default_rng(3)
    truth = generator.standard_normal((50, 2))
    assert correlation_p(truth + 0.1, truth, permutations=99, seed=0) == pytest.approx(0.01)
    p = [correlation_p(generator.standard_normal((50, 2)), truth, permutations=99, seed=s) for s in range(40)]
    assert 0.3 < np.mean(p) < 0.7
