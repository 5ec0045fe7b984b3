"""The layout of one of The Well's HDF5 files: dimensions, fields, parameters and times, checked against each other."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError
from polycli.mpp.recipe.arrays import Extent, WellSection
from polycli.mpp.sources.axes import domain_edges, refuse_uneven
from polycli.mpp.sources.hdf5_read import Column
from polycli.mpp.sources.well.attributes import components, flag, number, numbers, strings, well_attribute

_SUPPORTED = "two spatial dimensions on a cartesian grid are supported"
_OWN = re.compile(r"[\w+-]+\.[\w+-]+")
_UNSAFE = re.compile(r"[^\w+-]+")
#: What polycli's own export writes: the whole names of the fields that an array holds.
OWN_NAMES = "polycli_fields"


@dataclass(frozen=True)
class Fields:
    """The arrays of a file that become fields."""

    columns: tuple[Column, ...]
    names: tuple[str, ...]
    units: tuple[str, ...]
    #: Those without an axis of time, by their names in the file.
    constant: tuple[str, ...]


def spatial_dimensions(file: h5py.File, path: Path) -> dict[str, int]:
    """The two spatial dimensions with their lengths, in the order of the arrays' axes.

    Raises:
        SourceError: the data are 3-D or 1-D, or the grid is not cartesian.
    """
    grid = " ".join(strings(well_attribute(path, file, "grid_type")))
    dims = strings(well_attribute(path, group(file, path, "dimensions"), "spatial_dims"))
    count = number(path, file, "n_spatial_dims")
    if grid.lower() != "cartesian" or count != 2 or len(set(dims)) != 2:
        raise SourceError(f"{path}: {len(dims)} spatial dimensions ({', '.join(dims)}) on a {grid} grid; {_SUPPORTED}")
    return {dim: int(array(file, path, f"dimensions/{dim}").shape[-1]) for dim in dims}


def group(file: h5py.File, path: Path, name: str) -> h5py.Group:
    """A group that every file of The Well has.

    Raises:
        SourceError: this one has not.
    """
    if not isinstance(file.get(name), h5py.Group):
        raise SourceError(f"{path}: there is no group {name!r}, which The Well's files have")
    return file[name]


def array(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    """An array of numbers that something in the file names.

    Raises:
        SourceError: there is none, or not of numbers.
    """
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise SourceError(f"{path}: there is no array {name!r}, which is named in the file")
    if found.dtype.kind not in "fiub" or (found.ndim and 0 in found.shape):
        raise SourceError(f"{path}: {name} is {found.dtype} {found.shape}, numbers were expected")
    return found


def find_fields(
    file: h5py.File, path: Path, points: dict[str, int], lead: tuple[int, int], section: WellSection
) -> Fields:
    """The arrays of the groups t0_fields, t1_fields and t2_fields; `lead` is (trajectories, frames).

    Raises:
        SourceError: a shape does not fit the dimensions, two fields have one name, or none varies in time.
    """
    physics = plain_name(" ".join(strings(well_attribute(path, file, "dataset_name"))))
    columns: list[Column] = []
    names: list[str] = []
    units: list[str] = []
    constant: list[str] = []
    dims = list(points)
    for order in range(3):
        place = f"t{order}_fields"
        for name in strings(well_attribute(path, group(file, path, place), "field_names")):
            found = array(file, path, f"{place}/{name}")
            column = _column(found, path, points, lead, order)
            if not column.has[1]:
                constant.append(name)
                if section.constant_fields == "leave_out":
                    continue
            columns.append(column)
            suffixes = ["".join(axes) for axes in itertools.product(dims, repeat=order)]
            short = [plain_name(f"{name}_{suffix}" if suffix else name) for suffix in suffixes]
            own = strings(found.attrs.get(OWN_NAMES, []))
            full = (
                own
                if len(own) == len(short) and all(map(_OWN.fullmatch, own))
                else [f"{physics}.{part}" for part in short]
            )
            names += [section.fields.get(part, whole) for part, whole in zip(short, full, strict=True)]
            unit = strings(found.attrs.get("units", ""))
            units += unit if len(unit) == len(short) else [unit[0] if len(unit) == 1 else ""] * len(short)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError(
            f"{path}: two fields are called {twice}", hint="--set 'well.fields={NAME: OTHER}' renames one"
        )
    if lead[0] < 1 or (lead[0] > 1 and not any(column.has[0] for column in columns)):
        raise SourceError(
            f"{path}: n_trajectories is {lead[0]}, and no field has an axis of trajectories: one was expected"
        )
    if not any(column.has[1] for column in columns):
        raise SourceError(f"{path}: none of its fields varies in time, and a model learns what changes")
    return Fields(tuple(columns), tuple(names), tuple(units), tuple(constant))


def _column(found: h5py.Dataset, path: Path, points: dict[str, int], lead: tuple[int, int], order: int) -> Column:
    where = found.name.lstrip("/")
    sample, time = flag(path, found, "sample_varying"), flag(path, found, "time_varying")
    along = [bool(value) for value in np.asarray(well_attribute(path, found, "dim_varying")).reshape(-1)]
    if len(along) != 2:
        raise SourceError(f"{path}: {where} has {len(along)} flags dim_varying, 2 were expected: {_SUPPORTED}")
    expected = (
        *((lead[0],) if sample else ()),
        *((lead[1],) if time else ()),
        *(length for length, varies in zip(points.values(), along, strict=True) if varies),
        *(2,) * order,
    )
    if found.shape != expected:
        raise SourceError(
            f"{path}: {where} is {found.shape}, {expected} was expected from n_trajectories, dimensions and its flags; "
            "fields of one grid are supported",
            hint="put fields of another grid into another file",
        )
    return Column(where, (sample, time, along[0], along[1]), turned=tuple(points) == ("y", "x"))


def find_times(file: h5py.File, path: Path, trajectories: int) -> NDArray[np.float64]:
    """The times of every trajectory, (trajectory, time).

    Raises:
        SourceError: they are not of the trajectories, fall, or are uneven.
    """
    found = array(file, path, "dimensions/time")
    varying = flag(path, found, "sample_varying")
    if found.ndim != 1 + varying or (varying and found.shape[0] != trajectories):
        raise SourceError(
            f"{path}: dimensions/time is {found.shape}, {'(trajectory, time)' if varying else '(time,)'} was expected"
        )
    times = np.broadcast_to(found[()].astype(np.float64), (trajectories, found.shape[-1]))
    for row in times if varying else times[:1]:
        refuse_uneven(path, "dimensions/time", row, found.dtype)
    return times


def find_extent(file: h5py.File, path: Path, points: dict[str, int]) -> tuple[Extent, tuple[str, ...]]:
    """The edges of the domain along both dimensions, and what is strange about the coordinates.

    Raises:
        SourceError: they fall, or differ between trajectories or times.
    """
    edges: list[tuple[float, float]] = []
    strange: list[str] = []
    for dim, count in points.items():
        found = array(file, path, f"dimensions/{dim}")
        values = found[()].astype(np.float64).reshape(-1, count)
        if (values != values[:1]).any():
            raise SourceError(
                f"{path}: the coordinates dimensions/{dim} differ between trajectories or times, one grid for all was "
                "expected",
                hint="put trajectories of different grids into different files",
            )
        (low, high), odd = domain_edges(path, f"dimensions/{dim}", dim, values[0], found.dtype)
        digits = int(np.ceil(-np.log10((high - low) / count))) + 3
        # Half a cell beyond a float32 is not where the domain ends: -6e-8 stands for 0.
        edges.append((round(low, digits), round(high, digits)) if found.dtype.itemsize <= 4 else (low, high))
        strange += [odd] if odd else []
    return (edges[0], edges[1]), tuple(strange)


def find_parameters(file: h5py.File, path: Path, trajectories: int) -> tuple[list[dict[str, float]], list[str]]:
    """The parameters of every trajectory, from the simulation's attributes and the scalars, and remarks.

    A scalar that varies in time is no parameter of a trajectory: it is left out, and so is what is no number.

    Raises:
        SourceError: an attribute that is named is missing, or a scalar's shape does not fit its flags.
    """
    found: list[dict[str, float]] = [{} for _ in range(trajectories)]
    left_out: dict[str, str] = {}
    for name in strings(file.attrs.get("simulation_parameters", [])):
        values = numbers(well_attribute(path, file, name))
        if values is None:
            left_out[name] = "is no number"
            continue
        for row in found:
            row.update(components(plain_name(name), values))
    for name in strings(well_attribute(path, group(file, path, "scalars"), "field_names")):
        scalar = array(file, path, f"scalars/{name}")
        if flag(path, scalar, "time_varying"):
            left_out[name] = "varies in time"
            continue
        varying = flag(path, scalar, "sample_varying")
        if varying and scalar.shape[:1] != (trajectories,):
            raise SourceError(f"{path}: scalars/{name} is {scalar.shape}, ({trajectories},) was expected")
        whole = scalar[()].astype(np.float64)
        for item, row in enumerate(found):
            row.update(components(plain_name(name), (whole[item] if varying else whole).reshape(-1)))
    remarks = [f"{name} {why}, so it is no parameter of a trajectory and left out" for name, why in left_out.items()]
    return found, remarks


def plain_name(name: str) -> str:
    """A name as fields and stores may have it: letters, digits, `_`, `+` and `-`."""
    return _UNSAFE.sub("_", name).strip("_") or "unnamed"
