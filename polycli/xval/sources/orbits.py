"""Orbital elements to positions and velocities, in the conventions of REBOUND.

Elements are Jacobi elements: those of planet i describe its motion about the centre of mass of the star and the planets
before it, under the mass of all of them and its own (Murray and Dermott 1999, chapters 2 and 9). Orbits lie in the
plane, pericentres on the positive x axis, and the true anomaly is the angle from there. G = 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Planet:
    """Mass and Jacobi elements at the start."""

    mass: float
    semi_major_axis: float
    eccentricity: float
    true_anomaly: float


@dataclass(frozen=True)
class Body:
    """Mass, position and velocity in the frame in which the star starts at rest at the origin."""

    mass: float
    position: tuple[float, float]
    velocity: tuple[float, float]


def bodies(star_mass: float, planets: Sequence[Planet]) -> list[Body]:
    """The star and its planets, in the order in which they were given: each moves about those before it."""
    found = [Body(star_mass, (0.0, 0.0), (0.0, 0.0))]
    for planet in planets:
        inner = math.fsum(body.mass for body in found)
        centre = [math.fsum(body.mass * body.position[axis] for body in found) / inner for axis in (0, 1)]
        drift = [math.fsum(body.mass * body.velocity[axis] for body in found) / inner for axis in (0, 1)]
        cosine, sine = math.cos(planet.true_anomaly), math.sin(planet.true_anomaly)
        shape = 1 - planet.eccentricity**2
        radius = planet.semi_major_axis * shape / (1 + planet.eccentricity * cosine)
        speed = math.sqrt((inner + planet.mass) / (planet.semi_major_axis * shape))
        found.append(
            Body(
                planet.mass,
                (centre[0] + radius * cosine, centre[1] + radius * sine),
                (drift[0] - speed * sine, drift[1] + speed * (planet.eccentricity + cosine)),
            )
        )
    return found
