"""Incompressible Navier-Stokes against Taylor-Green, shear flows, conservation, and its own refinement in time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from polycli.mpp.recipe.training import SimulationSection
from polycli.mpp.sources.simulate import incompressible_ns
from polycli.mpp.sources.simulate.incompressible_ns import IncompressibleNs, IncompressibleSolver
from polycli.mpp.sources.simulate.random_fields import generator, waves

TURN = 2 * math.pi


def axes(grid: int) -> tuple[torch.Tensor, torch.Tensor]:
    place = (torch.arange(grid, dtype=torch.float64) + 0.5) / grid
    return place[:, None].expand(grid, grid), place[None, :].expand(grid, grid)


def state_of(solver: IncompressibleSolver, vorticity: torch.Tensor, tracer: torch.Tensor) -> torch.Tensor:
    return solver.to_modes(torch.stack((vorticity, tracer))[:, None])


def test_taylor_green_vortices_decay_at_their_rate_to_rounding():
    grid, viscosity, k = 24, 0.01, 2 * TURN
    solver = IncompressibleSolver(grid=grid, viscosity=viscosity, diffusivity=0.0)
    x, y = axes(grid)
    u, v = torch.sin(k * x) * torch.cos(k * y), -torch.cos(k * x) * torch.sin(k * y)
    vorticity = 2 * k * torch.sin(k * x) * torch.sin(k * y)
    after = solver.velocity(solver.advance(state_of(solver, vorticity, torch.zeros_like(x)), 0.5)[0])[:, 0]
    exact = torch.stack((u, v)) * math.exp(-2 * viscosity * k**2 * 0.5)
    assert (after - exact).abs().max() < 1e-13


def test_a_shear_flow_carries_the_tracer_as_it_should_with_spectral_accuracy(monkeypatch):
    monkeypatch.setattr(incompressible_ns, "COURANT", 0.1)
    errors = []
    for grid in (12, 18, 27):
        solver = IncompressibleSolver(grid=grid, viscosity=0.0, diffusivity=0.0)
        x, y = axes(grid)
        # u = sin(2 pi y) along x stays as it is; its vorticity is -du/dy.
        vorticity = -TURN * torch.cos(TURN * y)
        state = solver.advance(state_of(solver, vorticity, torch.cos(TURN * x)), 0.25)
        exact = torch.cos(TURN * (x - 0.25 * torch.sin(TURN * y)))
        errors.append(float((solver.to_fields(state[1])[0] - exact).abs().max()))
    # Each grid is half as fine again; an algebraic order of p would gain a factor of 1.5^p.
    assert errors[2] < 1e-6
    assert errors[0] / errors[1] > 1.5**8
    assert errors[1] / errors[2] > 1.5**8


def test_a_mode_of_the_tracer_diffuses_at_its_rate_in_water_at_rest():
    solver = IncompressibleSolver(grid=16, viscosity=0.01, diffusivity=0.003)
    x, y = axes(16)
    mode = torch.cos(2 * TURN * x) * torch.sin(TURN * y)
    after = solver.to_fields(solver.advance(state_of(solver, torch.zeros_like(x), mode), 2.0)[1])[0]
    assert (after - mode * math.exp(-0.003 * 5 * TURN**2 * 2.0)).abs().max() < 1e-14


def test_a_steady_force_along_x_brings_water_at_rest_to_its_final_speed():
    grid, k, viscosity, drag, force = 24, 4 * TURN, 2e-3, 0.5, 3.0
    solver = IncompressibleSolver(grid=grid, viscosity=viscosity, diffusivity=0.0, drag=drag)
    _, y = axes(grid)
    curl = solver.to_modes((-force * k * torch.cos(k * y))[None])
    state = state_of(solver, torch.zeros_like(y), torch.zeros_like(y))
    for _ in range(20):
        state = solver.advance(state, 0.02, curl)
    rate = viscosity * k**2 + drag
    exact = force / rate * (1 - math.exp(-rate * 0.4)) * torch.sin(k * y)
    u, v = solver.velocity(state[0])[:, 0]
    assert (u - exact).abs().max() < 1e-6
    assert v.abs().max() < 1e-12


def random_state(solver: IncompressibleSolver, seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    vorticity = TURN * 2.5 * waves(random, solver.grid, 1.0, 4.0)
    return state_of(solver, vorticity, 0.5 + 0.25 * waves(random, solver.grid, 1.0, 4.0))


def invariants(solver: IncompressibleSolver, state: torch.Tensor) -> torch.Tensor:
    """Energy, enstrophy and variance of the tracer."""
    fields = solver.to_fields(state)[:, 0]
    energy = solver.velocity(state[0]).square().sum() / solver.grid**2
    return torch.stack((energy, fields[0].square().mean(), (fields[1] - fields[1].mean()).square().mean()))


def test_without_viscosity_energy_enstrophy_and_tracer_variance_stay_to_the_order_of_the_time_step(monkeypatch):
    solver = IncompressibleSolver(grid=32, viscosity=0.0, diffusivity=0.0)
    state = random_state(solver)
    drifts = []
    for courant in (1.0, 0.5):
        monkeypatch.setattr(incompressible_ns, "COURANT", courant)
        after = solver.advance(state, 0.2)
        assert (solver.to_fields(after) - solver.to_fields(state)).abs().max() > 1
        drifts.append((invariants(solver, after) / invariants(solver, state) - 1).abs().max())
    assert drifts[1] < 1e-4
    # Dissipation of Runge-Kutta 4 is of fifth order.
    assert math.log2(drifts[0] / drifts[1]) > 3.7


def test_the_mean_of_the_tracer_stays_to_rounding():
    solver = IncompressibleSolver(grid=32, viscosity=2e-3, diffusivity=2e-3)
    state = random_state(solver)
    after = solver.advance(state, 0.5)
    assert float(solver.to_fields(after[1]).mean()) == pytest.approx(0.5, abs=1e-15)
    assert float(solver.to_fields(after[1]).std()) < 0.2


def test_time_stepping_is_of_fourth_order(monkeypatch):
    solver = IncompressibleSolver(grid=24, viscosity=2e-3, diffusivity=2e-3)
    state = random_state(solver)
    results = []
    for courant in (1.0, 0.5, 0.0625):
        monkeypatch.setattr(incompressible_ns, "COURANT", courant)
        results.append(solver.to_fields(solver.advance(state, 0.2)))
    errors = [float((result - results[-1]).abs().max()) for result in results[:2]]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4.0, abs=0.6)


def test_the_velocity_has_no_divergence_and_the_wanted_strength():
    section = SimulationSection(system="incompressible_ns", grid=32)
    fields = IncompressibleNs("test", section).start([generator(section, index) for index in range(3)]).fields()
    kx, ky = (TURN * torch.fft.fftfreq(32, 1 / 32)[:, None], TURN * torch.fft.fftfreq(32, 1 / 32)[None, :])
    modes = torch.fft.fft2(fields.double())
    divergence = torch.fft.ifft2(1j * kx * modes[:, 0] + 1j * ky * modes[:, 1]).real
    assert divergence.abs().max() < 1e-4
    speed = fields[:, :2].square().sum(dim=1).mean(dim=(-2, -1)).sqrt()
    assert torch.allclose(speed, torch.ones(3), atol=1e-5)
    assert torch.allclose(fields[:, 2].mean(dim=(-2, -1)), torch.full((3,), 0.5), atol=1e-6)


def test_single_precision_is_as_good_as_double():
    solver = IncompressibleSolver(grid=32, viscosity=2e-3, diffusivity=2e-3)
    state = random_state(solver)
    single, double = solver.advance(state.to(torch.complex64), 0.5), solver.advance(state, 0.5)
    difference = (solver.velocity(single[0]) - solver.velocity(double[0])).abs().max()
    assert difference < 1e-4
