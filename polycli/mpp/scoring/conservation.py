"""Measures what the physics conserves, so that a rollout's drift can stand beside the truth's.

All quantities are means over the grid in float64, of frames (B, C, H, W) whose fields are in the order of the store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from polycli.mpp.recipe.physics import PdeDescription

Measure = Callable[[Float[Tensor, "b c h w"]], Float[Tensor, " b"]]


@dataclass(frozen=True)
class Invariant:
    """A quantity that stays what it was (`drift`), or that is zero at all times (not `drift`)."""

    name: str
    measure: Measure
    #: What a change is relative to, measured at the last context frame; for a quantity that is zero, at each frame.
    scale: Measure
    drift: bool = True


def invariants(about: PdeDescription) -> list[Invariant]:
    """Lists the quantities that this system conserves under its boundary conditions; empty where there are none.

    Mass between walls or around a torus for shallow water; mass, momentum and total energy for compressible flow on a
    torus (viscosity turns motion into heat; energy needs the constant gamma); the tracer's mean and a divergence of
    zero for incompressible flow on a torus. Open boundaries conserve nothing.
    """
    sides = set(about.boundary_conditions.values())
    closed = sides <= {"periodic", "wall"} and bool(sides)
    periodic = sides == {"periodic"}
    index_of = {field.split(".", 1)[1]: index for index, field in enumerate(about.fields) if "." in field}
    if about.physics == "shallow_water" and closed and "height" in index_of:
        return [_total("mass", index_of["height"])]
    if about.physics == "compressible_ns" and periodic and {"density", "velocity_x", "velocity_y"} <= set(index_of):
        return _compressible(index_of, about.constants.get("gamma"))
    if about.physics == "incompressible_ns" and periodic:
        measured = [_total("tracer", index_of["tracer"])] if "tracer" in index_of else []
        if {"velocity_x", "velocity_y"} <= set(index_of):
            measured.append(_divergence(index_of["velocity_x"], index_of["velocity_y"], about.extent))
        return measured
    return []


def relative(
    invariant: Invariant, frame: Float[Tensor, "b c h w"], start: Float[Tensor, "b c h w"]
) -> Float[Tensor, " b"]:
    """The change since `start` over its scale there; for a quantity that is zero, its size over its scale now."""
    if invariant.drift:
        return (invariant.measure(frame) - invariant.measure(start)) / invariant.scale(start)
    return invariant.measure(frame) / invariant.scale(frame)


def _mean(values: Tensor) -> Tensor:
    return values.mean(dim=(-2, -1))


def _total(name: str, field: int) -> Invariant:
    return Invariant(
        name, lambda frame: _mean(frame[:, field].double()), lambda frame: _mean(frame[:, field].double().abs())
    )


def _compressible(index_of: dict[str, int], gamma: float | None) -> list[Invariant]:
    density, along_x, along_y = index_of["density"], index_of["velocity_x"], index_of["velocity_y"]

    def momentum(velocity: int) -> Measure:
        return lambda frame: _mean(frame[:, density].double() * frame[:, velocity].double())

    def speed(frame: Tensor) -> Tensor:
        velocity = frame[:, along_x].double().square() + frame[:, along_y].double().square()
        return _mean(frame[:, density].double().abs() * velocity.sqrt())

    measured = [
        _total("mass", density),
        # Total momentum may be zero: its drift is relative to the mean of density times speed.
        Invariant("momentum_x", momentum(along_x), speed),
        Invariant("momentum_y", momentum(along_y), speed),
    ]
    if gamma is not None and gamma > 1 and "pressure" in index_of:
        pressure, heat = index_of["pressure"], 1.0 / (gamma - 1.0)

        def energy(frame: Tensor) -> Tensor:
            velocity = frame[:, along_x].double().square() + frame[:, along_y].double().square()
            return _mean(0.5 * frame[:, density].double() * velocity + heat * frame[:, pressure].double())

        measured.append(Invariant("energy", energy, lambda frame: energy(frame).abs()))
    return measured


def _divergence(along_x: int, along_y: int, extent: tuple[tuple[float, float], tuple[float, float]]) -> Invariant:
    """Root mean square of the divergence over that of the velocity gradient, with spectral derivatives."""

    def derivative(field: Tensor, axis: int) -> Tensor:
        points = field.shape[axis]
        low, high = extent[axis + 2]
        wave = 2 * torch.pi * torch.fft.fftfreq(points, (high - low) / points, dtype=torch.float64, device=field.device)
        if points % 2 == 0:
            wave[points // 2] = 0  # The highest wave has no derivative on the grid.
        shape = (-1, 1) if axis == -2 else (1, -1)
        slope: Tensor = torch.fft.ifft(1j * wave.reshape(shape) * torch.fft.fft(field, dim=axis), dim=axis).real
        return slope

    def size(frame: Tensor) -> Tensor:
        x, y = frame[:, along_x].double(), frame[:, along_y].double()
        return _mean((derivative(x, -2) + derivative(y, -1)).square()).sqrt()

    def gradient(frame: Tensor) -> Tensor:
        parts = [
            derivative(frame[:, field].double(), axis).square() for field in (along_x, along_y) for axis in (-2, -1)
        ]
        return _mean(torch.stack(parts).sum(dim=0)).sqrt()

    return Invariant("divergence", size, gradient, drift=False)
