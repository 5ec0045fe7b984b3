"""Compressible Navier-Stokes against an advected vortex, sound, a shear wave, conservation, and near-vacuum states."""

from __future__ import annotations

import math

import pytest
import torch

from polycli.mpp.recipe.training import SimulationSection
from polycli.mpp.sources.simulate.compressible_ns import (
    FLOOR,
    GAMMA,
    CompressibleNs,
    CompressibleSolver,
    pressure_of,
    to_conserved,
    to_primitive,
)
from polycli.mpp.sources.simulate.finite_volume import advance, turned
from polycli.mpp.sources.simulate.random_fields import generator

TURN = 2 * math.pi


def cell_centres(cells: int, size: float = 1.0) -> torch.Tensor:
    return (torch.arange(cells, dtype=torch.float64) + 0.5) * (size / cells)


def inviscid(spacing: float) -> CompressibleSolver:
    return CompressibleSolver(spacing=spacing, viscosity=0.0, bulk_viscosity=0.0)


def vortex(cells: int, centre: float) -> torch.Tensor:
    """Shu's isentropic vortex of strength 5 in a flow (1, 1) on a box of 10 by 10, as primitive variables."""
    place = cell_centres(cells, 10.0) - centre
    place = place - 10 * torch.round(place / 10)
    x, y = place[:, None], place[None, :]
    square = x**2 + y**2
    swirl = 5 / TURN * torch.exp(0.5 * (1 - square))
    temperature = 1 - (GAMMA - 1) * 25 / (8 * GAMMA * math.pi**2) * torch.exp(1 - square)
    density = temperature ** (1 / (GAMMA - 1))
    return torch.stack((density, 1 - swirl * y, 1 + swirl * x, density**GAMMA))


def vortex_error(cells: int) -> float:
    solver = inviscid(10 / cells)
    after = solver.advance(to_conserved(vortex(cells, 5.0))[:, None], 1.0)
    return float((to_primitive(after)[:, 0] - vortex(cells, 6.0)).abs().mean())


def test_an_isentropic_vortex_moves_on_unchanged_to_second_order():
    coarse, fine = vortex_error(40), vortex_error(80)
    assert fine < 2e-3
    assert math.log2(coarse / fine) > 1.8


def along_x(primitive: torch.Tensor) -> torch.Tensor:
    """A state that does not depend on y, four cells wide."""
    return to_conserved(primitive)[:, None, :, None].expand(-1, 1, -1, 4).contiguous()


def sound_wave(cells: int) -> tuple[float, float]:
    """Mean error of a small wave after one turn around the box, relative to its amplitude; and its measured speed."""
    small, density, pressure = 1e-6, 1.4, 0.9
    speed = math.sqrt(GAMMA * pressure / density)
    wave = torch.sin(TURN * cell_centres(cells))
    start = torch.stack(
        (density * (1 + small * wave), speed * small * wave, 0 * wave, pressure * (1 + GAMMA * small * wave))
    )
    after = to_primitive(inviscid(1 / cells).advance(along_x(start), 1 / speed))[:, 0, :, 0]
    found = (after[3] / pressure - 1) / (GAMMA * small)
    mode = torch.fft.fft(found)[1] / torch.fft.fft(wave)[1]
    return float((found - wave).abs().mean()), 1 - math.atan2(mode.imag, mode.real) / TURN


def test_sound_travels_at_its_speed_to_second_order():
    (coarse, _), (fine, speed) = sound_wave(32), sound_wave(64)
    assert speed == pytest.approx(1.0, rel=2e-3)
    assert fine < 0.03
    assert math.log2(coarse / fine) > 1.7


def shear_wave(cells: int) -> float:
    """Error in the amplitude of a slow shear wave that viscosity damps to about 1/e."""
    viscosity, density, time = 0.05, 2.0, 1.0
    wave = torch.sin(TURN * cell_centres(cells))
    start = torch.stack((torch.full_like(wave, density), 0 * wave, 1e-3 * wave, torch.full_like(wave, 1.0)))
    solver = CompressibleSolver(spacing=1 / cells, viscosity=viscosity, bulk_viscosity=0.02)
    after = to_primitive(solver.advance(along_x(start), time))[2, 0, :, 0]
    return float((after / 1e-3 - wave * math.exp(-viscosity / density * TURN**2 * time)).abs().mean())


def test_viscosity_damps_a_shear_wave_at_its_rate_to_second_order():
    coarse, fine = shear_wave(16), shear_wave(32)
    assert fine < 0.01
    assert math.log2(coarse / fine) > 1.7


def damping_of_sound(cells: int, viscosity: float, bulk_viscosity: float) -> float:
    """By which power of e a standing wave of sound lost amplitude in one period."""
    small = 1e-6
    wave = torch.cos(TURN * cell_centres(cells))
    start = torch.stack((1 + small * wave, 0 * wave, 0 * wave, (1 + GAMMA * small * wave) / GAMMA))
    solver = CompressibleSolver(spacing=1 / cells, viscosity=viscosity, bulk_viscosity=bulk_viscosity)
    after = (solver.advance(along_x(start), 1.0)[0, 0, :, 0] - 1) / small
    return -math.log(float((after * wave).mean() / wave.square().mean()))


def test_both_viscosities_damp_sound_at_stokes_rate():
    """Stokes: k^2 / (2 density) times (4/3 viscosity + bulk viscosity), less the scheme's own damping."""
    none = damping_of_sound(32, 0.0, 0.0)
    shear = damping_of_sound(32, 0.006, 0.0) - none
    both = damping_of_sound(32, 0.006, 0.004) - none
    assert shear == pytest.approx(0.5 * TURN**2 * 0.008, rel=0.01)
    assert both == pytest.approx(0.5 * TURN**2 * 0.012, rel=0.01)


def random_start(mach: float, dtype: torch.dtype, viscosity: float = 5e-3) -> tuple[CompressibleSolver, torch.Tensor]:
    section = SimulationSection(system="compressible_ns", grid=32, parameters={"mach": mach, "viscosity": viscosity})
    batch = CompressibleNs("test", section).start([generator(section, index) for index in range(2)])
    return batch._solver, batch._state.to(dtype)


@pytest.mark.parametrize("mach", [0.1, 1.0])
def test_mass_momentum_and_energy_stay_to_rounding(mach):
    solver, state = random_start(mach, torch.float64)
    after = solver.advance(state, 0.5)
    scale = state.abs().mean(dim=(-2, -1))
    assert ((after.mean(dim=(-2, -1)) - state.mean(dim=(-2, -1))).abs() / scale).max() < 1e-13
    assert (after - state).abs().max() > 0.1


@pytest.mark.parametrize("mach", [0.1, 1.0])
def test_the_initial_velocity_has_the_chosen_mach_number(mach):
    _, state = random_start(mach, torch.float64)
    _, u, v, _ = to_primitive(state)
    # The speed of sound of the mean state, density 1 and pressure 1 / gamma, is 1.
    assert torch.allclose((u**2 + v**2).mean(dim=(-2, -1)).sqrt(), torch.full((2,), mach, dtype=torch.float64))


def test_single_precision_is_good_enough_down_to_mach_a_twentieth():
    solver, state = random_start(0.05, torch.float32)
    single, double = (to_primitive(solver.advance(start, 0.5)) for start in (state, state.double()))
    assert ((single - double).square().mean(dim=(1, 2, 3)) / double.var(dim=(1, 2, 3))).max().sqrt() < 1e-3


def test_both_axes_are_treated_alike():
    solver, state = random_start(1.0, torch.float32)
    first, second = turned(solver.advance(state, 0.1)), solver.advance(turned(state), 0.1)
    assert (first - second).abs().max() < 1e-5


def wild(decades: float, speed: float) -> torch.Tensor:
    """Cells that know nothing of each other: density and pressure over many decades, supersonic velocities."""
    random = torch.Generator().manual_seed(3)
    uniform = torch.rand(2, 1, 24, 24, generator=random, dtype=torch.float64)
    velocity = speed * torch.randn(2, 1, 24, 24, generator=random, dtype=torch.float64)
    density, pressure = 10 ** (-decades * uniform)
    return to_conserved(torch.stack((density, *velocity, pressure)))


@pytest.mark.parametrize(("decades", "speed"), [(2.0, 3.0), (4.0, 10.0), (4.0, 30.0)])
def test_density_and_pressure_stay_positive_where_plain_steps_fail(decades, speed):
    state, solver = wild(decades, speed), inviscid(1 / 24)
    plain = advance(state, 0.02, solver.euler, solver.longest_step)
    assert not plain.isfinite().all(), "this start is too easy to show anything"
    after = solver.advance(state, 0.02)
    assert after.isfinite().all()
    assert after[0].min() >= FLOOR
    assert pressure_of(after).min() >= FLOOR
    scale = state.abs().mean(dim=(-2, -1))
    assert ((after.mean(dim=(-2, -1)) - state.mean(dim=(-2, -1))).abs() / scale).max() < 1e-13


def test_a_careful_trajectory_leaves_the_others_of_its_batch_alone():
    solver = inviscid(1 / 24)
    calm = to_conserved(torch.tensor([1.0, 0.1, 0.2, 0.6], dtype=torch.float64)[:, None, None, None] + 0 * wild(1, 1))
    calm[0] += 0.1 * torch.sin(TURN * cell_centres(24))[:, None]
    together = solver.advance(torch.cat((calm, wild(4.0, 10.0)), dim=1), 0.02)
    assert torch.equal(together[:, :1], solver.advance(calm, 0.02))
