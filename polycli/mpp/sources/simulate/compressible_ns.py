"""Compressible Navier-Stokes of an ideal gas (gamma 5/3) on the periodic unit square, with chosen Mach number.

Density, momenta and energy in conservative finite volumes: the flux of Toro's HLLC, which keeps contacts and shear,
plus central viscous stress and its work (bulk viscosity equal to the shear viscosity; no heat conduction, as in
PDEBench). Density and pressure stay positive exactly: where a step would not keep them so, its fluxes are blended with
those of Lax and Friedrichs, which do (Hu, Adams and Shu 2013). Float32 down to Mach 0.05; below, the pressure's
changes come near the rounding of the energy, and the state is float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.recipe.training import SimulationSection
from polycli.mpp.sources.simulate import finite_volume
from polycli.mpp.sources.simulate.finite_volume import turned
from polycli.mpp.sources.simulate.random_fields import waves
from polycli.mpp.sources.simulate.system import Work, choice, require_positive, settings

EXTENT = (0.0, 1.0)
GAMMA = 5.0 / 3.0
#: Steps are this fraction of the time in which the fastest waves along x and y together cross a cell.
COURANT = 0.8
#: The same for viscosity, where 1/2 is the limit of stability.
DIFFUSION_NUMBER = 0.4
#: The same for steps with positive fluxes: in the limit 1/4, and the rest for waves that quicken within the step.
CAREFUL_COURANT = 0.2
#: Density and pressure are kept above this fraction of a typical 1.
FLOOR = 1e-6


def pressure_of(state: Tensor) -> Tensor:
    """Pressure (...) of density, momenta and energy (4, ...)."""
    return (GAMMA - 1.0) * (state[3] - 0.5 * (state[1].square() + state[2].square()) / state[0])


def to_primitive(state: Tensor) -> Tensor:
    """Density, velocities and pressure (4, ...) of density, momenta and energy."""
    return torch.stack((state[0], state[1] / state[0], state[2] / state[0], pressure_of(state)))


def to_conserved(primitive: Tensor) -> Tensor:
    """Density, momenta and energy (4, ...) of density, velocities and pressure."""
    density, u, v, pressure = primitive
    energy = pressure / (GAMMA - 1.0) + 0.5 * density * (u.square() + v.square())
    return torch.stack((density, density * u, density * v, energy))


@dataclass(frozen=True)
class CompressibleSolver:
    """The equations on one periodic grid. States are (4, trajectory, x, y): density, momenta along x and y, energy."""

    spacing: float
    viscosity: float
    bulk_viscosity: float

    def advance(self, state: Tensor, duration: float) -> Tensor:
        """Returns the state `duration` later."""
        return finite_volume.advance(state, duration, self.euler, self.longest_step, careful=self)

    def longest_step(self, state: Tensor) -> Tensor:
        """The longest stable step of each trajectory."""
        density = state[0]
        sound = (GAMMA * pressure_of(state) / density).sqrt()
        speed: Tensor = (state[1].abs() + state[2].abs()) / density + 2.0 * sound
        longest = COURANT * self.spacing / speed.amax(dim=(-2, -1)).double()
        if self.viscosity or self.bulk_viscosity:
            spread = (7.0 / 3.0 * self.viscosity + self.bulk_viscosity) / density.amin(dim=(-2, -1)).double()
            longest = torch.minimum(longest, DIFFUSION_NUMBER * self.spacing**2 / spread)
        return longest

    def euler(self, state: Tensor, step: Tensor) -> Tensor:
        """One explicit step of length (trajectory, 1, 1)."""
        primitive = to_primitive(state)
        return state - (step / self.spacing) * _balance(*self._both_fluxes(primitive))

    def allowed(self, state: Tensor) -> Tensor:
        """Marks the trajectories that are finite, with density and pressure above the floor everywhere."""
        return torch.minimum(state[0], pressure_of(state)).amin(dim=(-2, -1)) >= FLOOR

    def step(self, state: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """A step with fluxes that keep density and pressure positive, as short as these need it."""
        _, u, v, pressure = primitive = to_primitive(state)
        speed = torch.maximum(u.abs(), v.abs()) + (GAMMA * pressure / primitive[0]).sqrt()
        step = torch.minimum(step, CAREFUL_COURANT * self.spacing / speed.amax(dim=(-2, -1)).double())
        return finite_volume.heun(state, step, self._careful_euler)[1], step

    def _careful_euler(self, state: Tensor, step: Tensor) -> Tensor:
        """Steps as `euler` does, with each flux blended, as little as needed, with a first-order one that keeps cells
        positive.

        A cell's new state is the mean over its four faces of `state -+ 4 ratio flux`. Where each of these is positive,
        so is the mean, because positive states are a convex set.
        """
        primitive = to_primitive(state)
        safe_fluxes = _lax_friedrichs(primitive), turned(_lax_friedrichs(turned(primitive)))
        ratio = step / self.spacing
        blended = []
        for flux, safe, axis in zip(self._both_fluxes(primitive), safe_fluxes, (-2, -1), strict=True):
            share = torch.ones_like(flux[0])
            for cell, sign in ((state, -4.0), (state.roll(-1, axis), 4.0)):
                share = torch.minimum(share, _safe_share(cell + sign * ratio * safe, cell + sign * ratio * flux))
            blended.append(safe + share * (flux - safe))
        return state - ratio * _balance(*blended)

    def _both_fluxes(self, primitive: Tensor) -> tuple[Tensor, Tensor]:
        """Fluxes through the upper faces across x and across y."""
        return self._fluxes(primitive), turned(self._fluxes(turned(primitive)))

    def _fluxes(self, primitive: Tensor) -> Tensor:
        """Inviscid and viscous flux through the upper face across x of every cell."""
        below, above = finite_volume.face_states(finite_volume.with_ghosts(primitive, periodic=True))
        flux = _hllc(below[:, :, 1:], above[:, :, 1:])
        if self.viscosity or self.bulk_viscosity:
            flux[1:] -= self._viscous(primitive[1:3])
        return flux

    def _viscous(self, velocity: Tensor) -> Tensor:
        """Stress along x and y and its work, (3, trajectory, x, y), on the upper faces across x."""
        upper = velocity.roll(-1, -2)
        mean = 0.5 * (velocity + upper)
        along = (upper - velocity) / self.spacing
        across = (mean.roll(-1, -1) - mean.roll(1, -1)) / (2.0 * self.spacing)
        second = self.bulk_viscosity - 2.0 / 3.0 * self.viscosity
        normal = (second + 2.0 * self.viscosity) * along[0] + second * across[1]
        shear = self.viscosity * (along[1] + across[0])
        return torch.stack((normal, shear, mean[0] * normal + mean[1] * shear))


def _balance(flux_x: Tensor, flux_y: Tensor) -> Tensor:
    """The net outflow of each cell, from the fluxes through its upper faces."""
    return (flux_x - flux_x.roll(1, -2)) + (flux_y - flux_y.roll(1, -1))


def _hllc(below: Tensor, above: Tensor) -> Tensor:
    """Flux of density, momenta and energy through faces across x with these primitive states on both sides."""
    sound_below = (GAMMA * below[3] / below[0]).sqrt()
    sound_above = (GAMMA * above[3] / above[0]).sqrt()
    slowest = torch.minimum(below[1] - sound_below, above[1] - sound_above)
    fastest = torch.maximum(below[1] + sound_below, above[1] + sound_above)
    mass_below = below[0] * (slowest - below[1])
    mass_above = above[0] * (fastest - above[1])
    middle = (above[3] - below[3] + below[1] * mass_below - above[1] * mass_above) / (mass_below - mass_above)
    # Only the side from which the contact comes matters. A weight of 0 or 1 makes `lerp` exact.
    from_below = (middle >= 0).to(middle.dtype)
    density, u, v, pressure = torch.lerp(above, below, from_below)
    outer = torch.lerp(fastest, slowest, from_below)
    mass = torch.lerp(mass_above, mass_below, from_below)
    # Zero where the flow is supersonic, and the outer wave too leaves on the far side of the face.
    reach = torch.lerp(fastest.clamp(min=0), slowest.clamp(max=0), from_below)
    star_density = mass / (outer - middle)
    carried = density * u + reach * (star_density - density)
    push = density * u.square() + pressure + reach * (star_density * middle - density * u)
    energy = pressure / (GAMMA - 1.0) + 0.5 * density * (u.square() + v.square())
    star_energy = star_density * (energy / density + (middle - u) * (middle + pressure / mass))
    work = (energy + pressure) * u + reach * (star_energy - energy)
    return torch.stack((carried, push, carried * v, work))


def _lax_friedrichs(primitive: Tensor) -> Tensor:
    """First-order flux through the upper faces across x, with each face's own largest wave speed."""
    conserved = to_conserved(primitive)
    flux = conserved * primitive[1]
    flux[1] += primitive[3]
    flux[3] += primitive[3] * primitive[1]
    speed = primitive[1].abs() + (GAMMA * primitive[3] / primitive[0]).sqrt()
    fastest = torch.maximum(speed, speed.roll(-1, -2))
    return 0.5 * (flux + flux.roll(-1, -2) - fastest * (conserved.roll(-1, -2) - conserved))


def _safe_share(safe: Tensor, wanted: Tensor) -> Tensor:
    """Returns how far (0 to 1) one may go from a safe state to the wanted one and keep density and pressure above the
    floor.

    Pressure is a concave function of the state, so a share that is right on the chord is right.
    """
    share = _share(safe[0], wanted[0])
    reached = safe + share * (wanted - safe)
    return share * _share(pressure_of(safe), pressure_of(reached))


def _share(safe: Tensor, wanted: Tensor) -> Tensor:
    floor = torch.clamp(safe, max=FLOOR)
    return torch.where(wanted < floor, (safe - floor) / (safe - wanted).clamp(min=1e-30), 1.0)


class CompressibleBatch:
    """A batch of compressible trajectories that advance together."""

    def __init__(self, solver: CompressibleSolver, state: Tensor, parameters: NDArray[np.float64]) -> None:
        self.parameters = parameters
        self._solver = solver
        self._state = state

    def advance(self, duration: float) -> None:
        """Move every trajectory on by this time."""
        self._state = self._solver.advance(self._state, duration)

    def fields(self) -> Tensor:
        """Returns the fields of the present state, (trajectory, field, x, y)."""
        return to_primitive(self._state)[[1, 2, 0, 3]].transpose(0, 1)


class CompressibleNs:
    """Random waves of velocity, density and pressure about a gas at rest with density 1 and speed of sound 1."""

    DEFAULTS: ClassVar = {"mach": 0.5, "viscosity": 5e-3, "contrast": 0.15}
    first_time = 0.0
    work = Work(0.100, power=3)

    def __init__(self, dataset: str, section: SimulationSection) -> None:
        values = settings(dataset, section, self.DEFAULTS)
        require_positive(dataset, values, "mach")
        choice(dataset, "variant", section.variant, ("random",))
        choice(dataset, "boundary", section.boundary, ("periodic",))
        self._mach, self._contrast = values["mach"], values["contrast"]
        self.about = PdeDescription(
            physics="compressible_ns",
            fields=tuple(f"compressible_ns.{name}" for name in ("velocity_x", "velocity_y", "density", "pressure")),
            units=("1", "1", "1", "1"),
            dt=section.interval or 0.05,
            grid=(section.grid, section.grid),
            extent=(EXTENT, EXTENT),
            boundary_conditions={"x": "periodic", "y": "periodic"},
            parameter_names=("density_contrast", "pressure_contrast"),
            constants={"mach": self._mach, "viscosity": values["viscosity"], "gamma": GAMMA},
        )
        self._solver = CompressibleSolver(
            spacing=(EXTENT[1] - EXTENT[0]) / section.grid,
            viscosity=values["viscosity"],
            bulk_viscosity=values["viscosity"],
        )

    def start(self, generators: Sequence[np.random.Generator]) -> CompressibleBatch:
        """One trajectory per generator, at time 0."""
        states, parameters = zip(*(self._initial(random) for random in generators), strict=True)
        state = torch.stack(states, dim=1).to(torch.float64 if self._mach < 0.05 else torch.float32)
        return CompressibleBatch(self._solver, state, np.array(parameters, dtype=np.float64))

    def _initial(self, random: np.random.Generator) -> tuple[Tensor, tuple[float, ...]]:
        """The Mach number is the root mean square of the velocity; density and pressure are exponentials of waves."""
        grid = self.about.grid[0]
        u, v, logarithm_density, logarithm_pressure = (waves(random, grid, 1.0, 4.0, slope=-0.5) for _ in range(4))
        speed = self._mach / (u.square() + v.square()).mean().sqrt()
        density_contrast, pressure_contrast = (
            self._contrast * float(value) for value in random.uniform(0.5, 1.5, size=2)
        )
        density = torch.exp(density_contrast * logarithm_density)
        pressure = torch.exp(pressure_contrast * logarithm_pressure) / GAMMA
        return to_conserved(torch.stack((density, speed * u, speed * v, pressure))), (
            density_contrast,
            pressure_contrast,
        )
