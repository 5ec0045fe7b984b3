"""Diffusion-reaction against decaying cosines, an integrator of ordinary equations, and its own refinement."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from polycli.mpp.sources.simulate.diffusion_reaction import DiffusionReactionSolver
from polycli.mpp.sources.simulate.random_fields import waves

DIFFUSIVITIES = (1e-3, 5e-3)


def solver_of(grid: int, *, reacts: bool, rate: float = 1.0) -> DiffusionReactionSolver:
    return DiffusionReactionSolver(
        grid=grid, spacing=2 / grid, diffusivities=DIFFUSIVITIES, threshold=5e-3, inhibitor_rate=rate, reacts=reacts
    )


def cosine_error(grid: int) -> float:
    """Of a mode with one and a half waves along x and one half along y, which diffuses for 20 units of time."""
    place = (torch.arange(grid, dtype=torch.float64) + 0.5) * (2 / grid)
    mode = torch.cos(1.5 * math.pi * place)[:, None] * torch.cos(0.5 * math.pi * place)[None, :]
    after = solver_of(grid, reacts=False).advance(torch.stack((mode, mode))[:, None], 20.0)
    square = (1.5**2 + 0.5**2) * math.pi**2
    factors = torch.tensor([math.exp(-d * square * 20.0) for d in DIFFUSIVITIES])
    # No other mode appears, so the ratio is the same everywhere.
    ratio = (after[:, 0] / mode).flatten(1)
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-9)
    return float((ratio[:, 0] - factors).abs().max())


def test_a_cosine_diffuses_at_its_rate_to_second_order_in_space():
    coarse, fine = cosine_error(16), cosine_error(32)
    assert fine < 3e-3
    assert math.log2(coarse / fine) == pytest.approx(2.0, abs=0.05)


def test_without_reaction_nothing_flows_through_the_walls():
    state = torch.randn(2, 3, 24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    after = solver_of(24, reacts=False).advance(state, 5.0)
    assert (after.mean(dim=(-2, -1)) - state.mean(dim=(-2, -1))).abs().max() < 1e-13
    assert float(after.std()) < 0.3 * float(state.std())


def homogeneous(step: float, rate: float) -> np.ndarray:
    state = torch.tensor([1.5, -0.7], dtype=torch.float64)[:, None, None, None].expand(2, 1, 16, 16).contiguous()
    after = solver_of(16, reacts=True, rate=rate).advance(state, 4.0, longest_step=step)
    assert float(after.flatten(1).std(dim=1).max()) < 1e-13
    return after[:, 0, 3, 5].numpy()


@pytest.mark.parametrize("rate", [1.0, 0.2])
def test_a_homogeneous_state_follows_the_ordinary_equations_to_fourth_order_in_time(rate):
    def rates(_: float, y: np.ndarray) -> list[float]:
        return [y[0] - y[0] ** 3 - 5e-3 - y[1], rate * (y[0] - y[1])]

    exact = solve_ivp(rates, (0, 4), [1.5, -0.7], rtol=1e-12, atol=1e-13).y[:, -1]
    coarse, fine = (np.abs(homogeneous(step, rate) - exact).max() for step in (0.1, 0.05))
    assert np.abs(homogeneous(0.05, rate) - exact).max() < 1e-6
    assert math.log2(coarse / fine) == pytest.approx(4.0, abs=0.4)


def test_the_splitting_is_of_second_order():
    random = np.random.default_rng(1)
    state = torch.stack([waves(random, 24, 1, 4)[None] for _ in range(2)])
    solver = solver_of(24, reacts=True)
    reference = solver.advance(state, 2.0, longest_step=0.0025)
    errors = [float((solver.advance(state, 2.0, longest_step=step) - reference).abs().max()) for step in (0.1, 0.05)]
    assert errors[1] < 2e-3
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.2)


def test_single_precision_is_as_good_as_double():
    random = np.random.default_rng(2)
    state = torch.stack([waves(random, 24, 1, 4)[None] for _ in range(2)])
    solver = solver_of(24, reacts=True, rate=0.2)
    assert (solver.advance(state.float(), 10.0) - solver.advance(state, 10.0)).abs().max() < 1e-4


def test_the_second_difference_is_that_of_mirrored_walls():
    """For a short time the diffusion of one axis is 1 + step D L, with L written out here."""
    grid, step = 6, 1e-6
    second = np.diag(np.full(grid, -2.0)) + np.diag(np.ones(grid - 1), 1) + np.diag(np.ones(grid - 1), -1)
    second[0, 0] = second[-1, -1] = -1.0
    solver = solver_of(grid, reacts=False)
    matrices = solver.diffusion(step).numpy()
    for matrix, diffusivity in zip(matrices, DIFFUSIVITIES, strict=True):
        written = np.eye(grid) + step * diffusivity * second / solver.spacing**2
        np.testing.assert_allclose(matrix, written, atol=1e-13)
