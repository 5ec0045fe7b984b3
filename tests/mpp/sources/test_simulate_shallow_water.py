"""Shallow water against linear waves, Stoker's dam break, and what must be conserved."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from polycli.mpp.recipe.training import SimulationSection
from polycli.mpp.sources.simulate.finite_volume import turned
from polycli.mpp.sources.simulate.random_fields import generator
from polycli.mpp.sources.simulate.shallow_water import ShallowWater, ShallowWaterSolver

#: Amplitude of the waves that are compared with linear theory; what is not linear is of relative order 1e-6.
SMALL = 1e-6


def line(cells: int, length: float = 1.0) -> torch.Tensor:
    return (torch.arange(cells, dtype=torch.float64) + 0.5) * (length / cells)


def along_x(depth: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
    """A state that does not depend on y, four cells wide."""
    state = torch.stack((depth, depth * velocity, torch.zeros_like(depth)))
    return state[:, None, :, None].expand(-1, 1, -1, 4).contiguous()


def travelling_wave(cells: int, gravity: float, depth: float) -> tuple[float, float]:
    """Mean error of a small wave after it went once around, relative to its amplitude; and its measured speed."""
    speed = math.sqrt(gravity * depth)
    x = line(cells)
    wave = torch.sin(2 * math.pi * x)
    solver = ShallowWaterSolver(spacing=1 / cells, gravity=gravity, periodic=True)
    state = along_x(depth * (1 + SMALL * wave), speed * SMALL * wave)
    after = solver.advance(state, 1 / speed)[0, 0, :, 0] / depth - 1
    mode = torch.fft.fft(after)[1] / torch.fft.fft(wave)[1]
    # What the phase is behind (or ahead) after one turn.
    return float((after / SMALL - wave).abs().mean()), speed * (1 - math.atan2(mode.imag, mode.real) / (2 * math.pi))


@pytest.mark.parametrize(("gravity", "depth"), [(1.0, 1.0), (9.81, 0.4)])
def test_a_small_wave_travels_with_the_root_of_gravity_times_depth_to_second_order(gravity, depth):
    (coarse, _), (fine, speed) = travelling_wave(32, gravity, depth), travelling_wave(64, gravity, depth)
    assert speed == pytest.approx(math.sqrt(gravity * depth), rel=2e-3)
    assert fine < 0.03
    assert math.log2(coarse / fine) > 1.7


def test_a_small_wave_between_walls_stands_with_the_right_period_to_second_order():
    errors = []
    for cells in (32, 64):
        wave = torch.cos(math.pi * line(cells))
        solver = ShallowWaterSolver(spacing=1 / cells, gravity=1.0, periodic=False)
        after = solver.advance(along_x(1 + SMALL * wave, torch.zeros(cells, dtype=torch.float64)), 2.0)
        errors.append(float(((after[0, 0, :, 0] - 1) / SMALL - wave).abs().mean()))
    assert errors[1] < 0.01
    assert math.log2(errors[0] / errors[1]) > 1.7


def test_a_dam_break_converges_to_stokers_solution():
    high, low, time = 2.0, 1.0, 0.2

    def mismatch(depth: float) -> float:
        """Velocity behind the shock less velocity behind the rarefaction, both into water of this depth."""
        shock = (depth - low) * math.sqrt(0.5 * (depth + low) / (depth * low))
        return shock - 2 * (math.sqrt(high) - math.sqrt(depth))

    middle = brentq(mismatch, low, high)
    velocity = 2 * (math.sqrt(high) - math.sqrt(middle))
    front = middle * velocity / (middle - low)
    errors = []
    for cells in (100, 200):
        x = line(cells, 2.0) - 1.0
        start = torch.where(x < 0, high, low)
        solver = ShallowWaterSolver(spacing=2 / cells, gravity=1.0, periodic=False)
        after = solver.advance(along_x(start, torch.zeros_like(start)), time)[0, 0, :, 0]
        fan = (2 * math.sqrt(high) - x / time).square() / 9
        exact = torch.where(x / time < velocity - math.sqrt(middle), fan.clamp(max=high), middle)
        exact = torch.where(x / time > front, low, exact)
        errors.append(float((after - exact).abs().mean()))
        assert float(after[(x / time - 0.5 * (velocity + front)).abs() < 0.3].mean()) == pytest.approx(middle, rel=5e-3)
    assert errors[1] < 4e-3
    # First order is the best that any scheme has at a shock.
    assert math.log2(errors[0] / errors[1]) > 0.8


def start_of(variant: str, boundary: str, dtype: torch.dtype) -> tuple[ShallowWaterSolver, torch.Tensor]:
    section = SimulationSection(system="shallow_water", grid=32, variant=variant, boundary=boundary)
    batch = ShallowWater("test", section).start([generator(section, index) for index in range(2)])
    return batch._solver, batch._state.to(dtype)


@pytest.mark.parametrize("boundary", ["wall", "periodic"])
@pytest.mark.parametrize("variant", ["dam_break", "bumps"])
def test_mass_stays_and_energy_does_not_grow(variant, boundary):
    solver, state = start_of(variant, boundary, torch.float64)
    mass = state[0].sum(dim=(-2, -1))
    energies = []
    for _ in range(12):
        energies.append((0.5 * (state[1] ** 2 + state[2] ** 2) / state[0] + 0.5 * state[0] ** 2).sum(dim=(-2, -1)))
        state = solver.advance(state, 0.25)
    assert torch.allclose(state[0].sum(dim=(-2, -1)), mass, rtol=1e-13, atol=0)
    assert (torch.stack(energies).diff(dim=0) < 0).all()
    # Some of the energy is lost in bores, but most of it is the water's rest and stays.
    assert (energies[-1] > 0.9 * energies[0]).all()


def test_a_periodic_box_keeps_momentum_as_well():
    solver, state = start_of("bumps", "periodic", torch.float64)
    after = solver.advance(state, 2.0)
    assert after[1:].abs().amax() > 0.05
    assert after[1:].sum(dim=(-2, -1)).abs().max() < 1e-12


def test_single_precision_is_as_good_as_double():
    solver, state = start_of("dam_break", "wall", torch.float32)
    single, double = solver.advance(state, 3.0), solver.advance(state.double(), 3.0)
    assert (single[0] - double[0]).abs().max() < 1e-5
    assert float((single[0].double().mean() / state[0].double().mean() - 1).abs()) < 1e-6


@pytest.mark.parametrize("periodic", [True, False])
def test_a_lake_at_rest_stays_at_rest(periodic):
    state = torch.zeros(3, 2, 8, 8)
    state[0] = 1.3
    solver = ShallowWaterSolver(spacing=0.1, gravity=1.0, periodic=periodic)
    assert torch.equal(solver.advance(state, 1.0), state)


def test_both_axes_are_treated_alike():
    solver, state = start_of("bumps", "wall", torch.float32)
    assert torch.equal(turned(solver.advance(state, 1.0)), solver.advance(turned(state), 1.0))


def test_the_dam_has_the_volume_of_its_circle_wherever_it_stands():
    section = SimulationSection(system="shallow_water", grid=32, parameters={"centre_spread": 1.0})
    batch = ShallowWater("test", section).start([generator(section, index) for index in range(6)])
    volume = (batch.fields()[:, 0].double() - 1).sum(dim=(-2, -1)) * (5 / 32) ** 2
    radius = batch.parameters[:, 0]
    assert np.all((radius > 0.3) & (radius < 0.7))
    assert np.ptp(batch.parameters[:, 1]) > 0.5
    np.testing.assert_allclose(volume.numpy(), np.pi * radius**2, rtol=0.02)
