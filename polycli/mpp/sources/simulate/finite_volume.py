"""Shared by the finite-volume systems: ghost cells, limited slopes, and time steps that suit each trajectory alone.

States are (variable, trajectory, x, y) of cell averages. Space is second order (piecewise linear in the primitive
variables, van Leer's limiter), time too (strong-stability-preserving Runge-Kutta of two stages).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

#: Ghost cells on each side: a limited slope in the first ghost cell looks one further.
GHOSTS = 2
#: Keeps 0 / 0 out of the slopes; far below the square of any difference that matters in float32.
SMALLEST = 1e-30


class Careful(Protocol):
    """A solver's way to go on where a plain step would leave the states that physics allows."""

    def allowed(self, state: Tensor) -> Tensor:
        """Marks the trajectories that are physical in every cell, (trajectory,) bool."""
        ...

    def step(self, state: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """The state after a step of at most this length (trajectory,), and the length that was taken."""
        ...


def turned(state: Tensor) -> Tensor:
    """The state with x and y exchanged, the velocities (variables 1 and 2) too; twice gives back the first.

    So fluxes are written for faces across x alone, and both directions are treated alike to the last bit.
    """
    order = (0, 2, 1, *range(3, state.shape[0]))
    return torch.stack([state[variable].transpose(-2, -1) for variable in order])


def with_ghosts(state: Tensor, *, periodic: bool) -> Tensor:
    """The state with two ghost cells below and above along x.

    A wall mirrors the state; variable 1, the velocity through the wall, changes its sign there.
    """
    first, last = state[:, :, :GHOSTS], state[:, :, -GHOSTS:]
    if periodic:
        return torch.cat((last, state, first), dim=-2)
    below, above = first.flip(-2), last.flip(-2)
    below[1].neg_()
    above[1].neg_()
    return torch.cat((below, state, above), dim=-2)


def face_states(padded: Tensor) -> tuple[Tensor, Tensor]:
    """The states on both sides of every face across x, n + 1 faces for n cells: (below, above).

    From slopes with van Leer's limiter, the harmonic mean 2 a b / (a + b) of the differences to both sides, or 0
    where they differ in sign. Face values lie between those of the neighbouring cells, so what is positive in the
    cells is positive there. (Written without `torch.where`, which costs more than all the rest.)
    """
    change = torch.diff(padded, dim=-2)
    before, after = change[:, :, :-1], change[:, :, 1:]
    total = before + after
    half_slope = (before * after).clamp_(min=0).mul_(total).div_(total.square_().add_(SMALLEST))
    inner = padded[:, :, 1:-1]
    return inner[:, :, :-1] + half_slope[:, :, :-1], inner[:, :, 1:] - half_slope[:, :, 1:]


def advance(
    state: Tensor,
    duration: float,
    euler: Callable[[Tensor, Tensor], Tensor],
    longest_step: Callable[[Tensor], Tensor],
    careful: Careful | None = None,
) -> Tensor:
    """The state `duration` later, in steps whose number is each trajectory's own.

    A trajectory that has arrived waits with steps of length zero, which leave it as it is, bit for bit. So it
    never matters which trajectories share a batch. One that is no longer finite stops where it is.

    Args:
        state: (variable, trajectory, x, y).
        duration: in the units of the system.
        euler: (state, step lengths (trajectory, 1, 1)) -> state after one explicit step.
        longest_step: the longest stable step of each trajectory, (trajectory,).
        careful: what takes the steps that `euler` takes to forbidden states; none are looked for where absent.
    """
    remaining = torch.full((state.shape[1],), duration, dtype=torch.float64)
    while True:
        steps = (remaining / longest_step(state)).ceil().nan_to_num(nan=0.0, posinf=0.0)
        if not steps.any():
            return state
        step = remaining / steps.clamp(min=1) * (steps > 0)
        first, after = heun(state, step, euler)
        if careful is not None:
            again = (~(careful.allowed(first) & careful.allowed(after))).nonzero()[:, 0]
            if again.numel():
                after[:, again], step[again] = careful.step(state[:, again], step[again])
        state = after
        # Exactly nothing remains after the last step, unless that was shortened by care.
        remaining = (remaining - step).clamp(min=0) * (remaining > step * (1 + 1e-12))


def heun(state: Tensor, step: Tensor, euler: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The states after the first stage and after a whole step of length (trajectory,)."""
    length = step.to(state.dtype)[:, None, None]
    first = euler(state, length)
    return first, 0.5 * (state + euler(first, length))
