"""Planetary systems as the xVal paper draws them: their elements at random, their records from their motion.

Golkar et al. 2023, section 3: two to five planets around a star of mass 1, semi-major axes evenly spaced from 1, masses
and eccentricities scaled so that all numbers of a record are of order one. What is drawn for a system follows from
(seed, index) alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.requests import JsonDocument
from polycli.xval.recipe.sources import PlanetsSection
from polycli.xval.sources.orbits import Planet, bodies
from polycli.xval.sources.symplectic import Systems, energy, trajectory

Floats = NDArray[np.float64]
#: Relative change of a system's energy above which its motion is computed again, position by position.
ENERGY_TOLERANCE = 1e-7
#: Then steps are this much shorter between two positions that change it by more than a tenth of that, this often.
#: Close encounters need it, which about one in 500 systems has; the closest of them are left out, because they would
#: take longer than all other systems together.
REFINEMENT, REFINEMENTS = 4, 3


@dataclass(frozen=True)
class Draw:
    """The planets of one system before it moves, and how it is to be followed."""

    planets: tuple[Planet, ...]
    steps: int
    #: Time between two positions.
    interval: float


def draw(section: PlanetsSection, index: int) -> Draw:
    """System number `index` of a recipe; it does not depend on which others are drawn."""
    generator = np.random.default_rng([section.seed, index])
    count = int(generator.integers(*section.planets, endpoint=True))
    axes = np.linspace(1.0, generator.uniform(*section.outermost_axis), count)
    generator.shuffle(axes)
    masses = generator.uniform(*section.mass, count)
    eccentricities = generator.uniform(*section.eccentricity, count)
    anomalies = generator.uniform(0, 2 * math.pi, count)
    if generator.random() < section.aligned:
        anomalies[:] = 0
    steps = int(generator.integers(*section.steps, endpoint=True))
    duration = int(generator.integers(*section.duration, endpoint=True))
    elements = zip(masses.tolist(), axes.tolist(), eccentricities.tolist(), anomalies.tolist(), strict=True)
    return Draw(tuple(Planet(*values) for values in elements), steps, duration / (steps - 1))


def records(section: PlanetsSection, indices: Sequence[int]) -> list[JsonDocument | None]:
    """The records of these systems, in order; None where a close encounter could not be resolved."""
    draws = [draw(section, index) for index in indices]
    motions = integrate(draws, substeps=section.substeps)
    return [
        None if motion is None else _record(section, drawn, motion)
        for drawn, motion in zip(draws, motions, strict=True)
    ]


def integrate(draws: Sequence[Draw], *, substeps: int) -> list[Floats | None]:
    """Positions (steps, planet, 2) of the planets of each system, in the frame in which the star was at rest.

    Systems of equally many planets advance together. Where energy is not conserved, a system is computed again by
    itself, with shorter steps where they are needed; None where none are short enough.
    """
    found: list[Floats | None] = [None] * len(draws)
    for planets in sorted({len(drawn.planets) for drawn in draws}):
        alike = [place for place, drawn in enumerate(draws) if len(drawn.planets) == planets]
        for place, motion in zip(alike, _together([draws[place] for place in alike], substeps), strict=True):
            found[place] = _alone(draws[place], substeps) if motion is None else motion
    return found


def _together(draws: Sequence[Draw], substeps: int) -> list[Floats | None]:
    systems = _start(draws)
    interval = np.array([drawn.interval for drawn in draws])
    steps = np.array([drawn.steps for drawn in draws])
    before = energy(systems)
    drift = np.zeros(len(draws))
    frames = []
    for number, state in enumerate(trajectory(systems, interval, int(steps.max()), substeps=substeps)):
        frames.append(state.positions[1:])
        drift = np.where(number < steps, np.maximum(drift, np.abs(energy(state) / before - 1)), drift)
    motion = np.stack(frames).transpose(3, 0, 1, 2)
    # Written so that a motion that is not a number is bad too.
    return [
        positions[:count].copy() if change <= ENERGY_TOLERANCE else None
        for positions, count, change in zip(motion, steps, drift, strict=True)
    ]


def _alone(drawn: Draw, substeps: int) -> Floats | None:
    """One system, its steps as short between any two positions as energy asks there."""
    state = _start([drawn])
    interval = np.array([drawn.interval])
    frames = [state.positions[1:, :, 0]]
    for _ in range(drawn.steps - 1):
        before = energy(state)
        for level in range(REFINEMENTS + 1):
            *_, after = trajectory(state, interval, 2, substeps=substeps * REFINEMENT**level)
            if np.abs(energy(after) / before - 1)[0] <= ENERGY_TOLERANCE / 10:
                break
        else:
            return None
        state = after
        frames.append(state.positions[1:, :, 0])
    return np.stack(frames)


def _start(draws: Sequence[Draw]) -> Systems:
    start = [bodies(1.0, drawn.planets) for drawn in draws]
    return Systems(
        masses=np.array([[body.mass for body in system] for system in start]).T.copy(),
        positions=np.array([[body.position for body in system] for system in start]).transpose(1, 2, 0).copy(),
        velocities=np.array([[body.velocity for body in system] for system in start]).transpose(1, 2, 0).copy(),
    )


def _record(section: PlanetsSection, drawn: Draw, motion: Floats) -> JsonDocument:
    scale = section.scale
    planets = {
        f"planet{index}": {
            "m": planet.mass * scale.m,
            "a": planet.semi_major_axis * scale.a,
            "e": planet.eccentricity * scale.e,
        }
        for index, planet in enumerate(drawn.planets)
    }
    record: JsonDocument = {"description": {**planets, "stepsize": drawn.interval}, "data": motion.tolist()}
    return record if section.digits is None else _rounded(record, section.digits)


def _rounded(value: JsonDocument, digits: int) -> JsonDocument:
    """The same with so many significant digits in every number."""

    def of(item: object) -> object:
        match item:
            case float():
                return float(f"{item:.{digits - 1}e}")
            case list():
                return [of(part) for part in item]
            case dict():
                return {key: of(part) for key, part in item.items()}
        return item

    return {key: of(part) for key, part in value.items()}
