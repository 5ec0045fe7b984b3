"""The source `pdearena`: PDEArena's smoke in a box, standard and conditioned by buoyancy, as its HDF5 files have it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from polycli.console import warn
from polycli.errors import SourceError
from polycli.files.hdf5 import COPY_AGAIN, is_hdf5, open_hdf5
from polycli.mpp.data.source import Dataset
from polycli.mpp.recipe.arrays import Extent
from polycli.mpp.recipe.training import PrepareRecipe
from polycli.mpp.sources.axes import refuse_uneven
from polycli.mpp.sources.frames import UNEVEN
from polycli.mpp.sources.hdf5_read import Column, most_at_once
from polycli.mpp.sources.hdf5_trajectories import Found, Member, datasets_of, say_remarks
from polycli.mpp.sources.pdebench import SUFFIXES, find_files
from polycli.requests import Split

#: A file holds one group, named as the split.
_SPLITS: dict[str, Split] = {"train": "train", "valid": "validation", "test": "test"}
_IN_NAME = re.compile(r"_(train|valid|test)(?=_|$)")
#: Their arrays, (trajectory, time, x, y), and the fields that the published MPP models know them by.
_FIELDS = {
    "vx": "incompressible_ns.velocity_x",
    "vy": "incompressible_ns.velocity_y",
    "u": "incompressible_ns.tracer",
}


class PdearenaSource:
    """One store for each grid, number of frames and time step; the buoyancy is a parameter of the rows."""

    def accepts(self, path: Path) -> bool:
        """HDF5 files with the arrays u, vx and vy in a group named as a split."""
        if path.suffix.lower() not in SUFFIXES or not is_hdf5(path):
            return False
        try:
            with open_hdf5(path) as file:
                return _group(file) is not None
        except SourceError:
            return False

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> list[Dataset]:
        """Reads the layout of the input files and returns their datasets; see `Source.open`."""
        if not inputs:
            raise SourceError("the source pdearena needs input files", hint="name them with --input FILE or FOLDER")
        found: list[Found] = []
        foreign: list[SourceError] = []
        for path, name, named in find_files(inputs):
            with open_hdf5(path, hint=COPY_AGAIN) as file:
                mode = _group(file)
                if mode is not None:
                    found.append(_look(file, path, name, mode))
                    continue
            stranger = SourceError(f"{path}: no file of PDEArena: {', '.join(_FIELDS)} in a group train, valid or test")
            if named:
                raise stranger
            foreign.append(stranger)
        for stranger in foreign:
            warn(f"left out: {stranger.message}")
        if not found:
            raise foreign[0]
        found.sort(key=lambda file: ("train", "validation", "test", None).index(file.split))
        say_remarks(found)
        return datasets_of(found, recipe, limit)


def _group(file: h5py.File) -> str | None:
    """The name of the group that holds the arrays."""
    inside = [mode for mode in _SPLITS if isinstance(file.get(mode), h5py.Group)]
    return next((mode for mode in inside if all(name in file[mode] for name in _FIELDS)), None)


def _look(file: h5py.File, path: Path, source: str, mode: str) -> Found:
    leader = _array(file, path, f"{mode}/u")
    if leader.ndim != 4:
        raise SourceError(f"{path}: {mode}/u is {leader.shape}, (trajectory, time, x, y) was expected")
    for name in _FIELDS:
        shape = _array(file, path, f"{mode}/{name}").shape
        if shape != leader.shape:
            raise SourceError(f"{path}: {mode}/{name} is {shape}, {leader.shape} was expected, as u has it")
    count, frames = leader.shape[:2]
    if frames < 2:
        raise SourceError(f"{path}: {frames} frame, at least 2 were expected")
    # The group is what the files' own loader goes by; names say the same.
    named = _IN_NAME.search(path.stem)
    remarks = []
    split = named.group(1) if named else mode
    if split != mode:
        remarks.append(f"its name says {split} and its group {mode}: {split} is taken")
    starts, steps, odd = _times(file, path, mode, (count, frames))
    buoyancy = _line(file, path, f"{mode}/buo_y", count) if "buo_y" in file[mode] else None
    columns = tuple(Column(f"{mode}/{name}", (True, True, True, True)) for name in _FIELDS)
    return Found(
        path=path,
        source=source,
        label="smoke",
        columns=columns,
        fields=tuple(_FIELDS.values()),
        units=("1",) * len(_FIELDS),
        frames=frames,
        grid=(leader.shape[2], leader.shape[3]),
        extent=_extent(file, path, mode, leader.shape),
        # The smoke rises in a closed box: no velocity at its walls.
        boundary=("wall", "wall"),
        members=tuple(
            Member(
                item=item,
                start=float(starts[item]),
                dt=float(f"{steps[item]:.6g}"),
                parameters={} if buoyancy is None else {"buoyancy": float(buoyancy[item])},
            )
            for item in range(count)
        ),
        split=_SPLITS[split],
        at_once=most_at_once(file, columns),
        remarks=tuple(remarks),
        notes=tuple(odd),
    )


def _times(
    file: h5py.File, path: Path, mode: str, shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """The first time and the time step of each trajectory, and what is odd about them.

    `dt` is the solver's step times the frames that were left out between two. The times `t` are spread evenly from the
    simulation's first to its last second, as if the last frame were at the very end, and so are a little wider apart.
    """
    times = _array(file, path, f"{mode}/t")
    if times.shape != shape:
        raise SourceError(f"{path}: {mode}/t is {times.shape}, {shape} was expected, for u has so many frames")
    values = times[()].astype(np.float64)
    for row in values:
        refuse_uneven(path, f"{mode}/t", row, times.dtype)
    spread = (values[:, -1] - values[:, 0]) / (shape[1] - 1)
    if "dt" not in file[mode]:
        return values[:, 0], spread, []
    steps = _line(file, path, f"{mode}/dt", shape[0])
    if not (np.isfinite(steps).all() and (steps > 0).all()):
        raise SourceError(f"{path}: {mode}/dt is {steps.min():g} at least, a time above zero was expected")
    odd = []
    if (np.abs(steps / spread - 1) > UNEVEN).any():
        odd.append(f"its times t are {spread[0]:.4g} apart and dt says {steps[0]:.4g}: dt, the solver's, is taken")
    return values[:, 0], steps, odd


def _extent(file: h5py.File, path: Path, mode: str, shape: tuple[int, ...]) -> Extent:
    """The box. The coordinates run from one wall to the other, though the cells' middles lie within."""
    edges = []
    for axis, points in zip("xy", shape[2:], strict=True):
        values = _array(file, path, f"{mode}/{axis}")
        if values.shape != (shape[0], points):
            raise SourceError(f"{path}: {mode}/{axis} is {values.shape}, {(shape[0], points)} was expected")
        line = values[0].astype(np.float64)
        if not line[-1] > line[0]:
            raise SourceError(
                f"{path}: the coordinates {mode}/{axis} run from {line[0]:g} to {line[-1]:g}, rising ones were expected"
            )
        edges.append((float(f"{line[0]:.9g}"), float(f"{line[-1]:.9g}")))
    return edges[0], edges[1]


def _array(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    found = file.get(name)
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "fiu" or 0 in found.shape:
        raise SourceError(f"{path}: there is no array of numbers {name!r}, which PDEArena's files have")
    return found


def _line(file: h5py.File, path: Path, name: str, count: int) -> NDArray[np.float64]:
    values = _array(file, path, name)
    if values.shape != (count,):
        raise SourceError(f"{path}: {name} is {values.shape}, ({count},) was expected, one a trajectory")
    whole: NDArray[np.float64] = values[()].astype(np.float64)
    return whole
