"""Sets of arrays of the same objects, in a folder of npy files, an npz or an HDF5 file, read a few rows at a time.

Nothing is unpickled. An npz whose members are not compressed is read where they lie in it. A compressed one is unpacked
from its beginning on, row by row, and as a whole only where rows are asked for in no order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.table_files import HDF5_SUFFIXES
from polycli.astroclip.sources.hdf5_files import read_rows
from polycli.files.hdf5 import open_hdf5
from polycli.files.numpy_files import ArrayHeader, PackedRows, check_npz, map_npz, npz_headers, open_npy, read_npz

#: How often a compressed array is unpacked from its beginning again before it is unpacked as a whole: a look at some
#: rows and one at all do so once each, and a pairing that puts rows in another order with every block.
_RESTARTS = 4
SUFFIXES = (".npy", ".npz", *HDF5_SUFFIXES)


@dataclass(frozen=True)
class ArraySet:
    """Arrays by name, all of the same objects. Picklable: arrays are opened when they are read."""

    name: str
    #: By array: the file that it is in, and its key there; the key of an npy file is empty.
    members: dict[str, tuple[Path, str]]

    def whole(self, array: str) -> NDArray[Any]:
        """Reads all of a small array."""
        path, key = self.members[array]
        if path.name.lower().endswith(HDF5_SUFFIXES):
            with open_hdf5(path) as file:
                return np.asarray(file[key][()])
        return np.array(_opened(path, key))

    def rows(self, array: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Reads some rows of an array."""
        path, key = self.members[array]
        if path.name.lower().endswith(HDF5_SUFFIXES):
            with open_hdf5(path) as file:
                return read_rows(file[key], rows)
        packed = _packed(path, key, path.stat().st_mtime_ns) if key and map_npz(path, key) is None else None
        if packed is not None and packed.has_rows and packed.restarts < _RESTARTS:
            return packed.read(rows)
        return np.asarray(_opened(path, key)[rows])

    def dtype(self, array: str) -> np.dtype[Any]:
        """The type of an array's values, from its header."""
        return self._header(array).dtype

    def shape(self, array: str) -> tuple[int, ...]:
        """Returns the shape of an array, from its header."""
        return self._header(array).shape

    def _header(self, array: str) -> ArrayHeader:
        path, key = self.members[array]
        if path.name.lower().endswith(HDF5_SUFFIXES):
            with open_hdf5(path) as file:
                return ArrayHeader(tuple(file[key].shape), file[key].dtype)
        if key:
            return _headers(path, path.stat().st_mtime_ns)[key]
        found = open_npy(path)
        return ArrayHeader(found.shape, found.dtype)


def array_sets(files: Sequence[tuple[Path, str]]) -> list[ArraySet]:
    """The sets of these files; npy files of one folder are one.

    Raises:
        SourceError: a file is damaged.
    """
    sets: dict[str, ArraySet] = {}
    for path, name in files:
        if path.suffix.lower() == ".npy":
            folder = str(path.parent)
            known = sets.get(folder, ArraySet(path.parent.name or str(path.parent.resolve()), {}))
            sets[folder] = replace(known, members={**known.members, path.stem: (path, "")})
        elif path.suffix.lower() == ".npz":
            # Its checksums, once: rows are read from between them later.
            check_npz(path)
            sets[str(path)] = ArraySet(name, {key: (path, key) for key in npz_headers(path)})
        else:
            with open_hdf5(path) as file:
                keys = [key for key, item in file.items() if hasattr(item, "shape")]
            sets[str(path)] = ArraySet(name, {key: (path, key) for key in keys})
    return list(sets.values())


def _opened(path: Path, key: str) -> NDArray[Any]:
    """An array, mapped into memory and let go of after each use, so that what was read does not count as held.

    Raises:
        SourceError: the file is damaged, or holds Python objects.
    """
    if not key:
        return open_npy(path)
    mapped = map_npz(path, key)
    return _unpacked(path, key, path.stat().st_mtime_ns) if mapped is None else mapped


@lru_cache(maxsize=8)
def _packed(path: Path, key: str, changed: int) -> PackedRows:
    """A compressed array, unpacked up to where this process has read it, until the file is changed."""
    del changed
    return PackedRows(path, key)


@lru_cache(maxsize=4)
def _unpacked(path: Path, key: str, changed: int) -> NDArray[Any]:
    """Reads an array once for each process, until the file is changed."""
    del changed
    return read_npz(path, key)


@lru_cache(maxsize=16)
def _headers(path: Path, changed: int) -> dict[str, ArrayHeader]:
    del changed
    return npz_headers(path)
