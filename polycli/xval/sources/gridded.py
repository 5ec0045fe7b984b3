"""Gridded fields over time from NetCDF (classic and 4) and zarr, read by their own description (CF conventions)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError
from polycli.files.hdf5 import open_hdf5
from polycli.files.plain import open_plain, reason_of

Floats = NDArray[np.float64]
#: What zarr and scipy raise for metadata that they cannot make sense of.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
_TIME_UNITS = re.compile(
    r"(second|minute|hour|day)s? since (\d{1,4}-\d{1,2}-\d{1,2})(?:[ T](\d{1,2}:\d{1,2}(?::\d{1,2})?))?"
)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_CALENDARS = {"standard", "gregorian", "proleptic_gregorian"}
_NAMES = {
    "time": ("time", "valid_time", "t"),
    "latitude": ("latitude", "lat", "y"),
    "longitude": ("longitude", "lon", "x"),
}


@dataclass(frozen=True)
class Field:
    """A variable over (time, latitude, longitude), read a few times at once."""

    name: str
    unit: str
    #: Seconds since 1970, increasing and evenly spaced.
    time: Floats
    #: Degrees.
    latitude: Floats
    longitude: Floats
    #: First time and how many to values (time, latitude, longitude); missing ones are not a number.
    read: Callable[[int, int], Floats]

    @property
    def interval(self) -> float:
        """The seconds between two times."""
        return float(self.time[1] - self.time[0])


@dataclass(frozen=True)
class _Variable:
    """An array of any of the formats."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    attributes: Mapping[str, Any]
    read: Callable[[tuple[slice, ...]], NDArray[Any]]


def open_field(path: Path, name: str) -> Field:
    """The variable `name` of a NetCDF file or a zarr group.

    Raises:
        SourceError: neither of these, no such variable, no latitude, longitude or time, or a calendar of its own.
    """
    variables = _variables(path)
    if name not in variables:
        found = [key for key, variable in variables.items() if len(variable.dims) >= 3]
        raise SourceError(
            f"{path}: there is no variable {name!r}",
            hint=f"--set temperature.variable={found[0]}" if found else "a variable over time, latitude and longitude",
        )
    variable = variables[name]
    axes = {axis: _axis(path, variable, axis, name) for axis in _NAMES}
    extra = [dim for place, dim in enumerate(variable.dims) if place not in axes.values() and variable.shape[place] > 1]
    if extra:
        raise SourceError(
            f"{path}: {name} also has the axis {extra[0]}, time, latitude and longitude alone were expected"
        )
    coordinates = {axis: _coordinate(path, variables, variable, place) for axis, place in axes.items()}
    order = tuple(axes[axis] for axis in _NAMES)

    def read(first: int, count: int) -> Floats:
        cut = [slice(None) if place in order else slice(0, 1) for place in range(len(variable.dims))]
        cut[order[0]] = slice(first, first + count)
        values = _decoded(variable, variable.read(tuple(cut)))
        rest = tuple(place for place in range(len(variable.dims)) if place not in order)
        return values.transpose(*order, *rest).reshape([values.shape[place] for place in order])

    time = _seconds(path, coordinates["time"])
    if len(time) < 2 or not np.allclose(np.diff(time), time[1] - time[0], rtol=1e-6) or time[1] <= time[0]:
        raise SourceError(f"{path}: the times of {name} are not evenly spaced and increasing, {len(time)} were found")
    return Field(
        name=name,
        unit=str(variable.attributes.get("units", "")),
        time=time,
        latitude=_decoded(coordinates["latitude"]),
        longitude=_decoded(coordinates["longitude"]),
        read=read,
    )


def _axis(path: Path, variable: _Variable, axis: str, name: str) -> int:
    for known in _NAMES[axis]:
        if known in variable.dims:
            return variable.dims.index(known)
    raise SourceError(
        f"{path}: {name} has the axes {', '.join(variable.dims)}, none of which is called {' or '.join(_NAMES[axis])}"
    )


def _coordinate(path: Path, variables: Mapping[str, _Variable], variable: _Variable, axis: int) -> _Variable:
    name = variable.dims[axis]
    coordinate = variables.get(name)
    if coordinate is None or coordinate.shape != (variable.shape[axis],):
        raise SourceError(f"{path}: the axis {name} has no coordinate, an array {name} was expected")
    return coordinate


def _decoded(variable: _Variable, raw: NDArray[Any] | None = None) -> Floats:
    """Unpacked by scale and offset; fill values are not a number."""
    raw = variable.read((slice(None),) * len(variable.dims)) if raw is None else raw
    values = raw.astype(np.float64)
    for key in ("_FillValue", "missing_value"):
        if key in variable.attributes:
            values[raw == np.asarray(variable.attributes[key]).ravel()[0]] = np.nan
    scale = float(np.asarray(variable.attributes.get("scale_factor", 1.0)).ravel()[0])
    offset = float(np.asarray(variable.attributes.get("add_offset", 0.0)).ravel()[0])
    return values * scale + offset


def _seconds(path: Path, time: _Variable) -> Floats:
    units, calendar = str(time.attributes.get("units", "")), str(time.attributes.get("calendar", "standard"))
    match = _TIME_UNITS.match(units)
    if match is None or calendar.lower() not in _CALENDARS:
        raise SourceError(
            f"{path}: time is in {units!r}, calendar {calendar!r}; 'hours since YYYY-MM-DD' and a standard "
            "calendar were expected"
        )
    unit, date, clock = match.groups()
    year, month, day = (int(part) for part in date.split("-"))
    hour, minute, second = ([int(part) for part in (clock or "0:0:0").split(":")] + [0])[:3]
    try:
        origin = np.datetime64(f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}", "s")
    except ValueError as error:
        raise SourceError(f"{path}: time is in {units!r}, which begins at no date: {error}") from error
    return _decoded(time) * _SECONDS[unit] + float(origin.astype(np.int64))


def _variables(path: Path) -> dict[str, _Variable]:
    if path.is_dir():
        return _zarr_variables(path)
    try:
        with open_plain(path) as file:
            start = file.read(8)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {reason_of(error)}") from error
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return _hdf5_variables(path)
    if start[:3] == b"CDF" and start[3] in {1, 2}:
        return _classic_variables(path)
    raise SourceError(f"{path}: neither NetCDF nor zarr", hint="--source temperature reads .nc files and zarr groups")


def _zarr_variables(path: Path) -> dict[str, _Variable]:
    import zarr

    try:
        group = zarr.open_group(path, mode="r")
        arrays = dict(group.arrays())
    except _DAMAGE as error:
        raise SourceError(f"{path}: this folder is not a zarr group: {reason_of(error)}") from error
    found = {}
    for name, array in arrays.items():
        dims = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
        if dims is not None:
            attributes = dict(array.attrs)
            found[name] = _Variable(tuple(map(str, dims)), array.shape, attributes, array.__getitem__)  # type: ignore[arg-type]
    return found


def _hdf5_variables(path: Path) -> dict[str, _Variable]:
    import h5py

    found = {}
    with open_hdf5(path) as file:
        for name, data in file.items():
            if not isinstance(data, h5py.Dataset):
                continue
            attributes = {key: _text(value) for key, value in data.attrs.items() if key != "DIMENSION_LIST"}
            dims = tuple(_dimension(file, data, index) or name for index in range(data.ndim))
            found[name] = _Variable(dims, data.shape, attributes, _Hdf5Reader(path, name))
    return found


def _dimension(file: Any, data: Any, axis: int) -> str | None:  # noqa: ANN401  # h5py has no types.
    """The name of the scale on an axis, of which NetCDF-4 writes one for each dimension."""
    references = data.attrs.get("DIMENSION_LIST")
    if references is None or len(references[axis]) == 0:
        return None
    return str(file[references[axis][0]].name).lstrip("/")


@dataclass(frozen=True)
class _Hdf5Reader:
    """Opens the file for each read: no handle is left behind, or carried into another process."""

    path: Path
    name: str

    def __call__(self, cut: tuple[slice, ...]) -> NDArray[Any]:
        with open_hdf5(self.path) as file:
            return np.asarray(file[self.name][cut])


def _classic_variables(path: Path) -> dict[str, _Variable]:
    from scipy.io import netcdf_file

    try:
        with netcdf_file(path, "r", mmap=False) as file:
            return {
                name: _Variable(
                    data.dimensions,
                    data.shape,
                    {key: _text(value) for key, value in data._attributes.items()},  # noqa: SLF001  # no public name
                    # Classic files are small; big ones are NetCDF-4. Native byte order, as everything after expects.
                    data[:].astype(data.typecode(), copy=True).__getitem__,
                )
                for name, data in file.variables.items()
                if data.dimensions
            }
    except _DAMAGE as error:
        raise SourceError(f"{path}: this NetCDF file is damaged: {reason_of(error)}") from error


def _text(value: Any) -> Any:  # noqa: ANN401  # An attribute is anything.
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
