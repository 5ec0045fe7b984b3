"""Spectra add up to the variance, correlations are numpy's, and steps are counted to the first that is lost."""

import numpy as np
import pytest
import torch

from polycli.mpp.scoring.spectra import correlation, radial_power, steps_correlated


@pytest.mark.parametrize("grid", [(16, 16), (16, 24), (15, 9)])
def test_power_is_where_the_waves_are_and_adds_up_to_their_variance(grid):
    x, y = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in grid), indexing="ij")
    field = 5 + 2 * np.sin(3 * x) + np.cos(2 * y)
    power = radial_power(torch.from_numpy(field)[None, None])[0, 0].numpy()
    expected = np.zeros(min(grid) // 2)
    expected[3 - 1], expected[2 - 1] = 2**2 / 2, 1 / 2
    np.testing.assert_allclose(power, expected, atol=1e-12)
    assert power.sum() == pytest.approx(field.var())


def test_correlation_is_numpys_and_zero_for_still_fields():
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 3, 2, 8, 6, generator=generator, dtype=torch.float64)
    found = correlation(one, two)
    for sample in range(3):
        for field in range(2):
            expected = np.corrcoef(one[sample, field].flatten(), two[sample, field].flatten())[0, 1]
            assert float(found[sample, field]) == pytest.approx(expected)
    assert float(correlation(torch.ones(1, 1, 8, 6), one[:1, :1]).abs().max()) == 0


def test_a_forecast_counts_until_the_first_step_that_is_lost():
    values = np.array([[0.9, 0.9, 0.5, 0.9], [0.7, 1, 1, 1], [1, 1, 1, 1], [1, np.nan, 1, 1]])[..., None]
    assert steps_correlated(values).tolist() == [2, 0, 4, 1]
