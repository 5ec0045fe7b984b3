"""The source `well`: HDF5 files in the schema of The Well, 2-D and cartesian, in its folders or one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import h5py

from polycli.console import warn
from polycli.errors import SourceError
from polycli.files.hdf5 import COPY_AGAIN, is_hdf5, open_hdf5
from polycli.mpp.data.source import Dataset
from polycli.mpp.recipe.arrays import WellSection
from polycli.mpp.recipe.physics import Boundary
from polycli.mpp.recipe.training import PrepareRecipe
from polycli.mpp.sources.hdf5_read import most_at_once
from polycli.mpp.sources.hdf5_trajectories import Found, Member, datasets_of, say_remarks
from polycli.mpp.sources.pdebench import SUFFIXES, find_files
from polycli.mpp.sources.well.attributes import OTHER_WAY, axes_of, number, strings
from polycli.mpp.sources.well.boundaries import find_boundaries
from polycli.mpp.sources.well.layout import (
    find_extent,
    find_fields,
    find_parameters,
    find_times,
    plain_name,
    spatial_dimensions,
)
from polycli.requests import Split

_SPLITS: dict[str, Split] = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}
_GROUPS = ("t0_fields", "t1_fields", "t2_fields")


class WellSource:
    """A store for each dataset and grid; folders named train, valid and test are the splits."""

    def accepts(self, path: Path) -> bool:
        """HDF5 files with a group of fields by tensor order, whatever else they lack."""
        if path.suffix.lower() not in SUFFIXES or not is_hdf5(path):
            return False
        try:
            with open_hdf5(path) as file:
                return _is_well(file)
        except SourceError:
            return False

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> list[Dataset]:
        """Reads the layout of the input files and returns their datasets; see `Source.open`."""
        if not inputs:
            raise SourceError("the source well needs input files", hint="name them with --input FILE or FOLDER")
        found: list[Found] = []
        foreign: list[Path] = []
        for path, name, named in find_files(inputs):
            with open_hdf5(path, hint=COPY_AGAIN) as file:
                if _is_well(file):
                    found.append(_hinted(file, path, name, recipe.well))
                elif named:
                    raise SourceError(f"{path}: no file of The Well: it has none of the groups {', '.join(_GROUPS)}")
                else:
                    foreign.append(path)
        for stranger in foreign:
            warn(f"left out: {stranger}: no file of The Well")
        if not found:
            raise SourceError(f"no file of The Well among {len(foreign)}, the first of them {foreign[0]}")
        # Rows of the three splits follow each other, as in a store of one's own.
        found.sort(key=lambda file: ("train", "validation", "test", None).index(file.split))
        say_remarks(found)
        return datasets_of(found, recipe, limit)


def _is_well(file: h5py.File) -> bool:
    return any(isinstance(file.get(name), h5py.Group) for name in _GROUPS)


def _hinted(file: h5py.File, path: Path, source: str, section: WellSection) -> Found:
    """The file as it is described; where that says of no way on, there is the one for arrays."""
    try:
        return _look(file, path, source, section)
    except SourceError as error:
        if error.hint is not None:
            raise
        raise SourceError(error.message, hint=OTHER_WAY) from error


def _look(file: h5py.File, path: Path, source: str, section: WellSection) -> Found:
    points = spatial_dimensions(file, path)
    count = number(path, file, "n_trajectories")
    times = find_times(file, path, count)
    frames = times.shape[1]
    if frames < 2:
        raise SourceError(f"{path}: {frames} frame, at least 2 were expected")
    fields = find_fields(file, path, points, (count, frames), section)
    turned = fields.columns[0].turned
    given: dict[str, Boundary] = {
        dim: section.boundary[axis] for dim, axis in axes_of(points).items() if axis in section.boundary
    }
    boundary, remarks = find_boundaries(file, path, points, given)
    extent, strange = find_extent(file, path, points)
    parameters, others = find_parameters(file, path, count)
    remarks += others
    notes: tuple[str, ...] = ()
    if fields.constant:
        names = ", ".join(fields.constant)
        done = "repeated in every frame" if section.constant_fields == "repeat" else "left out"
        notes = (f"constant in time, {done}: {names}",)
    if set(points) != {"x", "y"}:
        remarks.append(f"its dimensions {' and '.join(points)} are taken as x and y")
    first, second = points.values()
    return Found(
        path=path,
        source=source,
        label=_label(file, path),
        columns=fields.columns,
        fields=fields.names,
        units=fields.units,
        frames=frames,
        grid=(second, first) if turned else (first, second),
        extent=(extent[1], extent[0]) if turned else extent,
        boundary=(boundary[1], boundary[0]) if turned else boundary,
        members=tuple(
            Member(
                item=item,
                start=float(row[0]),
                dt=float(f"{(row[-1] - row[0]) / (frames - 1):.6g}"),
                parameters=parameters[item],
            )
            for item, row in enumerate(times)
        ),
        split=_SPLITS.get(path.absolute().parent.name) if section.split == "folders" else None,
        at_once=most_at_once(file, fields.columns),
        strange=strange,
        remarks=tuple(remarks),
        notes=notes,
    )


def _label(file: h5py.File, path: Path) -> str:
    name = plain_name(" ".join(strings(file.attrs["dataset_name"])))
    return re.sub(r"[^\w+-]", "_", name, flags=re.ASCII).lstrip("_+-") or plain_name(path.stem)
