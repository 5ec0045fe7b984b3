"""Writes small HDF5 files in the schema of The Well, sound ones, which tests then break."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np


def smooth(shape: Sequence[int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def write_well(
    path: Path,
    *,
    name: str = "waves",
    rows: int = 2,
    frames: int = 5,
    grid: tuple[int, int] = (8, 6),
    dims: tuple[str, str] = ("x", "y"),
    boundary: tuple[str, str] = ("PERIODIC", "WALL"),
    parameters: Mapping[str, float] | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """A density, a velocity and a tensor D that vary, a speed of sound that depends on the first axis alone.

    Returns the arrays by name, as written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lead = (rows, frames, *grid)
    arrays = {
        "density": smooth(lead, seed),
        "velocity": smooth((*lead, 2), seed + 1),
        "D": smooth((*lead, 2, 2), seed + 2),
        "sound": smooth((rows, grid[0]), seed + 3),
        "force": np.arange(rows, dtype=np.float32) + seed,
    }
    parameters = {"viscosity": 0.01} if parameters is None else parameters
    with h5py.File(path, "w") as file:
        file.attrs.update(dataset_name=name, grid_type="cartesian", n_spatial_dims=2, n_trajectories=rows)
        file.attrs["simulation_parameters"] = list(parameters)
        file.attrs.update(parameters)
        place = file.create_group("dimensions")
        place.attrs["spatial_dims"] = list(dims)
        steps = 0.5 * np.arange(frames)
        lines = {"time": steps, **{d: (np.arange(n) + 0.5) / n for d, n in zip(dims, grid, strict=True)}}
        for dim, values in lines.items():
            line = place.create_dataset(dim, data=values.astype(np.float32))
            line.attrs.update(sample_varying=False, time_varying=False)
        for dim, points, kind in zip(dims, grid, boundary, strict=True):
            add_boundary(file, dim, kind, np.isin(np.arange(points), [0, points - 1]))
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = ["force", "clock"]
        scalars.create_dataset("force", data=arrays["force"]).attrs.update(sample_varying=True, time_varying=False)
        clock = scalars.create_dataset("clock", data=np.arange(frames))
        clock.attrs.update(sample_varying=False, time_varying=True)
        for order, names in enumerate((["density", "sound"], ["velocity"], ["D"])):
            group = file.create_group(f"t{order}_fields")
            group.attrs["field_names"] = names
            for field in names:
                constant = field == "sound"
                made = group.create_dataset(field, data=arrays[field])
                made.attrs.update(sample_varying=True, time_varying=not constant, dim_varying=[True, not constant])
    return arrays


def add_boundary(file: h5py.File, dim: str, kind: str, mask: np.ndarray, dims: Sequence[str] | str | None = None):
    group = file.require_group("boundary_conditions").create_group(f"{dim}_{kind.lower()}")
    group.attrs.update(bc_type=kind, associated_fields=[], sample_varying=False, time_varying=False)
    group.attrs["associated_dims"] = [dim] if dims is None else dims
    group.create_dataset("mask", data=mask)
