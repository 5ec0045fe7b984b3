"""Shallow water over a flat bottom: a radial dam that breaks, or random bumps that collapse; walls or periodic.

Depth h and momenta h u, h v in conservative finite volumes with the flux of Harten, Lax and van Leer. Float32: depth
is of order one, and mass then stays within a few 1e-7 of where it began. Only the depth is stored, as PDEBench does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycli.mpp.recipe.physics import Boundary, PdeDescription
from polycli.mpp.recipe.training import SimulationSection
from polycli.mpp.sources.simulate import finite_volume
from polycli.mpp.sources.simulate.random_fields import centres
from polycli.mpp.sources.simulate.system import Work, choice, require_positive, settings

EXTENT = (-2.5, 2.5)
#: Steps are this fraction of the time in which the fastest wave crosses a cell, summed over both axes.
COURANT = 0.45
#: Points per cell and axis that the share of a cell behind the dam is measured with.
SUBSAMPLES = 8


@dataclass(frozen=True)
class ShallowWaterSolver:
    """The equations on one grid. States are (3, trajectory, x, y): depth and the momenta along x and y."""

    spacing: float
    gravity: float
    periodic: bool

    def advance(self, state: Tensor, duration: float) -> Tensor:
        """Returns the state `duration` later."""
        return finite_volume.advance(state, duration, self.euler, self.longest_step)

    def longest_step(self, state: Tensor) -> Tensor:
        """The longest stable step of each trajectory."""
        depth, momentum_x, momentum_y = state
        speed = (momentum_x.abs() + momentum_y.abs()) / depth + 2.0 * (self.gravity * depth).sqrt()
        fastest: Tensor = speed.amax(dim=(-2, -1)).double()
        return COURANT * self.spacing / fastest

    def euler(self, state: Tensor, step: Tensor) -> Tensor:
        """One explicit step of length (trajectory, 1, 1)."""
        depth, momentum_x, momentum_y = state
        primitive = torch.stack((depth, momentum_x / depth, momentum_y / depth))
        change = torch.diff(self._fluxes(primitive), dim=-2)
        change += finite_volume.turned(torch.diff(self._fluxes(finite_volume.turned(primitive)), dim=-2))
        return state - (step / self.spacing) * change

    def _fluxes(self, primitive: Tensor) -> Tensor:
        """The fluxes of depth and of the momenta along x and y, through all faces across x."""
        padded = finite_volume.with_ghosts(primitive, periodic=self.periodic)
        below, above = finite_volume.face_states(padded)
        wave_below, wave_above = (self.gravity * below[0]).sqrt(), (self.gravity * above[0]).sqrt()
        # Clamped to either side of zero, the two signal speeds make one formula of the three cases.
        slowest = torch.minimum(below[1] - wave_below, above[1] - wave_above).clamp(max=0)
        fastest = torch.maximum(below[1] + wave_below, above[1] + wave_above).clamp(min=0)
        inside_below, flux_below = self._exact(below)
        inside_above, flux_above = self._exact(above)
        mixed = fastest * flux_below - slowest * flux_above + fastest * slowest * (inside_above - inside_below)
        return mixed / (fastest - slowest)

    def _exact(self, primitive: Tensor) -> tuple[Tensor, Tensor]:
        """Depth and momenta, and their flux along x."""
        depth, u, v = primitive
        discharge = depth * u
        inside = torch.stack((depth, discharge, depth * v))
        push = discharge * u + (0.5 * self.gravity) * depth.square()
        return inside, torch.stack((discharge, push, discharge * v))


class ShallowWaterBatch:
    """A batch of shallow-water trajectories that advance together."""

    def __init__(self, solver: ShallowWaterSolver, depth: Tensor, parameters: NDArray[np.float64]) -> None:
        self.parameters = parameters
        self._solver = solver
        self._state = torch.stack((depth, torch.zeros_like(depth), torch.zeros_like(depth)))

    def advance(self, duration: float) -> None:
        """Move every trajectory on by this time."""
        self._state = self._solver.advance(self._state, duration)

    def fields(self) -> Tensor:
        """Returns the fields of the present state, (trajectory, field, x, y)."""
        return self._state[0][:, None]


class ShallowWater:
    """Variants dam_break (PDEBench's radial dam: depth 2 within a radius from U(0.3, 0.7), 1 outside) and bumps."""

    DEFAULTS: ClassVar = {
        "gravity": 1.0,
        "inner_depth": 2.0,
        "outer_depth": 1.0,
        "centre_spread": 0.0,
        "bump_height": 0.6,
    }
    first_time = 0.0
    work = Work(0.010, power=3)

    def __init__(self, dataset: str, section: SimulationSection) -> None:
        self._values = settings(dataset, section, self.DEFAULTS)
        require_positive(dataset, self._values, "gravity", "inner_depth", "outer_depth", "bump_height")
        self._variant = choice(dataset, "variant", section.variant, ("dam_break", "bumps"))
        boundary: Boundary = "wall"
        if choice(dataset, "boundary", section.boundary, ("wall", "periodic")) == "periodic":
            boundary = "periodic"
        names = ("dam_radius", "dam_x", "dam_y") if self._variant == "dam_break" else ("bumps",)
        kept = ("gravity", "inner_depth", "outer_depth") if self._variant == "dam_break" else ("gravity", "bump_height")
        self.about = PdeDescription(
            physics="shallow_water",
            fields=("shallow_water.height",),
            units=("1",),
            dt=section.interval or 0.1,
            grid=(section.grid, section.grid),
            extent=(EXTENT, EXTENT),
            boundary_conditions={"x": boundary, "y": boundary},
            parameter_names=names,
            constants={name: self._values[name] for name in kept},
        )
        self._solver = ShallowWaterSolver(
            spacing=(EXTENT[1] - EXTENT[0]) / section.grid,
            gravity=self._values["gravity"],
            periodic=boundary == "periodic",
        )

    def start(self, generators: Sequence[np.random.Generator]) -> ShallowWaterBatch:
        """One trajectory per generator, at time 0."""
        begin = self._dam if self._variant == "dam_break" else self._bumps
        depths, parameters = zip(*(begin(random) for random in generators), strict=True)
        return ShallowWaterBatch(self._solver, torch.stack(depths).float(), np.array(parameters, dtype=np.float64))

    def _dam(self, random: np.random.Generator) -> tuple[Tensor, tuple[float, ...]]:
        """Cells that the dam cuts get the mean of both depths by area, so that the circle has no stairs."""
        radius = float(random.uniform(0.3, 0.7))
        x, y = (float(value) for value in random.uniform(-1.0, 1.0, 2) * self._values["centre_spread"])
        grid = self.about.grid[0]
        fine = centres(grid * SUBSAMPLES, EXTENT)
        inside = ((fine[:, None] - x).square() + (fine[None, :] - y).square() < radius**2).double()
        share = inside.reshape(grid, SUBSAMPLES, grid, SUBSAMPLES).mean(dim=(1, 3))
        inner, outer = self._values["inner_depth"], self._values["outer_depth"]
        return outer + (inner - outer) * share, (radius, x, y)

    def _bumps(self, random: np.random.Generator) -> tuple[Tensor, tuple[float, ...]]:
        """One to four round heaps of water on depth 1; those that reach over a periodic edge come in on the other."""
        count = int(random.integers(1, 5))
        place = centres(self.about.grid[0], EXTENT)
        size = EXTENT[1] - EXTENT[0]
        depth = torch.ones(place.numel(), place.numel(), dtype=torch.float64)
        for _ in range(count):
            height = self._values["bump_height"] * float(random.uniform(0.5, 1.5))
            width = float(random.uniform(0.2, 0.45))
            distance_x, distance_y = (
                place - float(random.uniform(*EXTENT) * (1.0 if self._solver.periodic else 0.8)) for _ in range(2)
            )
            if self._solver.periodic:
                distance_x, distance_y = (d - size * torch.round(d / size) for d in (distance_x, distance_y))
            square = distance_x[:, None].square() + distance_y[None, :].square()
            depth += height * torch.exp(-square / (2.0 * width**2))
        return depth, (float(count),)
