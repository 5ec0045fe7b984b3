"""The source `arrays`: one's own simulations, in npy, npz, HDF5, NetCDF4 or zarr, as the recipe describes them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.console import note
from polycli.errors import SourceError
from polycli.mpp.data.source import Dataset
from polycli.mpp.recipe.arrays import ArraysSection, Extent
from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.recipe.training import PrepareRecipe
from polycli.mpp.sources.array_files import SUFFIXES, ArrayFile, files_of, is_zarr, open_arrays
from polycli.mpp.sources.array_grids import assumed_extent, find_extent, find_times, time_step
from polycli.mpp.sources.array_groups import one_by_one
from polycli.mpp.sources.array_layout import Layout, find_layout
from polycli.mpp.sources.array_read import ArrayJob
from polycli.mpp.sources.array_rows import find_parameters, find_splits
from polycli.mpp.sources.frames import Frames, job_size
from polycli.requests import Split
from polycli.store.manifest import LeftOut


class ArraysSource:
    """All files of the inputs as one dataset; several files are more trajectories."""

    def __init__(self, assumed_dt: float | None = None, known_fields: Sequence[str] = ()) -> None:
        """`assumed_dt` stands in where neither the files nor the settings tell the time between frames.

        Proposed lines prefer `known_fields`, as those of a checkpoint.
        """
        self._assumed_dt, self._known_fields = assumed_dt, known_fields

    def accepts(self, path: Path) -> bool:
        """Arrays of numpy, HDF5 and NetCDF files, and zarr folders that are no stores of polycli."""
        if path.is_dir():
            return is_zarr(path)
        return path.suffix.lower() in SUFFIXES

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> list[Dataset]:
        """Reads the layout of the input files and returns their datasets; see `Source.open`."""
        section = recipe.arrays
        looks = [look for path, name in find_array_files(inputs) for look in self._looks(path, name, section)]
        for look in looks[1:]:
            _refuse_other(looks[0], look)
        first = looks[0]
        timed = [f"dt is {first.dt:g}, from its times"] if first.dt_known and section.dt is None else []
        if said := [*first.layout.meanings, *timed]:
            note(f"{first.path}: {', '.join(said)}")
        if first.assumed:
            note(f"{first.path}: {first.assumed}")
        select = recipe.select
        frames = Frames(select.first_frame, first.layout.frames, select.time_stride, select.space_stride)
        _refuse_nothing_left(first, frames)
        fields = first.layout.fields
        physics = {name.split(".", 1)[0] for name in fields}
        jobs = tuple(_jobs(looks, frames, limit))
        kept = {(job.source, name) for job in jobs for name in job.ids}
        used = [look for look in looks if (look.source, look.ids[0]) in kept]
        parts = list(dict.fromkeys(part for look in used for part in files_of(look.path)))
        return [
            Dataset(
                name=recipe.dataset.name or _name(inputs, looks),
                about=PdeDescription(
                    physics=physics.pop() if len(physics) == 1 else "mixed",
                    fields=fields,
                    units=first.units,
                    dt=first.dt * frames.step,
                    grid=frames.grid(first.layout.grid),
                    extent=frames.extent(first.extent, first.layout.grid),
                    boundary_conditions=dict(section.boundary),
                    parameter_names=tuple(first.parameters),
                    constants={key: value for key, value in section.parameters.items() if isinstance(value, float)},
                ),
                time=first.times[frames.start : frames.stop : frames.step],
                jobs=jobs,
                files=tuple(path for path, _ in parts),
                file_names=tuple(name for _, name in parts),
                flagged=tuple(
                    LeftOut(source=look.source, id=name, reason=reason)
                    for look in used
                    for reason in look.strange
                    for name in look.ids
                    if (look.source, name) in kept
                ),
                splits=_splits(looks),
                dt_known=first.dt_known,
            )
        ]

    def _looks(self, path: Path, source: str, section: ArraysSection) -> list[_Look]:
        """Reads everything about one file but its numbers: one look, or one for each group that is a trajectory."""
        with open_arrays(path) as file:
            return [self._look(file, source, group, filled) for group, filled in one_by_one(file, section)]

    def _look(self, file: ArrayFile, source: str, group: str, section: ArraysSection) -> _Look:
        layout = find_layout(file, section, dt_needed=self._assumed_dt is None, known_fields=self._known_fields)
        leader, count = layout.arrays[0], layout.trajectories
        times = find_times(file, section, leader, (count, layout.frames))
        dt = time_step(file, section, times)
        known = dt is not None
        if dt is None:
            # Whoever asks for the arrays without dt says what to take in its place.
            dt = self._assumed_dt or 1.0
        extent, strange = find_extent(file, section, leader, layout.grid)
        return _Look(
            path=file.path,
            source=source,
            group=group,
            layout=layout,
            units=_units(file, layout, section),
            dt=dt,
            dt_known=known,
            times=times if times is not None else dt * np.arange(layout.frames, dtype=np.float64),
            extent=extent,
            strange=strange,
            assumed=assumed_extent(file, section, leader, layout.grid),
            parameters=find_parameters(file, section, count),
            splits=find_splits(file, section, count),
            at_once=max(placed.trajectories_at_once(file.arrays[placed.name]) for placed in layout.arrays),
            bytes=4 * layout.frames * len(layout.fields) * layout.grid[0] * layout.grid[1],
        )


@dataclass(frozen=True)
class _Look:
    path: Path
    source: str
    #: Where trajectories have groups of their own.
    group: str
    layout: Layout
    units: tuple[str, ...]
    dt: float
    dt_known: bool
    times: NDArray[np.float64]
    extent: Extent
    strange: tuple[str, ...]
    #: What is taken of the extent where nothing says it.
    assumed: str
    parameters: dict[str, NDArray[np.float64]]
    splits: tuple[Split, ...] | None
    #: Of one trajectory, as it is stored.
    bytes: int
    #: How many trajectories lie in the same pieces of the file.
    at_once: int

    @property
    def ids(self) -> tuple[str, ...]:
        numbers = tuple(f"{index:04d}" for index in range(self.layout.trajectories))
        if not self.group:
            return numbers
        return (self.group,) if len(numbers) == 1 else tuple(f"{self.group}/{number}" for number in numbers)


def find_array_files(inputs: Sequence[Path]) -> list[tuple[Path, str]]:
    """The array files of the inputs in order, each once, with names relative to their input.

    Raises:
        SourceError: there are no inputs, an input does not exist, or a folder holds no array file.
    """
    if not inputs:
        raise SourceError("the source arrays needs input files", hint="name them with --input FILE or FOLDER")
    found: dict[Path, tuple[Path, str]] = {}
    for entry in inputs:
        if not entry.exists():
            raise SourceError(f"{entry}: no such file or folder")
        if not entry.is_dir() or is_zarr(entry):
            found.setdefault(entry.resolve(), (entry, entry.name))
            continue
        inside = [path for path in sorted(entry.rglob("*")) if _is_array(path) and not _in_zarr(path, entry)]
        if not inside:
            raise SourceError(f"{entry}: no file with the ending {', '.join(SUFFIXES)} in this folder")
        for path in inside:
            found.setdefault(path.resolve(), (path, path.relative_to(entry).as_posix()))
    names = Counter(name for _, name in found.values())
    # Two inputs may hold files of one name; then the whole path tells them apart.
    return [(path, name if names[name] == 1 else path.as_posix()) for path, name in found.values()]


def _is_array(path: Path) -> bool:
    return is_zarr(path) if path.is_dir() else path.suffix.lower() in SUFFIXES


def _in_zarr(path: Path, below: Path) -> bool:
    return any(is_zarr(folder) for folder in path.parents if folder.is_relative_to(below))


def _name(inputs: Sequence[Path], looks: Sequence[_Look]) -> str:
    """The store's name: that of the one file or folder that was given, else that of the folder that all lie in."""
    named = (inputs[0] if len(inputs) == 1 else looks[0].path.parent).absolute()
    stem = named.stem if len(inputs) == 1 and _is_array(named) else named.name
    return re.sub(r"[^\w.+-]", "_", stem, flags=re.ASCII).lstrip("_.+-") or "arrays"


def _refuse_other(first: _Look, other: _Look) -> None:
    """Files of one store agree in all but their numbers."""
    compared = {
        "fields": (first.layout.fields, other.layout.fields),
        "units": (first.units, other.units),
        "frames": (first.layout.frames, other.layout.frames),
        "points along x and y": (first.layout.grid, other.layout.grid),
        "parameters": (tuple(first.parameters), tuple(other.parameters)),
        "given splits": (first.splits is not None, other.splits is not None),
    }
    differing = [f"{what} {theirs}, {ours} was expected" for what, (ours, theirs) in compared.items() if ours != theirs]
    if abs(other.dt - first.dt) > 1e-3 * first.dt:
        differing.append(f"dt {other.dt:g}, {first.dt:g} was expected")
    cell = (first.extent[0][1] - first.extent[0][0]) / first.layout.grid[0]
    if np.abs(np.subtract(other.extent, first.extent)).max() > 0.01 * abs(cell):
        differing.append(f"extent {other.extent}, {first.extent} was expected")
    if differing:
        raise SourceError(f"{other.path}: {differing[0]} from {first.path}", hint="prepare the two into two stores")


def _refuse_nothing_left(first: _Look, frames: Frames) -> None:
    if frames.count < 2:
        raise SourceError(
            f"{first.path}: {first.layout.frames} frames, of which select.first_frame {frames.start} and "
            f"select.time_stride {frames.step} leave {frames.count}, at least 2 were expected"
        )
    if min(first.layout.grid) // frames.space < 2:
        raise SourceError(f"{first.path}: select.space_stride {frames.space} leaves no grid of {first.layout.grid}")


def _units(file: ArrayFile, layout: Layout, section: ArraysSection) -> tuple[str, ...]:
    """Units by field: as given, else as the field's own array says."""
    unknown = [name for name in section.units if name not in layout.fields]
    if unknown:
        raise SourceError(
            f"arrays.units names {unknown[0]}, which is not a field; fields are {', '.join(layout.fields)}"
        )
    own = [file.arrays[placed.name].units for placed in layout.arrays]
    if len(own) < len(layout.fields):
        own = own * len(layout.fields) if len(set(own)) == 1 else [""] * len(layout.fields)
    return tuple(section.units.get(name, unit) for name, unit in zip(layout.fields, own, strict=True))


def _splits(looks: Sequence[_Look]) -> dict[tuple[str, str], Split] | None:
    if looks[0].splits is None:
        return None
    return {
        (look.source, name): split for look in looks for name, split in zip(look.ids, look.splits or (), strict=True)
    }


def _jobs(looks: Sequence[_Look], frames: Frames, limit: int | None) -> Iterator[ArrayJob]:
    left = limit
    for look in looks:
        count = look.layout.trajectories if left is None else min(left, look.layout.trajectories)
        left = None if left is None else left - count
        size, together = job_size(look.bytes, look.at_once)
        if look.path.suffix.lower() == ".npz":
            # It may be compressed as one piece, which is unpacked for each job.
            size, together = count, False
        for start in range(0, count, size):
            items = range(start, min(count, start + size))
            yield ArrayJob(
                path=look.path,
                source=look.source,
                arrays=look.layout.arrays,
                ids=tuple(look.ids[item] for item in items),
                items=tuple(items),
                parameters=tuple(tuple(float(values[item]) for values in look.parameters.values()) for item in items),
                frames=frames,
                together=together,
            )
