"""Scores of posteriors: right ones pass, wrong ones are told, and thirds are those of what they are sorted by."""

import numpy as np
import pytest
from scipy.stats import beta, kstest, norm

from polycli.astroclip.scoring.posteriors.distributions import DENSE, Distributions
from polycli.astroclip.scoring.posteriors.measure import SortedBy, coverage_of, own_intervals, score_posterior
from polycli.report.bootstrap import Bootstrap

NOWHERE = SortedBy(None, None, predicted=False)


def normal(count, width=1.0, seed=0):
    """Truths of spread 1 about known middles, and posteriors that take the spread for `width`."""
    generator = np.random.default_rng(seed)
    middle = generator.normal(size=count)
    truth = middle + generator.normal(size=count)
    return truth, Distributions(DENSE, middle[:, None] + width * norm.ppf(DENSE)), middle


def test_right_posteriors_pass_and_too_narrow_ones_do_not():
    bootstrap = Bootstrap(samples=50)
    truth, right, middle = normal(3000)
    scores = score_posterior(truth, right, NOWHERE, bootstrap)
    assert scores.pit.p_value > 0.01
    assert [entry.measured for entry in scores.coverage.all] == pytest.approx([0.68, 0.9, 0.95], abs=0.03)
    assert scores.crps == pytest.approx(1 / np.sqrt(np.pi), abs=0.02)
    _, narrow, _ = normal(3000, width=0.5)
    worse = score_posterior(truth, narrow, NOWHERE, bootstrap)
    assert worse.pit.p_value < 1e-6
    assert worse.crps > scores.crps
    share = 2 * norm.cdf(0.5 * norm.ppf(0.84)) - 1
    assert worse.coverage.all[0].measured == pytest.approx(share, abs=0.03)
    assert worse.pit.ks == pytest.approx(kstest(norm.cdf(2 * (truth - middle)), "uniform").statistic, abs=5e-3)
    assert sum(worse.pit.counts) == 3000


def test_thirds_are_counted_with_binomial_intervals():
    truth = np.zeros(90)
    magnitude = np.random.default_rng(0).permutation(90).astype(float)
    # Those of the faintest third are missed by the interval.
    low = np.where(magnitude >= 60, 1.0, -1.0)
    found = coverage_of(truth, {0.9: (low, np.full(90, 2.0))}, SortedBy(magnitude, None, predicted=False))
    assert [part.between for part in found.by_magnitude] == [[0, 29], [30, 59], [60, 89]]
    assert [part.levels[0].measured for part in found.by_magnitude] == [1.0, 1.0, 0.0]
    assert found.by_magnitude[2].levels[0].interval == pytest.approx([0.0, beta.ppf(0.975, 1, 30)])
    assert found.by_redshift is None
    assert found.all[0].width == pytest.approx((low * -1 + 2).mean())


def test_objects_of_unknown_magnitude_are_in_no_third():
    magnitude = np.array([1.0, np.nan, 2.0, 3.0])
    found = coverage_of(np.zeros(4), {0.9: (np.full(4, -1.0), np.ones(4))}, SortedBy(magnitude, None, predicted=True))
    assert [part.levels[0].objects for part in found.by_magnitude] == [1, 1, 1]
    assert found.all[0].objects == 4


def test_shares_beyond_the_outermost_quantiles_are_not_counted():
    found = Distributions((0.05, 0.5, 0.95), np.tile([-1.0, 0.0, 1.0], (5, 1)))
    assert list(own_intervals(found)) == [0.68, 0.9]
