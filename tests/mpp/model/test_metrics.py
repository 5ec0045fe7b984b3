"""Errors against closed forms."""

import pytest
import torch

from polycli.mpp.model.metrics import mean_square, nrmse, variance, vrmse


def wave(grid=64):
    """A sine over full periods: mean 0, mean square 1/2."""
    phase = torch.arange(grid) * 2 * torch.pi / grid
    return torch.sin(phase)[:, None].expand(grid, grid).clone()[None, None]


def test_a_prediction_of_zero_has_an_nrmse_of_one():
    assert nrmse(torch.zeros(1, 1, 64, 64), wave()).item() == pytest.approx(1, rel=1e-6)


def test_an_error_of_a_tenth_has_an_nrmse_of_a_tenth_per_sample_and_field():
    target = torch.cat([wave(), 100 * wave()], dim=1).repeat(2, 1, 1, 1)
    factors = torch.tensor([[1.1, 0.5], [1.0, 2.0]])[..., None, None]
    expected = torch.tensor([[0.1, 0.5], [0.0, 1.0]])
    torch.testing.assert_close(nrmse(factors * target, target), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(vrmse(factors * target, target), expected, rtol=2e-4, atol=1e-6)


def test_a_large_constant_flatters_nrmse_and_not_vrmse():
    target = 100 + wave()
    prediction = torch.full_like(target, 100.0)
    assert nrmse(prediction, target).item() == pytest.approx((0.5 / (100**2 + 0.5)) ** 0.5, rel=1e-4)
    points = 64 * 64
    assert vrmse(prediction, target).item() == pytest.approx(((points - 1) / points) ** 0.5, rel=1e-4)


def test_the_variance_is_unbiased_and_keeps_its_digits_on_a_large_constant():
    assert variance(wave()).item() == pytest.approx(0.5 * 4096 / 4095, rel=1e-6)
    assert variance(wave() + 2048).item() == pytest.approx(0.5 * 4096 / 4095, rel=1e-3)


def test_the_well_definition_is_followed():
    target, prediction = torch.randn(2, 3, 8, 9).double(), torch.randn(2, 3, 8, 9).double()
    error = ((prediction - target) ** 2).mean((-2, -1))
    torch.testing.assert_close(vrmse(prediction, target), (error / (target.std((-2, -1)) ** 2 + 1e-7)).sqrt())


def test_a_target_of_zeros_gives_a_large_finite_number():
    assert nrmse(torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)).item() == pytest.approx(1e7**0.5, rel=1e-5)


def test_sums_are_float32_whatever_comes_in():
    large = torch.full((1, 1, 256, 256), 3.0, dtype=torch.bfloat16)
    assert mean_square(large).dtype is torch.float32
    assert mean_square(large).item() == 9.0
