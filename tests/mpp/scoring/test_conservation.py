"""Conserved quantities on fields whose totals are known in closed form."""

import math

import pytest
import torch

from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.scoring.conservation import invariants, relative

QUANTITIES = {
    "shallow_water": ("height",),
    "diffusion_reaction": ("activator", "inhibitor"),
    "incompressible_ns": ("velocity_x", "velocity_y", "tracer"),
    "compressible_ns": ("velocity_x", "velocity_y", "density", "pressure"),
}


def describe(physics, x="periodic", y="periodic", extent=((0.0, 1.0), (0.0, 2.0)), **constants):
    names = tuple(f"{physics}.{quantity}" for quantity in QUANTITIES[physics])
    return PdeDescription(
        physics=physics,
        fields=names,
        units=("",) * len(names),
        dt=0.1,
        grid=(16, 32),
        extent=extent,
        boundary_conditions={"x": x, "y": y},
        parameter_names=(),
        constants=constants,
    )


def grid():
    """Cell centres of [0, 1] x [0, 2] on 16 x 32 points: x along the first axis."""
    x = ((torch.arange(16) + 0.5) / 16)[:, None].expand(16, 32)
    y = ((torch.arange(32) + 0.5) / 16)[None].expand(16, 32)
    return x, y


@pytest.mark.parametrize(
    ("about", "names"),
    [
        (describe("shallow_water"), ["mass"]),
        (describe("shallow_water", x="wall", y="wall"), ["mass"]),
        (describe("shallow_water", x="open", y="open"), []),
        (describe("diffusion_reaction"), []),
        (describe("compressible_ns", gamma=1.4), ["mass", "momentum_x", "momentum_y", "energy"]),
        (describe("compressible_ns"), ["mass", "momentum_x", "momentum_y"]),
        (describe("compressible_ns", x="wall", gamma=1.4), []),
        (describe("incompressible_ns"), ["tracer", "divergence"]),
        (describe("incompressible_ns", x="wall", y="wall"), []),
    ],
)
def test_only_what_the_boundaries_conserve_is_measured(about, names):
    assert [quantity.name for quantity in invariants(about)] == names


def test_mass_that_grows_by_a_tenth_drifts_by_a_tenth_and_mass_that_moves_does_not():
    x, _ = grid()
    height = (2 + torch.sin(2 * math.pi * x))[None, None].float()
    (mass,) = invariants(describe("shallow_water"))
    assert relative(mass, 1.1 * height, height).item() == pytest.approx(0.1, rel=1e-6)
    assert relative(mass, height.roll(5, dims=2), height).item() == pytest.approx(0, abs=1e-9)


def test_compressible_totals_are_those_of_the_formula():
    gamma = 5 / 3
    start = torch.ones(1, 4, 16, 32) * torch.tensor([3.0, -4.0, 2.0, 6.0])[:, None, None]
    after = start * torch.tensor([1.1, 1.0, 1.5, 0.9])[:, None, None]
    drifts = {q.name: relative(q, after, start).item() for q in invariants(describe("compressible_ns", gamma=gamma))}
    energy = [0.5 * d * (u * u + v * v) + p / (gamma - 1) for u, v, d, p in ((3, -4, 2, 6), (3.3, -4, 3, 5.4))]
    assert drifts["mass"] == pytest.approx(0.5)
    # Density times speed is 2 * 5; momentum goes from 2 * 3 to 3 * 3.3 and from -2 * 4 to -3 * 4.
    assert drifts["momentum_x"] == pytest.approx((9.9 - 6) / 10, rel=1e-6)
    assert drifts["momentum_y"] == pytest.approx((-12 + 8) / 10, rel=1e-6)
    assert drifts["energy"] == pytest.approx(energy[1] / energy[0] - 1, rel=1e-6)


def test_a_flow_made_of_a_stream_function_has_no_divergence_and_a_gradient_field_nothing_else():
    x, y = (2 * math.pi * values.double() for values in grid())
    y = y / 2  # One wave over the length of 2.
    # psi = sin(x) sin(y): velocity (d psi / dy, -d psi / dx), and the gradient of the same function.
    ddx, ddy = 2 * math.pi * torch.cos(x) * torch.sin(y), math.pi * torch.sin(x) * torch.cos(y)
    tracer = torch.ones_like(x)
    divergence = next(q for q in invariants(describe("incompressible_ns")) if q.name == "divergence")
    solenoidal = torch.stack([ddy, -ddx, tracer])[None]
    assert relative(divergence, solenoidal, solenoidal).item() == pytest.approx(0, abs=1e-12)
    gradient = torch.stack([ddx, ddy, tracer])[None]
    # |laplacian|^2 = (a + b)^2 ss, |hessian|^2 = (a^2 + b^2) ss + 2 ab cc, and the means of ss and cc are equal.
    a, b = (2 * math.pi) ** 2, math.pi**2
    expected = math.sqrt((a + b) ** 2 / (a * a + b * b + 2 * a * b))
    assert relative(divergence, gradient, gradient).item() == pytest.approx(expected, rel=1e-9)
