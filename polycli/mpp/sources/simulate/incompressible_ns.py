"""Incompressible Navier-Stokes with a passive tracer on the periodic unit square, forced or decaying.

    w_t + u . grad w = nu lap w - drag w + curl f,     c_t + u . grad c = kappa lap c

Pseudo-spectral in vorticity w and tracer c, without aliasing (two-thirds rule), so that energy, enstrophy and tracer
variance are conserved by the advection itself. Runge-Kutta 4 with the linear terms exact (integrating factor).
Float32: what the spectrum truncates is far above the rounding of one step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.recipe.training import SimulationSection
from polycli.mpp.sources.simulate.random_fields import centres, waves
from polycli.mpp.sources.simulate.system import Work, choice, settings

EXTENT = (0.0, 1.0)
#: Steps are this many times spacing / max(|u| + |v|); Runge-Kutta 4 at two thirds of the spectrum is stable up to 1.35.
COURANT = 1.0


@dataclass(frozen=True)
class IncompressibleSolver:
    """The equations on one grid of the unit square. States are complex (2, trajectory, kx, ky): vorticity, tracer."""

    grid: int
    viscosity: float
    diffusivity: float
    drag: float = 0.0

    @cached_property
    def _numbers(self) -> tuple[Tensor, Tensor]:
        """Angular wave numbers along x (n, 1) and y (1, n // 2 + 1), float64."""
        along_x = 2.0 * math.pi * torch.fft.fftfreq(self.grid, d=1.0 / self.grid, dtype=torch.float64)
        along_y = 2.0 * math.pi * torch.fft.rfftfreq(self.grid, d=1.0 / self.grid, dtype=torch.float64)
        return along_x[:, None], along_y[None, :]

    @cached_property
    def kept(self) -> Tensor:
        """1 for the modes that are kept, below a third of the grid's size in both directions; else 0."""
        along_x, along_y = self._numbers
        limit = 2.0 * math.pi * self.grid / 3.0 - 1e-9
        return ((along_x.abs() < limit) & (along_y.abs() < limit)).double()

    @cached_property
    def _damping(self) -> Tensor:
        """Rates at which vorticity and tracer decay in each mode, (2, 1, kx, ky) float64."""
        along_x, along_y = self._numbers
        square = along_x.square() + along_y.square()
        return torch.stack((self.viscosity * square + self.drag, self.diffusivity * square))[:, None]

    @cached_property
    def _to_velocity(self) -> Tensor:
        """Factors that turn the modes of the vorticity into those of u and v, (2, 1, kx, ky) complex128."""
        along_x, along_y = self._numbers
        square = along_x.square() + along_y.square()
        inverse = torch.where(square > 0, 1.0 / square.clamp(min=1e-30), 0.0)
        return 1j * torch.stack((along_y * inverse, -along_x * inverse))[:, None]

    @cached_property
    def _to_rates(self) -> Tensor:
        """Factors for the modes of u v, u c, v v - u u and v c, (4, 1, kx, ky) complex128.

        The first and third then add up to the rate of the vorticity, the second and fourth to that of the tracer c.
        """
        along_x, along_y = self._numbers
        vorticity = (along_x.square() - along_y.square(), along_x * along_y)
        tracer = (along_x.expand_as(self.kept), along_y.expand_as(self.kept))
        factors = torch.stack((vorticity[0] + 0j, -1j * tracer[0], vorticity[1] + 0j, -1j * tracer[1]))
        return (factors * self.kept)[:, None]

    def to_modes(self, fields: Tensor) -> Tensor:
        """Transform (..., x, y) and drop the modes that are not kept."""
        modes: Tensor = torch.fft.rfft2(fields)
        return modes * self.kept.to(fields.dtype)

    def to_fields(self, modes: Tensor) -> Tensor:
        """Values on the grid, (..., x, y)."""
        fields: Tensor = torch.fft.irfft2(modes, s=(self.grid, self.grid))
        return fields

    def velocity(self, vorticity: Tensor) -> Tensor:
        """(2, trajectory, x, y) from the modes of the vorticity."""
        return self.to_fields(self._to_velocity.to(vorticity.dtype) * vorticity)

    def advance(self, state: Tensor, duration: float, forcing: Tensor | None = None) -> Tensor:
        """The state `duration` later, in equal steps whose number is each trajectory's own.

        `forcing` is the modes of the curl of the force, (trajectory, kx, ky). A trajectory that has arrived keeps its
        state, so it never matters which trajectories share a batch.
        """
        counts = self._steps(state, duration)
        length = (duration / counts.clamp(min=1)).to(state.real.dtype)[:, None, None, None]
        half = torch.exp(-0.5 * length * self._damping[..., None].expand(*self._damping.shape, 2).to(length.dtype))
        rate = self._advection(state.dtype, forcing)
        # Sums and products are of real numbers, (..., 2): a product of a complex and a real tensor makes a copy first.
        now = torch.view_as_real(state)
        for number in range(int(counts.max())):
            under_way = counts > number
            after = _runge_kutta(now, length, half, rate)
            now = after if under_way.all() else torch.where(under_way[:, None, None, None], after, now)
        return torch.view_as_complex(now)

    def _advection(self, dtype: torch.dtype, forcing: Tensor | None) -> Callable[[Tensor], Tensor]:
        """The function from a state to its rate of change by advection and force, both (2, trajectory, kx, ky, 2)."""
        to_velocity, to_rates = self._to_velocity.to(dtype), self._to_rates.to(dtype)

        def rate(state: Tensor) -> Tensor:
            modes = torch.view_as_complex(state)
            u, v, tracer = self.to_fields(torch.cat((to_velocity * modes[0], modes[1:])))
            # The momentum flux needs two transforms in this form, the tracer's two.
            products: Tensor = torch.fft.rfft2(torch.stack((u * v, u * tracer, (v - u) * (v + u), v * tracer)))
            products *= to_rates
            change = products[:2] + products[2:]
            if forcing is not None:
                change[0] += forcing
            return torch.view_as_real(change)

        return rate

    def _steps(self, state: Tensor, duration: float) -> Tensor:
        """Counts the steps that each trajectory takes, (trajectory,); none where it is no longer finite."""
        fastest = self.velocity(state[0]).abs().sum(dim=0).amax(dim=(-2, -1)).double()
        # A quarter more, for what the flow may gain within the duration.
        return (1.25 * fastest * duration * self.grid / COURANT).ceil().clamp(min=1).nan_to_num(nan=0.0, posinf=0.0)


def _runge_kutta(state: Tensor, length: Tensor, half: Tensor, rate: Callable[[Tensor], Tensor]) -> Tensor:
    """One step of the classical method for the state without its damping, of which `half` is that of half a step."""
    damped = half * state
    first = half * rate(state)
    second = rate(torch.addcmul(damped, first, 0.5 * length))
    third = rate(torch.addcmul(damped, second, 0.5 * length))
    fourth = rate(half * torch.addcmul(damped, third, length))
    middle = first.add_(second.add_(third), alpha=2.0)
    return torch.addcmul(half * torch.addcmul(damped, middle, length / 6.0), fourth, length / 6.0)


class IncompressibleBatch:
    """A batch of incompressible trajectories that advance together."""

    def __init__(
        self, solver: IncompressibleSolver, state: Tensor, forcing: Tensor | None, parameters: NDArray[np.float64]
    ) -> None:
        self.parameters = parameters
        self._solver = solver
        self._state = state
        self._forcing = forcing

    def advance(self, duration: float) -> None:
        """Move every trajectory on by this time."""
        self._state = self._solver.advance(self._state, duration, self._forcing)

    def fields(self) -> Tensor:
        """Returns the fields of the present state, (trajectory, field, x, y)."""
        tracer = self._solver.to_fields(self._state[1:])
        return torch.cat((self._solver.velocity(self._state[0]), tracer)).transpose(0, 1)


class IncompressibleNs:
    """Variants decaying, forced (a steady random force of large scale) and kolmogorov (a steady sine of four periods).

    Velocities begin with root mean square 1, the tracer with mean 1/2 and root mean square 1/4 about it.
    """

    DEFAULTS: ClassVar = {"viscosity": 2e-3, "diffusivity": 2e-3, "drag": 0.1, "force": 3.0}
    first_time = 0.0
    work = Work(0.040, power=3)

    def __init__(self, dataset: str, section: SimulationSection) -> None:
        values = settings(dataset, section, self.DEFAULTS)
        self._variant = choice(dataset, "variant", section.variant, ("decaying", "forced", "kolmogorov"))
        choice(dataset, "boundary", section.boundary, ("periodic",))
        self._force = values["force"]
        forced = self._variant != "decaying"
        self._solver = IncompressibleSolver(
            grid=section.grid,
            viscosity=values["viscosity"],
            diffusivity=values["diffusivity"],
            drag=values["drag"] if forced else 0.0,
        )
        constants = {"viscosity": values["viscosity"], "diffusivity": values["diffusivity"]}
        self.about = PdeDescription(
            physics="incompressible_ns",
            fields=("incompressible_ns.velocity_x", "incompressible_ns.velocity_y", "incompressible_ns.tracer"),
            units=("1", "1", "1"),
            dt=section.interval or 0.05,
            grid=(section.grid, section.grid),
            extent=(EXTENT, EXTENT),
            boundary_conditions={"x": "periodic", "y": "periodic"},
            parameter_names=("force",) if forced else (),
            constants={**constants, "drag": values["drag"]} if forced else constants,
        )

    def start(self, generators: Sequence[np.random.Generator]) -> IncompressibleBatch:
        """One trajectory per generator, at time 0."""
        states, forces, parameters = zip(*(self._initial(random) for random in generators), strict=True)
        state = self._solver.to_modes(torch.stack(states, dim=1)).to(torch.complex64)
        if self._variant == "decaying":
            return IncompressibleBatch(self._solver, state, None, np.zeros((len(generators), 0)))
        forcing = self._solver.to_modes(torch.stack(forces)).to(torch.complex64)
        return IncompressibleBatch(self._solver, state, forcing, np.array(parameters)[:, None])

    def _initial(self, random: np.random.Generator) -> tuple[Tensor, Tensor, float]:
        """Vorticity and tracer (2, x, y), the curl of the force (x, y), and the force's amplitude."""
        grid = self.about.grid[0]
        # A flat spectrum of vorticity over these waves puts most of the energy into the largest of them.
        vorticity = waves(random, grid, 1.0, 5.0)
        speed = self._solver.velocity(self._solver.to_modes(vorticity)[None])
        vorticity = vorticity / speed.square().sum(dim=0).mean().sqrt()
        tracer = 0.5 + 0.25 * waves(random, grid, 1.0, 4.0)
        amplitude = self._force * float(random.uniform(0.5, 1.5))
        if self._variant == "kolmogorov":
            place = centres(grid, EXTENT)
            # Force along x, sin(8 pi y); its curl is minus the derivative along y.
            curl = (-8.0 * math.pi * torch.cos(8.0 * math.pi * place)).expand(grid, grid)
        else:
            curl = 2.0 * math.pi * 2.5 * waves(random, grid, 2.0, 3.0)
        return torch.stack((vorticity, tracer)), amplitude * curl, amplitude
