"""FitzHugh-Nagumo diffusion-reaction without flux through the walls, with PDEBench's constants.

    u_t = Du (u_xx + u_yy) + u - u^3 - k - v        activator
    v_t = Dv (v_xx + v_yy) + rate (u - v)           inhibitor, rate 1 in PDEBench

Strang splitting: the reaction by Runge-Kutta 4 in each cell, the diffusion exactly for the second-order difference
operator, as one dense matrix per axis, exp(step * D * second difference). So the stiff modes of a noisy start need no
short steps, and the only errors are the second orders of the grid and of the splitting. Float32: errors of rounding do
not grow in this dissipative system.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.recipe.training import SimulationSection
from polycli.mpp.sources.simulate.random_fields import waves
from polycli.mpp.sources.simulate.system import Work, choice, settings

EXTENT = (-1.0, 1.0)
LONGEST_STEP = 0.05
#: Time of the first frame. Noise decays within a few hundredths, and slow dynamics begins; what is before is left out.
FIRST_TIME = {"oscillating": 5.0, "noise": 0.5, "smooth": 0.5}
#: Time between frames.
INTERVAL = {"oscillating": 0.75, "noise": 1.0, "smooth": 1.0}


@dataclass(frozen=True)
class DiffusionReactionSolver:
    """The equations on one grid. States are (2, trajectory, x, y): activator and inhibitor."""

    grid: int
    spacing: float
    diffusivities: tuple[float, float]
    threshold: float
    inhibitor_rate: float = 1.0
    reacts: bool = True

    @cached_property
    def _modes(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues (n,) and orthonormal eigenvectors (n, n) of the second difference with mirrored walls.

        The vectors are cosines at cell centres (the discrete cosine transform of the second kind).
        """
        number = torch.arange(self.grid, dtype=torch.float64)
        vectors = torch.cos(math.pi / self.grid * torch.outer(number + 0.5, number))
        vectors /= vectors.norm(dim=0)
        values = -(2.0 / self.spacing * torch.sin(0.5 * math.pi / self.grid * number)).square()
        return values, vectors

    def diffusion(self, step: float) -> Tensor:
        """The effect of diffusion along one axis in a step: (2, n, n) float64, symmetric, rows that add up to 1."""
        values, vectors = self._modes
        factors = [(vectors * torch.exp(step * d * values)) @ vectors.T for d in self.diffusivities]
        return torch.stack(factors)

    def advance(self, state: Tensor, duration: float, longest_step: float = LONGEST_STEP) -> Tensor:
        """The state `duration` later, in equal steps."""
        count = max(1, math.ceil(duration / longest_step - 1e-9))
        step = duration / count
        along = self.diffusion(step).to(state.dtype)[:, None]
        # The half steps of the reaction that meet between two diffusions are one whole step.
        state = self._react(state, 0.5 * step)
        for number in range(count):
            state = along @ state @ along
            state = self._react(state, step if number < count - 1 else 0.5 * step)
        return state

    def _react(self, state: Tensor, step: float) -> Tensor:
        if not self.reacts:
            return state
        first = self._rate(state)
        second = self._rate(state.add(first, alpha=0.5 * step))
        third = self._rate(state.add(second, alpha=0.5 * step))
        fourth = self._rate(state.add(third, alpha=step))
        return state + (step / 6.0) * (first + 2.0 * (second + third) + fourth)

    def _rate(self, state: Tensor) -> Tensor:
        difference = state[0] - state[1]
        activator = difference - state[0] * state[0].square() - self.threshold
        return torch.stack((activator, self.inhibitor_rate * difference))


class DiffusionReactionBatch:
    """A batch of diffusion-reaction trajectories that advance together."""

    def __init__(self, solver: DiffusionReactionSolver, state: Tensor) -> None:
        self.parameters: NDArray[np.float64] = np.zeros((state.shape[1], 0))
        self._solver = solver
        self._state = state

    def advance(self, duration: float) -> None:
        """Move every trajectory on by this time."""
        self._state = self._solver.advance(self._state, duration)

    def fields(self) -> Tensor:
        """Returns the fields of the present state, (trajectory, field, x, y)."""
        return self._state.transpose(0, 1)


class DiffusionReaction:
    """Variants oscillating (from random waves), noise (PDEBench's: every cell from N(0, 1)) and smooth (random waves).

    With PDEBench's constants the fields come to rest in a pattern of stripes: after some ten units of time nothing is
    left to forecast. In `oscillating` the inhibitor is slow and does not diffuse, and waves go on for ever.
    """

    DEFAULTS: ClassVar = {
        "diffusivity_activator": 1e-3,
        "diffusivity_inhibitor": 5e-3,
        "threshold": 5e-3,
        "inhibitor_rate": 1.0,
    }
    work = Work(0.0015, power=2)
    OSCILLATING: ClassVar = {**DEFAULTS, "diffusivity_inhibitor": 0.0, "inhibitor_rate": 0.2}

    def __init__(self, dataset: str, section: SimulationSection) -> None:
        self._variant = choice(dataset, "variant", section.variant, ("oscillating", "noise", "smooth"))
        values = settings(dataset, section, self.OSCILLATING if self._variant == "oscillating" else self.DEFAULTS)
        choice(dataset, "boundary", section.boundary, ("wall",))
        self.first_time = FIRST_TIME[self._variant]
        self.about = PdeDescription(
            physics="diffusion_reaction",
            fields=("diffusion_reaction.activator", "diffusion_reaction.inhibitor"),
            units=("1", "1"),
            dt=section.interval or INTERVAL[self._variant],
            grid=(section.grid, section.grid),
            extent=(EXTENT, EXTENT),
            boundary_conditions={"x": "wall", "y": "wall"},
            parameter_names=(),
            constants=values,
        )
        self._solver = DiffusionReactionSolver(
            grid=section.grid,
            spacing=(EXTENT[1] - EXTENT[0]) / section.grid,
            diffusivities=(values["diffusivity_activator"], values["diffusivity_inhibitor"]),
            threshold=values["threshold"],
            inhibitor_rate=values["inhibitor_rate"],
        )

    def start(self, generators: Sequence[np.random.Generator]) -> DiffusionReactionBatch:
        """One trajectory per generator, at time 0."""
        states = torch.stack([self._initial(random) for random in generators], dim=1)
        return DiffusionReactionBatch(self._solver, states.float())

    def _initial(self, random: np.random.Generator) -> Tensor:
        grid = self.about.grid[0]
        if self._variant == "noise":
            return torch.from_numpy(random.standard_normal((2, grid, grid)))
        # Waves on a domain twice as long, of which a quarter is kept, need not be periodic here.
        return torch.stack([waves(random, 2 * grid, 2.0, 7.0)[:grid, :grid] for _ in range(2)])
