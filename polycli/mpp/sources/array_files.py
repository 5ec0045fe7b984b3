"""Files of arrays under one face: npy, npz, HDF5, NetCDF4 and zarr, with shapes, dimension names and slices.

Numbers that NetCDF's conventions keep packed (`scale_factor`, `add_offset`, `_FillValue`) come unpacked; what is marked
as unknown is NaN.
"""

from __future__ import annotations

import base64
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError
from polycli.files.hdf5 import COPY_AGAIN, open_hdf5
from polycli.files.numpy_files import npz_headers, open_npy, read_npz
from polycli.files.plain import reason_of
from polycli.paths import files_below
from polycli.store.manifest import MANIFEST_NAME

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".nc", ".nc4", ".netcdf")
SUFFIXES = (".npy", ".npz", ".zarr", *HDF5_SUFFIXES)
Index = tuple[int | slice, ...]
_ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")
_PACKING = ("scale_factor", "add_offset", "_FillValue", "missing_value")


@dataclass(frozen=True)
class ArrayInfo:
    """The shape, type and axes of an array, as its file states them before any number is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    #: Names of its axes, where the file has them.
    dims: tuple[str, ...] | None = None
    #: Lengths of the pieces in which it is compressed.
    chunks: tuple[int, ...] | None = None
    units: str = ""
    packing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_numeric(self) -> bool:
        """Whether it holds real numbers."""
        return self.dtype.kind in "fiu"


@dataclass(frozen=True)
class ArrayFile:
    """An open file: its arrays by name, and how a part of one is read."""

    path: Path
    arrays: Mapping[str, ArrayInfo]
    _part: Callable[[str, Index], Any]
    #: Numbers that stand as attributes at groups of HDF5 and zarr: `@nu` at the root, `run0/@nu` below.
    attributes: Mapping[str, float] = field(default_factory=dict)

    def read(self, name: str, index: Index = ()) -> NDArray[Any]:
        """Part of an array, unpacked.

        Raises:
            SourceError: these numbers cannot be read.
        """
        try:
            values = np.asarray(self._part(name, index))
        except SourceError:
            raise
        except Exception as error:  # zarr's codecs raise their own kinds, h5py OSError, KeyError and RuntimeError.
            raise SourceError(
                f"{self.path}: array {name!r} cannot be read: {reason_of(error)}", hint=COPY_AGAIN
            ) from error
        return _unpacked(values, self.arrays[name].packing)


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr group or array, and no store of polycli, whole or not."""
    return path.is_dir() and any((path / mark).is_file() for mark in _ZARR_MARKS) and not _is_store(path)


def files_of(path: Path) -> list[tuple[Path, str]]:
    """The files that an array file consists of, with their names below its folder: one, or all in a zarr folder."""
    if not path.is_dir():
        return [(path, path.name)]
    return [(file, f"{path.name}/{file.relative_to(path).as_posix()}") for file in files_below(path)]


@contextmanager
def open_arrays(path: Path) -> Iterator[ArrayFile]:
    """The arrays of a file; its name's ending says which kind, else its content.

    Raises:
        SourceError: it is damaged, or of no kind that is read here.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        yield _zarr(path)
    elif suffix == ".npy":
        array = open_npy(path)
        yield ArrayFile(path, {path.stem: ArrayInfo(array.shape, array.dtype)}, lambda _, index: array[index])
    elif suffix == ".npz":
        infos = {name: ArrayInfo(header.shape, header.dtype) for name, header in npz_headers(path).items()}
        stamp = path.stat().st_mtime_ns
        yield ArrayFile(path, infos, lambda name, index: _of_npz(path, name, stamp)[index])
    else:
        if not h5py.is_hdf5(path):
            raise SourceError(
                f"{path}: {_not_hdf5(path)}, an array file was expected",
                hint=f"files whose names end in {', '.join(SUFFIXES)} are read",
            )
        with open_hdf5(path) as file:
            numbers = dict(_attribute_numbers("", file))
            file.visititems(
                lambda name, node: numbers.update(
                    _attribute_numbers(name, node) if isinstance(node, h5py.Group) else ()
                )
            )
            yield ArrayFile(path, _hdf5_infos(file), lambda name, index: file[name][index], numbers)


def _not_hdf5(path: Path) -> str:
    with path.open("rb") as file:
        if file.read(3) == b"CDF":
            return "NetCDF of the old, classic kind (nccopy -k nc4 OLD NEW makes the new one)"
    return "no HDF5 file"


def _of_npz(path: Path, name: str, stamp: int) -> NDArray[Any]:
    """A member of an npz file as a whole: it may be compressed as one piece.

    Those of one file are kept, since the blocks of a trajectory are read from all of them in turns.
    """
    unpacked = _unpacked_npz(path, stamp)
    if name not in unpacked:
        unpacked[name] = read_npz(path, name)
    return unpacked[name]


@lru_cache(maxsize=1)
def _unpacked_npz(path: Path, stamp: int) -> dict[str, NDArray[Any]]:
    del path, stamp
    return {}


def _attribute_numbers(group: str, node: Any) -> Iterator[tuple[str, float]]:  # noqa: ANN401  # h5py's or zarr's group.
    """The attributes of a group that are one number each."""
    for name in node.attrs:
        try:
            found = np.asarray(node.attrs[name])
        except (OSError, TypeError, ValueError):
            continue  # Of a type that numpy has no word for, so no number.
        if found.size == 1 and found.dtype.kind in "fiu":
            yield f"{group}/@{name}" if group else f"@{name}", float(found.reshape(())[()])


def _hdf5_infos(file: h5py.File) -> dict[str, ArrayInfo]:
    infos: dict[str, ArrayInfo] = {}

    def look(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and node.shape is not None:
            infos[name] = ArrayInfo(
                node.shape, node.dtype, _scales(node, name), node.chunks, _text(node.attrs.get("units")), _packing(node)
            )

    file.visititems(look)
    return infos


def _scales(node: h5py.Dataset, name: str) -> tuple[str, ...] | None:
    """Names of the axes from the dimension scales on them, as NetCDF4 writes them, or from their labels."""
    if h5py.h5ds.is_scale(node.id):
        return (name.rpartition("/")[2],) if node.ndim == 1 else None
    names = [axis[0].name.rpartition("/")[2] if len(axis) else axis.label for axis in node.dims]
    return tuple(names) if names and all(names) else None


def _zarr(path: Path) -> ArrayFile:
    import zarr

    try:
        node = zarr.open(path, mode="r")
        found = {path.stem: node} if isinstance(node, zarr.Array) else dict(_arrays_below(node))
    except Exception as error:  # Each kind of damage has an exception of its own, across versions of zarr.
        raise SourceError(
            f"{path}: the zarr folder cannot be read: {reason_of(error)}", hint="copy it again"
        ) from error
    infos = {
        name: ArrayInfo(
            array.shape,
            np.dtype(array.dtype),
            _zarr_dims(array),
            array.chunks,
            _text(array.attrs.get("units")),
            _zarr_packing(array),
        )
        for name, array in found.items()
        if getattr(array.dtype, "kind", "O") != "O"
    }
    groups = {array.rpartition("/")[0] for array in found} if isinstance(node, zarr.Group) else set()

    def at(group: str) -> object:
        return node[group] if group and isinstance(node, zarr.Group) else node

    numbers = {name: number for group in sorted({"", *groups}) for name, number in _attribute_numbers(group, at(group))}
    return ArrayFile(path, infos, lambda name, index: found[name][index], numbers)


def _arrays_below(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401  # zarr's group.
    import zarr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Files that are no part of the hierarchy.
        members = sorted(group.members())
    for name, member in members:
        if isinstance(member, zarr.Array):
            yield f"{prefix}{name}", member
        else:
            yield from _arrays_below(member, f"{prefix}{name}/")


def _zarr_dims(array: Any) -> tuple[str, ...] | None:  # noqa: ANN401
    """The names of the axes, as zarr v3 keeps them, or as xarray writes them into v2."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    return tuple(map(str, names)) if names and all(names) and len(names) == array.ndim else None


def _zarr_packing(array: Any) -> dict[str, object]:  # noqa: ANN401
    packing = _packing(array)
    fill = array.fill_value
    # xarray keeps _FillValue of v2 there; zero is zarr's own default and marks nothing.
    if (
        array.metadata.zarr_format == 2
        and "_FillValue" not in packing
        and fill is not None
        and np.isfinite(fill)
        and fill
    ):
        packing["_FillValue"] = [float(fill)]
    return packing


def _packing(node: Any) -> dict[str, object]:  # noqa: ANN401
    packing: dict[str, object] = {"_Unsigned": str(node.attrs["_Unsigned"])} if "_Unsigned" in node.attrs else {}
    found = {name: _numbers(node.attrs[name]) for name in _PACKING if name in node.attrs}
    return {**packing, **{name: numbers for name, numbers in found.items() if numbers}}


def _numbers(value: object) -> list[float]:
    """The numbers of an attribute, none where it holds none; xarray writes floats into zarr v3 as base64."""
    try:
        if isinstance(value, str) and len(value) == 12:
            return [struct.unpack("<d", base64.b64decode(value, validate=True))[0]]
        return [float(number) for number in np.ravel(np.asarray(value)).tolist()]
    except (TypeError, ValueError, struct.error):
        return []


def _unpacked(values: NDArray[Any], packing: Mapping[str, Any]) -> NDArray[Any]:
    """Numbers as they are meant, after NetCDF's conventions."""
    if not packing or values.dtype.kind not in "fiu":
        return values
    if str(packing.get("_Unsigned")).lower() == "true" and values.dtype.kind == "i":
        values = values.view(values.dtype.str.replace("i", "u"))
    marks = [mark for name in ("_FillValue", "missing_value") for mark in packing.get(name, ())]
    unknown = np.isin(values, np.array(marks, dtype=np.float64))
    (scale, *_), (offset, *_) = packing.get("scale_factor", (1.0,)), packing.get("add_offset", (0.0,))
    if scale != 1 or offset != 0:
        values = values.astype(np.float64) * scale + offset
    return np.where(unknown, np.nan, values) if unknown.any() else values


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def _is_store(path: Path) -> bool:
    return (path / MANIFEST_NAME).exists()
