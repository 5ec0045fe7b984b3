"""Recognises PDEBench's HDF5 layouts by what is in a file, and checks every shape before anything is read in full.

Sources: PDEBench's generators (Takamoto et al. 2022). Names of files and folders decide nothing, except for
compressible files, which do not say their boundaries, and may lack the attributes that hold their constants.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml
from numpy.typing import NDArray

from polycli.console import warn
from polycli.errors import SourceError
from polycli.mpp.recipe.arrays import Extent
from polycli.mpp.recipe.physics import Boundary
from polycli.mpp.sources.axes import domain_edges
from polycli.mpp.sources.pdebench_names import named_boundary, named_constant, named_kind
from polycli.mpp.sources.pdebench_read import (
    COMPRESSIBLE_KEYS,
    INCOMPRESSIBLE_KEYS,
    ForeignFileError,
    Layout,
    open_source,
    trajectories_at_once,
)
from polycli.store.manifest import LeftOut

#: Numbers of the `config` attribute that differ between trajectories, and those that tell datasets apart.
PARAMETERS = {"shallow_water": ("dam_radius",)}
CONSTANTS = {
    "shallow_water": ("gravity", "inner_height"),
    "diffusion_reaction": ("Du", "Dv", "k"),
    "incompressible_ns": ("NU", "nu", "viscosity"),
}
_GAMMA = 5 / 3
_OTHER_WAY = "PDEBench's 2-D files are read; --source arrays reads 2-D fields of any layout, once they are described"
_LAYOUTS = (
    "groups with 'data' and 'grid' (shallow water, diffusion-reaction), 'velocity' and 'particles' (incompressible), "
    "or 'Vx', 'Vy', 'density' and 'pressure' (compressible)"
)


class NotPdebenchError(ForeignFileError):
    """A sound HDF5 file in none of PDEBench's layouts."""


@dataclass(frozen=True)
class Member:
    """One trajectory of a file."""

    id: str
    item: str | int
    time: NDArray[np.float64]
    parameters: Mapping[str, float]
    constants: Mapping[str, float]


@dataclass
class Survey:
    """The description of one file, without its numbers. `grid` is (x, y); all members of a file share it."""

    path: Path
    source: str
    physics: str
    layout: Layout
    label: str | None = None
    grid: tuple[int, int] = (0, 0)
    extent: Extent = ((0.0, 1.0), (0.0, 1.0))
    frame_bytes: int = 0
    #: How many trajectories lie in one chunk of the file.
    at_once: int = 1
    #: Along both axes, where the file's name tells.
    boundary: Boundary | None = None
    #: What is strange about its grid.
    strange: tuple[str, ...] = ()
    members: list[Member] = field(default_factory=list)
    rejected: list[LeftOut] = field(default_factory=list)

    def reject(self, name: str, reason: str) -> None:
        """Leave a trajectory out, and remember why."""
        self.rejected.append(LeftOut(source=self.source, id=name, reason=reason))


def looks_like_pdebench(path: Path) -> bool:
    """Whether a file has the keys of one of the layouts, sound or not.

    Raises:
        SourceError: not HDF5, or truncated.
    """
    with open_source(path) as file:
        keys = set(file)
        if len(keys.intersection(COMPRESSIBLE_KEYS)) >= 2 or keys.intersection(INCOMPRESSIBLE_KEYS):
            return True
        groups = [file[name] for name in keys if isinstance(file.get(name), h5py.Group)]
        return any("data" in group and "grid" in group for group in groups)


def survey_file(path: Path, source: str) -> list[Survey]:
    """Surveys a file; there are several surveys where its groups differ in physics or grid.

    Raises:
        SourceError: truncated or damaged.
        ForeignFileError: not HDF5, or a key is missing or of a wrong shape, as in 1-D and 3-D files.
        NotPdebenchError: sound, but in none of the layouts.
    """
    with open_source(path) as file:
        try:
            surveys = _surveys(file, path, source)
        except ForeignFileError:
            raise
        except SourceError as error:
            raise ForeignFileError(error.message, hint=error.hint or _OTHER_WAY) from error
    if not any(survey.members for survey in surveys):
        reasons = [left for survey in surveys for left in survey.rejected]
        first = f": {reasons[0].id}: {reasons[0].reason}" if reasons else ""
        raise ForeignFileError(f"{path}: no usable trajectory among {len(reasons)}{first}")
    return [survey for survey in surveys if survey.members or survey.rejected]


def _surveys(file: h5py.File, path: Path, source: str) -> list[Survey]:
    keys = set(file)
    if len(keys.intersection(COMPRESSIBLE_KEYS)) >= 2:
        return [_compressible(file, path, source)]
    if keys.intersection(INCOMPRESSIBLE_KEYS):
        return [_incompressible(file, path, source)]
    groups = [name for name in sorted(keys) if isinstance(file[name], h5py.Group)]
    if any("data" in file[name] or "grid" in file[name] for name in groups):
        if len(groups) < len(keys):
            others = ", ".join(repr(key) for key in sorted(keys.difference(groups))[:8])
            warn(f"{path}: {others} beside the groups of trajectories: not read")
        return _grouped(file, path, source, groups)
    shown = ", ".join(repr(key) for key in sorted(keys)[:8]) or "none"
    raise NotPdebenchError(
        f"{path}: not in a layout of PDEBench: keys found: {shown}; expected: {_LAYOUTS}",
        hint="--source arrays reads arrays of your own, --source well and pdearena files of those projects",
    )


def _grouped(file: h5py.File, path: Path, source: str, names: list[str]) -> list[Survey]:
    """Shallow water and diffusion-reaction: one group per trajectory, `data` (time, x, y, component)."""
    surveys: dict[tuple[str, tuple[int, int], Extent], Survey] = {}
    faults: list[LeftOut] = []
    for name in names:
        fault = _group_fault(file[name])
        if fault:
            faults.append(LeftOut(source=source, id=name, reason=fault))
            continue
        group = file[name]
        data, grid = group["data"], group["grid"]
        shape: tuple[int, int] = data.shape[1:3]
        physics = "shallow_water" if data.shape[3] == 1 else "diffusion_reaction"
        try:
            extent, strange = _extents(path, grid["x"], grid["y"])
        except SourceError as error:
            faults.append(LeftOut(source=source, id=name, reason=error.message.removeprefix(f"{path}: ")))
            continue
        survey = surveys.get((physics, shape, extent))
        if survey is None:
            frame_bytes = int(np.prod(data.shape[1:])) * data.dtype.itemsize
            survey = Survey(path, source, physics, "grouped", None, shape, extent, frame_bytes, strange=strange)
            surveys[physics, shape, extent] = survey
        time = grid["t"][:].astype(np.float64)
        if (wrong := _time_fault(time)) is not None:
            faults.append(LeftOut(source=source, id=name, reason=f"key 'grid/t': {wrong}"))
            continue
        numbers = _config(group.attrs) or _config(file.attrs)
        survey.members.append(
            Member(
                id=name,
                item=name,
                time=time,
                parameters=_picked(numbers, PARAMETERS.get(physics, ())),
                constants=_picked(numbers, CONSTANTS[physics]),
            )
        )
    if not any(survey.members for survey in surveys.values()):
        raise SourceError(f"{path}: trajectory {faults[0].id!r}: {faults[0].reason}")
    first = next(survey for survey in surveys.values() if survey.members)
    first.rejected.extend(faults)
    for survey in surveys.values():
        survey.members = _with_swept(survey.members)
    return list(surveys.values())


def _with_swept(members: list[Member]) -> list[Member]:
    """Constants that differ between the trajectories of one file were swept: they are parameters of the rows."""
    shared = set.intersection(*(set(member.constants) for member in members)) if members else set()
    swept = {key for key in shared if len({member.constants[key] for member in members}) > 1}
    return [
        replace(
            member,
            parameters={**member.parameters, **{key: member.constants[key] for key in sorted(swept)}},
            constants={key: value for key, value in member.constants.items() if key not in swept},
        )
        for member in members
    ]


def _group_fault(group: h5py.Group) -> str | None:
    """Says why a group is no trajectory, or returns None if it is one."""
    for key in ("data", "grid/x", "grid/y", "grid/t"):
        if key not in group or not isinstance(group[key], h5py.Dataset):
            return f"key {key!r} is missing; found {_names(group)}"
    for key in ("grid/x", "grid/y", "grid/t"):
        if group[key].ndim != 1:
            return f"wrong shape: key {key!r} has shape {group[key].shape}, one axis was expected"
    data = group["data"]
    time, x, y = (group[f"grid/{axis}"].shape[0] for axis in "txy")
    if data.ndim != 4 or data.shape[:3] != (time, x, y) or data.shape[3] not in (1, 2):
        return (
            f"wrong shape: key 'data' has shape {data.shape}, expected ({time}, {x}, {y}, 1) for shallow water or "
            f"({time}, {x}, {y}, 2) for diffusion-reaction, from 'grid'"
        )
    return _type_fault("data", data)


def _compressible(file: h5py.File, path: Path, source: str) -> Survey:
    """Compressible Navier-Stokes: four arrays (trajectory, time, x, y) and three coordinates."""
    _require(file, path, (*COMPRESSIBLE_KEYS, "x-coordinate", "y-coordinate", "t-coordinate"))
    leader = file[COMPRESSIBLE_KEYS[0]]
    x, y = file["x-coordinate"].shape[0], file["y-coordinate"].shape[0]
    if leader.ndim != 4 or leader.shape[2:] != (x, y):
        raise SourceError(
            f"{path}: key 'Vx' has shape {leader.shape}, expected (trajectory, time, {x}, {y}) from the coordinates"
        )
    for key in COMPRESSIBLE_KEYS:
        if file[key].shape != leader.shape:
            raise SourceError(f"{path}: key {key!r} has shape {file[key].shape}, expected {leader.shape} as 'Vx'")
        if fault := _type_fault(key, file[key]):
            raise SourceError(f"{path}: {fault}")
    count, frames = leader.shape[:2]
    stamps = file["t-coordinate"].shape[0]
    # PDEBench's t-coordinate holds cell edges: one entry more than there are frames.
    if stamps not in (frames, frames + 1):
        raise SourceError(f"{path}: key 't-coordinate' has shape ({stamps},), expected ({frames + 1},) or ({frames},)")
    time = file["t-coordinate"][:frames].astype(np.float64)
    if fault := _time_fault(time):
        raise SourceError(f"{path}: key 't-coordinate': {fault}")
    survey = Survey(path, source, "compressible_ns", "compressible", named_kind(path.stem), (x, y))
    survey.extent, survey.strange = _extents(path, file["x-coordinate"], file["y-coordinate"])
    survey.boundary = named_boundary(path.stem)
    survey.frame_bytes = 4 * x * y * leader.dtype.itemsize
    survey.at_once = trajectories_at_once([file[key] for key in COMPRESSIBLE_KEYS])
    constants = {**_compressible_constants(file, path), "gamma": _GAMMA}
    survey.members = [Member(f"{index:04d}", index, time, {}, constants) for index in range(count)]
    return survey


def _compressible_constants(file: h5py.File, path: Path) -> dict[str, float]:
    """Mach number and viscosities from the attributes; from the file's name, with a warning, where they are missing."""
    constants = {key: _number(file.attrs[key]) for key in ("M", "eta", "zeta") if key in file.attrs}
    known = {key: _round(value) for key, value in constants.items() if value is not None}
    missing = [key for key in ("M", "eta", "zeta") if key not in known]
    if missing:
        numbers = {key: _number(named_constant(path.stem, key)) for key in missing}
        told = {key: value for key, value in numbers.items() if value is not None}
        known.update({key: _round(value) for key, value in told.items()})
        where = f"taken from its name: {told}" if told else "and its name does not tell: left out"
        warn(f"{path}: attributes {', '.join(missing)} are missing, {where}")
    return {key: known[key] for key in ("M", "eta", "zeta") if key in known}


def _incompressible(file: h5py.File, path: Path, source: str) -> Survey:
    """Incompressible Navier-Stokes: `velocity` (trajectory, time, x, y, 2), `particles` (..., 1), `t`."""
    _require(file, path, (*INCOMPRESSIBLE_KEYS, "t"))
    velocity, particles = file["velocity"], file["particles"]
    if velocity.ndim != 5 or velocity.shape[4] != 2:
        raise SourceError(f"{path}: key 'velocity' has shape {velocity.shape}, expected (trajectory, time, x, y, 2)")
    expected = (*velocity.shape[:4], 1)
    if particles.shape != expected:
        raise SourceError(f"{path}: key 'particles' has shape {particles.shape}, expected {expected}")
    count, frames, x, y = velocity.shape[:4]
    if file["t"].shape not in ((count, frames), (frames,)):
        raise SourceError(f"{path}: key 't' has shape {file['t'].shape}, expected ({count}, {frames})")
    for key in INCOMPRESSIBLE_KEYS:
        if fault := _type_fault(key, file[key]):
            raise SourceError(f"{path}: {fault}")
    times = np.broadcast_to(file["t"][:].astype(np.float64), (count, frames))
    numbers = _picked(_config(file.attrs), CONSTANTS["incompressible_ns"])
    constants = {"viscosity": next(iter(numbers.values()))} if numbers else {}
    survey = Survey(path, source, "incompressible_ns", "incompressible", None, (x, y))
    survey.at_once = trajectories_at_once([velocity, particles])
    survey.frame_bytes = x * y * (2 * velocity.dtype.itemsize + particles.dtype.itemsize)
    for index in range(count):
        name = f"{index:04d}"
        if fault := _time_fault(times[index]):
            survey.reject(name, f"key 't': {fault}")
        else:
            survey.members.append(Member(name, index, times[index], {}, constants))
    return survey


def _require(file: h5py.File, path: Path, keys: tuple[str, ...]) -> None:
    for key in keys:
        if key not in file:
            raise SourceError(f"{path}: key {key!r} is missing; found {_names(file)}")
        if not isinstance(file[key], h5py.Dataset):
            raise SourceError(f"{path}: key {key!r} is a group, an array was expected")
        if key.endswith("-coordinate") and file[key].ndim != 1:
            raise SourceError(f"{path}: key {key!r} has shape {file[key].shape}, one axis was expected")


def _names(group: h5py.Group) -> str:
    return ", ".join(repr(key) for key in sorted(group)) or "no keys"


def _type_fault(key: str, data: h5py.Dataset) -> str | None:
    return None if data.dtype.kind in "fiu" else f"wrong type: key {key!r} holds {data.dtype}, numbers were expected"


def _time_fault(time: NDArray[np.float64]) -> str | None:
    """Times must be finite and increase; an unfinished simulation leaves zeros at the end."""
    if time.size < 2:
        return f"{time.size} frames, at least 2 were expected"
    if not np.isfinite(time).all():
        return "times are not finite"
    steps = np.diff(time)
    if (steps <= 0).any():
        return f"time does not increase after frame {int(np.argmax(steps <= 0))}: the simulation was not finished"
    return None


def _extents(path: Path, x: h5py.Dataset, y: h5py.Dataset) -> tuple[Extent, tuple[str, ...]]:
    """Edges of the domain along x and y, and what is strange about the coordinates.

    Raises:
        SourceError: they fall.
    """
    (x_edges, x_strange), (y_edges, y_strange) = _edges(path, "x", x), _edges(path, "y", y)
    return (x_edges, y_edges), tuple(strange for strange in (x_strange, y_strange) if strange is not None)


def _edges(path: Path, axis: str, coordinate: h5py.Dataset) -> tuple[tuple[float, float], str | None]:
    values = coordinate[:].astype(np.float64)
    if values.size < 2 or not np.isfinite(values).all():
        return (0.0, 1.0), None
    (low, high), strange = domain_edges(path, coordinate.name.rpartition("/")[2], axis, values, coordinate.dtype)
    return (round(low, 5), round(high, 5)), strange


def _config(attributes: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of the YAML attribute `config`, by their innermost key."""
    text = attributes.get("config")
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    if not isinstance(text, str):
        return {}
    try:
        document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # Both are safe.
    except yaml.YAMLError:
        return {}
    numbers: dict[str, float] = {}
    _collect(document, numbers)
    return numbers


def _collect(node: object, numbers: dict[str, float]) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, dict):
                _collect(value, numbers)
            elif (number := _number(value)) is not None:
                numbers.setdefault(str(key), number)


def _number(value: object) -> float | None:
    """A float from a number, a one-element array, or text such as 1e-3, which YAML 1.1 takes for a string."""
    if isinstance(value, bool | dict | list) or value is None:
        return None
    try:
        number = float(value.item() if isinstance(value, np.ndarray | np.generic) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _round(value: float) -> float:
    """Six significant digits, so that a constant stored in float32 is the number that was meant."""
    return float(f"{value:.6g}")


def _picked(numbers: Mapping[str, float], keys: tuple[str, ...]) -> dict[str, float]:
    return {key: numbers[key] for key in keys if key in numbers}
