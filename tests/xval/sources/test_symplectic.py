"""The integrator against conservation laws, the exact two-body orbit, its own order, and itself run backwards."""

import math

import numpy as np

from polycli.xval.sources.orbits import Planet, bodies
from polycli.xval.sources.symplectic import YOSHIDA_6, Systems, energy, trajectory


def systems_of(*planetary):
    start = [bodies(1.0, planets) for planets in planetary]
    return Systems(
        np.array([[body.mass for body in system] for system in start]).T.copy(),
        np.array([[body.position for body in system] for system in start]).transpose(1, 2, 0).copy(),
        np.array([[body.velocity for body in system] for system in start]).transpose(1, 2, 0).copy(),
    )


def angular_momentum(systems):
    (x, y), (u, v) = systems.positions.swapaxes(0, 1), systems.velocities.swapaxes(0, 1)
    return (systems.masses * (x * v - y * u)).sum(axis=0)


THREE = (Planet(3e-5, 1.0, 0.08, 0.3), Planet(5e-5, 1.7, 0.02, 4.0), Planet(1e-5, 2.4, 0.1, 2.0))
OTHER = (Planet(2e-5, 2.0, 0.05, 1.0), Planet(5e-5, 1.0, 0.0, 5.0), Planet(4e-5, 1.5, 0.09, 3.0))


def test_the_steps_add_up_to_one_and_read_alike_from_both_ends():
    assert math.isclose(math.fsum(YOSHIDA_6), 1, abs_tol=1e-15)
    assert list(reversed(YOSHIDA_6)) == list(YOSHIDA_6)


def test_energy_and_angular_momentum_stay_over_twenty_five_years():
    systems = systems_of(THREE, OTHER)
    *_, last = trajectory(systems, np.array([0.5, 0.6]), 300, substeps=8)
    np.testing.assert_allclose(energy(last), energy(systems), rtol=1e-9)
    np.testing.assert_allclose(angular_momentum(last), angular_momentum(systems), rtol=1e-12)


def test_a_two_body_orbit_is_keplers():
    planet = Planet(mass=1e-3, semi_major_axis=1.3, eccentricity=0.4, true_anomaly=0.0)
    rate = math.sqrt((1 + planet.mass) / planet.semi_major_axis**3)
    times = np.linspace(0, 3 * 2 * math.pi / rate, 31)
    found = list(trajectory(systems_of([planet]), np.array([times[1]]), 31, substeps=64))
    for time, state in zip(times, found, strict=True):
        eccentric = mean = rate * time
        for _ in range(60):  # Kepler's equation by Newton's method.
            eccentric -= (eccentric - 0.4 * math.sin(eccentric) - mean) / (1 - 0.4 * math.cos(eccentric))
        expected = 1.3 * np.array([math.cos(eccentric) - 0.4, math.sqrt(1 - 0.16) * math.sin(eccentric)])
        np.testing.assert_allclose(state.positions[1, :, 0] - state.positions[0, :, 0], expected, atol=1e-9)


def test_running_back_returns_to_the_start():
    systems = systems_of(THREE, OTHER)
    interval = np.array([0.5, 0.7])
    *_, last = trajectory(systems, interval, 40, substeps=4)
    *_, first = trajectory(last, -interval, 40, substeps=4)
    np.testing.assert_allclose(first.positions, systems.positions, atol=1e-11)
    np.testing.assert_allclose(first.velocities, systems.velocities, atol=1e-11)


def test_half_the_step_makes_a_sixty_fourth_of_the_error():
    def end(substeps):
        *_, last = trajectory(systems_of(THREE), np.array([0.8]), 20, substeps=substeps)
        return last.positions

    exact = end(64)
    errors = [np.abs(end(substeps) - exact).max() for substeps in (4, 8)]
    assert 40 < errors[0] / errors[1] < 100


def test_a_system_moves_alike_to_the_last_bit_whatever_moves_beside_it():
    alone = [state.positions[..., 0] for state in trajectory(systems_of(THREE), np.array([0.5]), 30, substeps=8)]
    many = systems_of(*[OTHER] * 6, THREE, *[OTHER] * 4)
    beside = [state.positions[..., 6] for state in trajectory(many, np.full(11, 0.5), 30, substeps=8)]
    np.testing.assert_array_equal(alone, beside)
