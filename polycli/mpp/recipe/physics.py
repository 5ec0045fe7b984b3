"""Describes the physics of a store of trajectories, and the names by which models know fields.

A field is named `<physics>.<quantity>`. A model's vocabulary is an ordered list of such names; a field's id in the
model is its place in that list, so checkpoints and stores meet by name, never by number.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

#: The twelve states of the published MPP checkpoints, in the order of their embedding rows.
PUBLISHED_FIELDS: tuple[str, ...] = (
    "shallow_water.height",
    "incompressible_ns.velocity_x",
    "incompressible_ns.velocity_y",
    "incompressible_ns.tracer",
    "diffusion_reaction.activator",
    "diffusion_reaction.inhibitor",
    "compressible_ns.velocity_x",
    "compressible_ns.velocity_y",
    "compressible_ns.density",
    "compressible_ns.pressure",
    "unused.10",
    "unused.11",
)

#: The label of a channel that a sample does not have, where samples of several physics share a batch.
ABSENT = -1

Boundary = Literal["periodic", "wall", "open"]
#: What models are told of a boundary; the published checkpoints know 0 and 1.
BOUNDARY_FLAGS: dict[Boundary, int] = {"wall": 0, "periodic": 1, "open": 2}


class PdeDescription(BaseModel):
    """The `about` section of an MPP store's manifest.

    The store's `fields` array is (trajectory, time, field, x, y): the first spatial axis (H) is x and the second (W)
    is y, as PDEBench has it, so `velocity_x` points along H.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    physics: str
    fields: tuple[str, ...]
    units: tuple[str, ...]
    dt: float
    grid: tuple[int, int]
    extent: tuple[tuple[float, float], tuple[float, float]]
    boundary_conditions: dict[Literal["x", "y"], Boundary]
    parameter_names: tuple[str, ...]
    #: Constants that hold for the whole store: Mach number, viscosity, gravity and the like.
    constants: dict[str, float]

    @property
    def boundary_flags(self) -> tuple[int, int]:
        """The model's `bcs`: (along W, along H), 0 wall, 1 periodic, 2 open; attention tells 1 from the others."""
        return (BOUNDARY_FLAGS[self.boundary_conditions["y"]], BOUNDARY_FLAGS[self.boundary_conditions["x"]])
