"""Gravity in the plane, advanced by the sixth-order symplectic integrator of Yoshida (1990, solution A of table 1).

Many systems of equally many bodies advance together: positions and velocities are (body, axis, system), masses
(body, system), with G = 1. Only sums, products, quotients and square roots are used, which IEEE arithmetic rounds
alike wherever they stand in an array: the last bit of a system does not depend on the others in its batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_W3, _W2, _W1 = 0.784513610477560, 0.235573213359357, -1.17767998417887
_W0 = 1 - 2 * (_W1 + _W2 + _W3)
#: Lengths of the seven leapfrog steps that make one step of sixth order; they add up to 1.
YOSHIDA_6 = (_W3, _W2, _W1, _W0, _W1, _W2, _W3)


@dataclass(frozen=True)
class Systems:
    """Some systems of `bodies` bodies each at one time."""

    #: (body, system)
    masses: Floats
    #: (body, 2, system)
    positions: Floats
    #: (body, 2, system)
    velocities: Floats


def energy(systems: Systems) -> Floats:
    """Total energy of each system, (system,)."""
    kinetic = 0.5 * (systems.masses * (systems.velocities**2).sum(axis=1)).sum(axis=0)
    first, second = np.triu_indices(len(systems.masses), k=1)
    distance = np.sqrt(((systems.positions[first] - systems.positions[second]) ** 2).sum(axis=1))
    result: Floats = kinetic - (systems.masses[first] * systems.masses[second] / distance).sum(axis=0)
    return result


def trajectory(systems: Systems, interval: Floats, frames: int, *, substeps: int) -> Iterator[Systems]:
    """The systems at `frames` times, the first as given, `interval` (system,) apart; negative runs back in time."""
    state = Systems(systems.masses, systems.positions.copy(), systems.velocities.copy())
    step = interval / substeps
    for frame in range(frames):
        if frame:
            for _ in range(substeps):
                _advance(state, step)
        yield Systems(state.masses, state.positions.copy(), state.velocities.copy())


def _advance(state: Systems, step: Floats) -> None:
    """One step of sixth order, in place. Each leapfrog is drift, kick, drift; drifts that meet are joined."""
    drift = 0.5 * YOSHIDA_6[0] * step
    for index, weight in enumerate(YOSHIDA_6):
        state.positions[...] += drift * state.velocities
        state.velocities[...] += (weight * step) * _acceleration(state)
        following = YOSHIDA_6[index + 1] if index + 1 < len(YOSHIDA_6) else 0.0
        drift = 0.5 * (weight + following) * step
    state.positions[...] += drift * state.velocities


def _acceleration(state: Systems) -> Floats:
    """(body, 2, system). Each pair is looked at once; the order of the sums is fixed by the bodies' order."""
    total = np.zeros_like(state.positions)
    bodies = len(state.masses)
    for one in range(bodies - 1):
        apart = state.positions[one + 1 :] - state.positions[one]
        squared = apart[:, 0] * apart[:, 0] + apart[:, 1] * apart[:, 1]
        pull = apart / (squared * np.sqrt(squared))[:, None]
        for other in range(one + 1, bodies):
            total[one] += state.masses[other] * pull[other - one - 1]
        total[one + 1 :] -= state.masses[one] * pull
    return total
