"""Looks at the datasets of HDF5 files, with sentences where something is not as it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.table_files import nearest_names
from polycli.errors import SourceError
from polycli.files.hdf5 import is_hdf5, open_hdf5

#: Rows that lie within so many times their number are read as one piece: faster than one by one.
_DENSE = 4


def holds(path: Path, suffixes: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Whether a file with one of the endings is HDF5 and has all of these at its root."""
    if not path.name.lower().endswith(suffixes) or not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return all(name in file for name in names)


def dataset(group: Any, name: str, path: Path) -> Any:  # noqa: ANN401  # h5py's objects
    """A dataset of a file or group.

    Raises:
        SourceError: it is not there; the nearest names are in the sentence.
    """
    found = group.get(name) if isinstance(group, h5py.Group) else None
    if not isinstance(found, h5py.Dataset):
        where = f"{path}{'' if group.name == '/' else f': group {group.name}'}"
        raise SourceError(f"{where}: has no dataset {name}", hint=nearest_names(name, list(group)))
    return found


def column(group: Any, name: str, path: Path) -> NDArray[Any]:  # noqa: ANN401
    """A dataset as a whole: one value, or one row of values, for each object.

    Raises:
        SourceError: it is not there, or holds something else.
    """
    values = dataset(group, name, path)[()]
    if not isinstance(values, np.ndarray) or values.ndim < 1 or values.dtype.kind not in "biufSUO":
        raise SourceError(f"{path}: {name} holds no values of objects")
    return values


def read_rows(array: Any, rows: NDArray[np.int64]) -> NDArray[Any]:  # noqa: ANN401
    """Some rows of a dataset, in any order."""
    start, stop = int(rows.min()), int(rows.max()) + 1
    if stop - start <= _DENSE * len(rows):
        return np.asarray(array[start:stop])[rows - start]
    return np.stack([array[row] for row in rows.tolist()])


def check_images(
    shape: tuple[int, ...], bands: tuple[str, ...], *, band_last: bool, what: str, hint: str | None = None
) -> tuple[int, int]:
    """(height, width) of images of this shape.

    Raises:
        SourceError: the axes are not as declared; where the bands are on another axis, it is said on which.
    """
    count = len(bands)
    expected = f"(object, y, x, {count})" if band_last else f"(object, {count}, y, x)"
    if len(shape) != 4:
        raise SourceError(f"{what}: images are {shape}, four axes {expected} were expected", hint=hint)
    here, there = (3, 1) if band_last else (1, 3)
    if shape[here] == count:
        return (shape[1], shape[2]) if band_last else (shape[2], shape[3])
    named = f"the {count} bands {', '.join(bands)}"
    if shape[there] == count:
        order = "(H, W, C)" if not band_last else "(C, H, W)"
        wanted = "(C, H, W)" if not band_last else "(H, W, C)"
        raise SourceError(
            f"{what}: images are {shape}: {named} seem to be on the {'last' if there == 3 else 'second'} axis, "
            f"{order}, and {wanted} = {expected} was expected; nothing is transposed unless it is asked for",
            hint=hint,
        )
    raise SourceError(f"{what}: images are {shape}, {expected} was expected for {named}", hint=hint)


def same_length(lengths: dict[str, int], path: Path) -> int:
    """Returns the number of objects, which all datasets must agree on.

    Raises:
        SourceError: datasets differ.
    """
    first, count = next(iter(lengths.items()))
    for name, length in lengths.items():
        if length != count:
            raise SourceError(f"{path}: {name} has {length} rows, {count} was expected from {first}")
    return count
