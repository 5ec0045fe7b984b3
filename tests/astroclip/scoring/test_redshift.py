"""Redshift scores against numbers worked out by hand."""

import numpy as np
import pytest

from polycli.astroclip.scoring.redshift import binned_redshift_scores, redshift_scores
from polycli.report.bootstrap import Bootstrap

BOOTSTRAP = Bootstrap(samples=100)


def test_bias_scatter_and_outliers_are_those_of_the_definition():
    truth = np.array([0.0, 1.0, 0.25, 0.0, 0.0])
    error = np.array([0.01, -0.02, 0.03, 0.2, -0.16])
    scores = redshift_scores(truth, truth + error * (1 + truth), BOOTSTRAP)
    assert scores.bias == pytest.approx(error.mean())
    # The median is 0.01; deviations 0, 0.03, 0.02, 0.19, 0.17: their median is 0.03.
    assert scores.sigma_nmad == pytest.approx(1.4826 * 0.03)
    assert scores.outlier_fraction == pytest.approx(2 / 5)


def test_for_gaussian_errors_the_scatter_is_their_standard_deviation():
    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 1, 20000)
    scores = redshift_scores(truth, truth + 0.02 * (1 + truth) * rng.standard_normal(20000), BOOTSTRAP)
    assert scores.sigma_nmad == pytest.approx(0.02, rel=0.03)


def test_bins_hold_equal_numbers_and_the_brightest_come_first():
    magnitude = np.array([20.0, 17.0, 19.0, 18.0, np.nan])
    truth = np.zeros(5)
    bins = binned_redshift_scores(truth, np.array([0.3, 0, 0, 0.3, 9]), magnitude, BOOTSTRAP, bins=2)
    assert [part.magnitude for part in bins] == [[17.0, 18.0], [19.0, 20.0]]
    assert [part.errors.outlier_fraction for part in bins] == [0.5, 0.5]
    assert sum(part.errors.objects for part in bins) == 4, "an object without a magnitude is in no bin"
