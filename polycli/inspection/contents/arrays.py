"""NumPy files: type, shape and, where they are small enough to be read, the range of the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.console import counted
from polycli.errors import SourceError
from polycli.files.numpy_files import npz_headers, open_npy, read_npz
from polycli.inspection.contents.listing import listing
from polycli.inspection.finding import Finding, byte_size, describe

#: Bytes of an array that is read to tell its range.
_READ = 2**26


def describe_numpy(path: Path) -> Finding:
    """Lists the arrays of an npz file, or describes that of an npy file.

    Raises:
        SourceError: it is truncated or damaged, or holds Python objects.
    """
    size = byte_size(path.stat().st_size)
    if path.suffix != ".npz":
        array = open_npy(path)
        shape = " x ".join(map(str, array.shape))
        said = range_of(array) if array.nbytes <= _READ else ""
        return describe(
            path, "a NumPy array", {"size": size, "shape": shape, "type": str(array.dtype), "numbers": said}
        )
    headers = npz_headers(path)
    shapes = {name: " x ".join(map(str, entry.shape)) for name, entry in headers.items()}
    about = {}
    for name, entry in headers.items():
        small = entry.dtype.itemsize * int(np.prod(entry.shape, dtype=object)) <= _READ
        about[name] = f"{shapes[name] or 'scalar'} {entry.dtype}{_range_in(path, name) if small else ''}"
    listed = [f"{name} {shape}" for name, shape in shapes.items()]
    document = {"kind": "a NumPy archive", "path": str(path), "size": size, "arrays": listed}
    return listing(describe(path, "a NumPy archive", {"size": size}, document), "arrays", about)


def range_of(values: NDArray[np.generic]) -> str:
    """The lowest and highest number, and how many are none: `-1 to 3.5, 2 are not finite`; empty for texts.

    >>> range_of(np.array([1.0, 2.5, np.nan]))
    '1 to 2.5, 1 is not finite'
    """
    if values.dtype.kind not in "biuf" or values.size == 0:
        return ""
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if known.size == 0:
        return "no finite number"
    gaps = values.size - known.size
    more = f", {counted(gaps, 'is', 'are')} not finite" if gaps else ""
    return f"{known.min():g} to {known.max():g}{more}"


def _range_in(path: Path, name: str) -> str:
    try:
        said = range_of(read_npz(path, name))
    except SourceError:
        return ", whose content polycli does not read"  # Python objects, say: nothing of it is unpickled.
    return f", {said}" if said else ""
