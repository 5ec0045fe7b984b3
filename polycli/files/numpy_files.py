"""npy and npz files from anybody: shapes from their headers alone, numbers without pickles, a sentence for all else."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError
from polycli.files.plain import check_plain, reason_of, refuse_claim
from polycli.names import clean, shortened_name

#: What numpy and the zip reader raise for headers and members that nobody's writer wrote.
_DAMAGE = (
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    struct.error,
    SyntaxError,
    tokenize.TokenError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


class ArrayHeader(NamedTuple):
    """The shape and type that an array's header states."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def open_npy(path: Path) -> NDArray[Any]:
    """The array of an npy file, mapped into memory.

    Raises:
        SourceError: it is no whole npy file, or holds Python objects.
    """
    check_plain(path)
    with _said(path):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise TypeError("an archive of arrays")
        return array


def npz_headers(path: Path) -> dict[str, ArrayHeader]:
    """Shape and type of every array in an npz file, by name; no numbers are unpacked.

    Raises:
        SourceError: it is no whole npz file.
    """
    check_plain(path)
    found = {}
    with _said(path), zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as member:
                found[entry.filename.removesuffix(".npy")] = _header(member)
    return found


def read_npz(path: Path, name: str) -> NDArray[Any]:
    """One array of an npz file.

    Raises:
        SourceError: it is no whole npz file, claims to hold far more than it can, has no such array, or it holds
            Python objects.
    """
    check_plain(path)
    with _said(path, name):
        with zipfile.ZipFile(path) as archive:
            refuse_claim(path, sum(entry.file_size for entry in archive.infolist()))
            with archive.open(f"{name}.npy") as member:
                header = _header(member)
                length = archive.getinfo(f"{name}.npy").file_size
        if header.dtype.itemsize * int(np.prod(header.shape, dtype=object)) > length:
            raise ValueError("its header claims more numbers than there are")
        with np.load(path, allow_pickle=False) as file:
            return np.asarray(file[name])


def _header(member: IO[bytes]) -> ArrayHeader:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)
    return ArrayHeader(shape, dtype)


@contextmanager
def _said(path: Path, name: str | None = None) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        what = clean(path) if name is None else f"{path}: array {shortened_name(name)}"
        raise SourceError(
            f"{what}: cannot be read, truncated or damaged perhaps: {reason_of(error)}",
            hint="numbers and texts are read, no pickles",
        ) from error
