"""Times and coordinates of array files: even ones give the time step and the extent, others are refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polycli.console import warn
from polycli.errors import SourceError
from polycli.mpp.recipe.arrays import ArraysSection, Axis, Extent
from polycli.mpp.sources.array_components import plain_name
from polycli.mpp.sources.array_files import ArrayFile
from polycli.mpp.sources.array_proposals import NAMES, line_along
from polycli.mpp.sources.array_read import Placed
from polycli.mpp.sources.axes import domain_edges, refuse_uneven
from polycli.mpp.sources.frames import UNEVEN

#: Two time steps that differ by less than this part are one: people round what they type.
_SAME = 1e-3
#: The axes of the grid.
SPACE: tuple[Literal["x", "y"], ...] = ("x", "y")


def find_times(
    file: ArrayFile, section: ArraysSection, placed: Placed, shape: tuple[int, int]
) -> NDArray[np.float64] | None:
    """Times of the frames, which all trajectories share; None where the file has none. `shape` is (trajectory, time).

    Raises:
        SourceError: they are not of the frames, fall, are uneven, or differ between trajectories.
    """
    name = beside(file, placed, "time") if section.time is None else section.time
    if not name:
        return None
    if name not in file.arrays:
        raise SourceError(f"{file.path}: there is no array {name!r} of times", hint="arrays.time names it")
    info, frames = file.arrays[name], shape[1]
    if not info.is_numeric:
        if section.dt is None or section.time is not None:
            raise SourceError(
                f"{file.path}: the times {name!r} are {info.dtype}, numbers were expected",
                hint="--set arrays.dt=NUMBER says the time between frames",
            )
        warn(f"{file.path}: the times {name!r} are {info.dtype}: not read, arrays.dt {section.dt:g} is taken")
        return None
    if info.shape not in ((frames,), shape, (shape[0], frames, 1)):
        raise SourceError(
            f"{file.path}: the times {name!r} are {info.shape}, ({frames},) was expected, for {placed.name!r} has "
            f"{frames} frames along its axis time",
            hint='arrays.axes says which axis is time, arrays.time which array has the times ("": none)',
        )
    times = file.read(name).astype(np.float64)
    if times.ndim > 1:
        times = times.reshape(shape)
        if np.abs(times - times[0]).max() > UNEVEN * np.abs(np.diff(times[0])).max(initial=0):
            raise SourceError(
                f"{file.path}: the times {name!r} differ between trajectories, equal ones were expected",
                hint="put trajectories of different times into different files",
            )
        times = times[0]
    refuse_uneven(file.path, name, times, info.dtype)
    return times


def beside(file: ArrayFile, placed: Placed, axis: Axis) -> str | None:
    """The array of times or coordinates of an axis: that of its dimension's name, else of a usual name.

    It stands in the group of the array, or at the root.
    """
    info = file.arrays[placed.name]
    named = [info.dims[placed.axes.index(axis)]] if info.dims else []
    group = placed.name.rpartition("/")[0]
    for name in (*named, *NAMES[axis]):
        for path in (f"{group}/{name}" if group else name, name):
            if path in file.arrays and path != placed.name and len(file.arrays[path].shape) in {1, 2}:
                return path
    return None


def time_step(file: ArrayFile, section: ArraysSection, times: NDArray[np.float64] | None) -> float | None:
    """The time between frames: that of the file's times, and of the settings; None where neither tells.

    Raises:
        SourceError: both do, and they disagree.
    """
    if times is None:
        return section.dt
    found = float((times[-1] - times[0]) / (times.size - 1))
    if section.dt is not None:
        if abs(found - section.dt) > _SAME * section.dt:
            raise SourceError(
                f"{file.path}: its times are {found:.6g} apart, arrays.dt says {section.dt:g}",
                hint="leave arrays.dt out, or take the times out of the file",
            )
        return section.dt
    return float(f"{found:.6g}")


def find_extent(
    file: ArrayFile, section: ArraysSection, placed: Placed, grid: tuple[int, int]
) -> tuple[Extent, tuple[str, ...]]:
    """The edges of the domain around cells whose middles are the coordinates, and what is strange about these.

    Raises:
        SourceError: coordinates are not of the grid, fall, or do not fit the extent that was given.
    """
    edges: list[tuple[float, float]] = []
    strange: list[str] = []
    for index, axis in enumerate(SPACE):
        points, given = grid[index], section.extent[index] if section.extent else None
        found = _edges(file, section, placed, axis=axis, points=points, strange=strange)
        if given is not None and found is not None:
            cell = (found[1] - found[0]) / points
            if max(abs(given[0] - found[0]), abs(given[1] - found[1])) > 1.001 * cell:
                raise SourceError(
                    f"{file.path}: its coordinates fill {found[0]:.6g} to {found[1]:.6g} along {axis}, arrays.extent "
                    f"says {given[0]:g} to {given[1]:g}",
                    hint="leave arrays.extent out, or take the coordinates out of the file",
                )
        edges.append(given or found or (0.0, 1.0))
    return (edges[0], edges[1]), tuple(strange)


def assumed_extent(file: ArrayFile, section: ArraysSection, placed: Placed, grid: tuple[int, int]) -> str:
    """Return a sentence on the axes along which nothing says the extent, so that 0 to 1 is taken; empty if all do.

    It names arrays that may be the coordinates. Who says that there are none has been told.
    """
    silent = [
        axis
        for axis in SPACE
        if section.extent is None
        and axis not in section.coordinates
        and ((usual := beside(file, placed, axis)) is None or usual in _named_as_fields(section))
    ]
    if not silent:
        return ""
    found = coordinates_beside(file, placed.name, dict(zip(SPACE, grid, strict=True)), section)
    fitting = {axis: name for axis, name in found.items() if axis in silent and "/" not in name}
    along = f"nothing says how far the domain reaches along {' and '.join(silent)}: 0 to 1 is taken"
    if not fitting:
        return f"{along}; --set 'arrays.extent=[[0, LENGTH], [0, LENGTH]]' says it"
    asked = " and ".join(f"is {name!r} {axis}" for axis, name in fitting.items())
    return f"{along}; {asked}? Then {coordinates_line({**section.coordinates, **fitting})}"


def coordinates_beside(
    file: ArrayFile, array: str, lengths: Mapping[str, int], section: ArraysSection
) -> dict[Literal["x", "y"], str]:
    """Return by axis an array that may hold its coordinates, where neither the settings nor a usual name say one."""
    usual = [name for name in file.arrays if len(file.arrays[name].shape) in {1, 2}]
    found = {
        axis: line_along(file, array, axis, lengths[axis], section)
        for axis in SPACE
        if axis in lengths and axis not in section.coordinates and not set(NAMES[axis]) & set(usual)
    }
    return {axis: name for axis, name in found.items() if name is not None}


def coordinates_line(names: Mapping[Literal["x", "y"], str]) -> str:
    """Return the setting that takes arrays as coordinates."""
    return f"--set 'arrays.coordinates={{{', '.join(f'{axis}: {name}' for axis, name in names.items())}}}'"


def _edges(
    file: ArrayFile, section: ArraysSection, placed: Placed, *, axis: Literal["x", "y"], points: int, strange: list[str]
) -> tuple[float, float] | None:
    name = section.coordinates.get(axis, beside(file, placed, axis))
    if not name or (axis not in section.coordinates and name in _named_as_fields(section)):
        return None
    if name not in file.arrays:
        raise SourceError(f"{file.path}: there is no array {name!r} of coordinates", hint="arrays.coordinates names it")
    info = file.arrays[name]
    line = _line(file, name) if info.is_numeric else None
    if line is None or line.shape != (points,):
        if section.extent is not None and axis not in section.coordinates:
            warn(f"{file.path}: {name!r} is no line of {points} coordinates along {axis}: arrays.extent is taken")
            return None
        raise SourceError(
            f"{file.path}: the coordinates {name!r} are {info.dtype} {info.shape}, ({points},) was expected, for "
            f"{placed.name!r} has {points} points along {axis}",
            hint="arrays.axes says which axis is x; --set 'arrays.extent=[[0, 1], [0, 1]]' leaves coordinates aside",
        )
    edges, odd = domain_edges(file.path, name, axis, line, info.dtype)
    strange += [odd] if odd else []
    return edges


def _line(file: ArrayFile, name: str) -> NDArray[np.float64]:
    """Coordinates along their own axis, of a line or of a mesh as `meshgrid` makes it; else the array as it is."""
    values = file.read(name).astype(np.float64)
    if values.ndim == 2:
        for axis in (0, 1):
            if (values == values.take([0], axis=axis)).all():
                line: NDArray[np.float64] = values[0] if axis == 0 else values[:, 0]
                return line
    return values


def _named_as_fields(section: ArraysSection) -> set[str]:
    chosen = {section.array} if section.array else set()
    return chosen | (set(map(plain_name, section.fields.values())) if isinstance(section.fields, dict) else set())
