"""npy and npz files from anybody: shapes from their headers alone, numbers without pickles, a sentence for all else."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

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

_PIECE = 2**20
_ENCRYPTED = 1
#: A member's header in a zip file: signature, then the lengths of its name and of what else stands before its bytes.
_LOCAL = struct.Struct("<4s22xHH")
_LOCAL_SIGNATURE = b"PK\x03\x04"


class ArrayHeader(NamedTuple):
    """The shape and type that an array's header states."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    #: Whether the first axis runs fastest.
    fortran: bool = False


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


def check_npz(path: Path) -> None:
    """Compare all that an npz file holds with its checksums, a piece at a time.

    Raises:
        SourceError: they differ, or it is no whole npz file, or claims to hold far more than it can.
    """
    check_plain(path)
    with _said(path), zipfile.ZipFile(path) as archive:
        refuse_claim(path, sum(entry.file_size for entry in archive.infolist()))
        for entry in archive.infolist():
            with archive.open(entry) as member:
                while member.read(_PIECE):
                    pass


def map_npz(path: Path, name: str) -> NDArray[Any] | None:
    """One array of an npz file, mapped into memory where it lies; None where it is compressed, empty or no numbers.

    What is mapped is not compared with its checksum; `check_npz` does that.

    Raises:
        SourceError: it is no whole npz file, has no such array, or its header claims more than there is.
    """
    check_plain(path)
    with _said(path, name):
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(f"{name}.npy")
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & _ENCRYPTED:
                return None
            with archive.open(entry) as member:
                header = _header(member)
                before = member.tell()
        length = header.dtype.itemsize * int(np.prod(header.shape, dtype=object))
        if before + length > entry.file_size:
            raise ValueError("its header claims more numbers than there are")
        if header.dtype.hasobject or length == 0:
            return None
        with path.open("rb") as file:
            file.seek(entry.header_offset)
            local = file.read(_LOCAL.size)
        signature, of_name, of_extra = _LOCAL.unpack(local)
        if signature != _LOCAL_SIGNATURE:
            raise ValueError("it does not lie where the list of contents says")
        offset = entry.header_offset + _LOCAL.size + of_name + of_extra + before
        order: Literal["F", "C"] = "F" if header.fortran else "C"
        mapped: NDArray[Any] = np.memmap(path, header.dtype, "r", offset, header.shape, order)
        return mapped


class PackedRows:
    """Rows of a compressed array of an npz file, unpacked as they are asked for; one row at a time is in memory.

    An array can only be unpacked from its beginning: who asks for rows before those that were read last waits until it
    is unpacked up to there again, which `restarts` counts.
    """

    def __init__(self, path: Path, name: str) -> None:
        """Look at the header.

        Raises:
            SourceError: it is no whole npz file, has no such array, or its header claims more than there is.
        """
        check_plain(path)
        self.path, self.name = path, name
        with _said(path, name), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            self.header = _header(member)
            self._begin = member.tell()
            length = archive.getinfo(f"{name}.npy").file_size
            if self._begin + self.header.dtype.itemsize * int(np.prod(self.header.shape, dtype=object)) > length:
                raise ValueError("its header claims more numbers than there are")
        self.restarts = -1
        self._member: IO[bytes] | None = None
        self._next = 0

    @property
    def has_rows(self) -> bool:
        """Whether rows lie one behind the other, as numbers do that are not in Fortran's order."""
        header = self.header
        return not (header.fortran or header.dtype.hasobject) and 0 not in (len(header.shape), *header.shape)

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """(n, ...) of rows in any order.

        Raises:
            SourceError: the file is damaged.
        """
        wanted = np.unique(rows)
        found = np.empty((len(wanted), *self.header.shape[1:]), self.header.dtype)
        length = found[:1].nbytes
        with _said(self.path, self.name):
            for place, row in enumerate(wanted.tolist()):
                member = self._at(row, length)
                found[place] = np.frombuffer(_exactly(member, length), found.dtype).reshape(found.shape[1:])
                self._next = row + 1
        return np.asarray(found[np.searchsorted(wanted, rows)])

    def _at(self, row: int, length: int) -> IO[bytes]:
        """The member, unpacked up to a row of so many bytes."""
        if self._member is None or row < self._next:
            # Closed when the member is: nobody else has the archive.
            self._member = zipfile.ZipFile(self.path).open(f"{self.name}.npy")  # noqa: SIM115
            _exactly(self._member, self._begin)
            self._next, self.restarts = 0, self.restarts + 1
        left = (row - self._next) * length
        while left:
            left -= len(_exactly(self._member, min(left, _PIECE)))
        return self._member


def _exactly(member: IO[bytes], length: int) -> bytes:
    found = member.read(length)
    if len(found) < length:
        raise EOFError(f"it ends after {len(found)} of {length} bytes")
    return found


def _header(member: IO[bytes]) -> ArrayHeader:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(member)
    return ArrayHeader(shape, dtype, fortran)


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
