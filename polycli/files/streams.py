"""Text files as streams of UTF-8 bytes, whatever packs them and whichever Unicode form they have.

Plain UTF-8 and one-byte encodings can be read from any byte on. What is packed, or is UTF-16 or UTF-32, is turned into
UTF-8 on the way, and read forwards alone.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from polycli.errors import SourceError
from polycli.files.plain import ALWAYS_ALLOWED, MOST_PACKED, check_plain, open_plain, reason_of

#: By the first bytes of a file: what packs it.
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
#: Byte-order marks, the longer ones first, with the encoding of what follows.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: Endings of names that say how a file is packed, behind the ending that says what it is.
PACKED_SUFFIXES = (".gz", ".zst", ".bz2", ".xz")
_PIECE = 2**16
#: What the libraries raise for packed data that is cut off or damaged.
_DAMAGE = (EOFError, OSError, ValueError, lzma.LZMAError, zlib.error, pa.ArrowException)


@dataclass(frozen=True)
class TextForm:
    """The way in which the bytes of a file become text."""

    #: `gzip`, `zstd`, `bzip2` or `xz`; None where nothing packs it.
    packed: str | None
    #: Of the unpacked bytes, where a byte-order mark says so.
    marked: str | None
    #: Bytes of the mark.
    mark: int

    @property
    def plain(self) -> bool:
        """Whether it can be read from any byte on."""
        return self.packed is None and self.marked in {None, "utf-8"}


def suffix_of(path: Path) -> str:
    """The ending of a name that says what the file is, in small letters: `.csv` of `a.csv.gz`."""
    name = Path(path.stem) if path.suffix.lower() in PACKED_SUFFIXES else path
    return name.suffix.lower()


def form_of(path: Path) -> TextForm:
    """Look at the first bytes of a file.

    Raises:
        SourceError: it cannot be read, or what packs it is damaged.
    """
    try:
        with open_plain(path) as file:
            head = file.read(6)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {reason_of(error)}") from error
    packed = next((kind for magic, kind in _PACKED.items() if head.startswith(magic)), None)
    if packed is not None:
        with _unpacked(path, packed) as file:
            head = file.read(4)
    mark, encoding = next(((mark, encoding) for mark, encoding in _MARKS if head.startswith(mark)), (b"", None))
    return TextForm(packed, encoding, len(mark))


def open_text(path: Path, form: TextForm) -> IO[bytes]:
    """The bytes of a file without its mark, as UTF-8 where the form says what they are.

    Raises:
        OSError: the file cannot be opened.
    """
    file: IO[bytes] = open_plain(path) if form.packed is None else _unpacked(path, form.packed)
    file.read(form.mark)
    if form.marked in {None, "utf-8"}:
        return file
    return io.BufferedReader(_Recoded(file, str(form.marked), path))


class _Bounded(io.RawIOBase):
    """Bytes that are unpacked on the way, no more of them than the size of the file allows."""

    def __init__(self, read: Callable[[int], bytes], path: Path, most: int) -> None:
        self._read, self._path, self._most = read, path, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # narrower than any buffer
        try:
            data = self._read(len(buffer))
        except _DAMAGE as error:
            raise SourceError(f"{self._path}: cannot be unpacked, cut off perhaps: {reason_of(error)}") from error
        self._most -= len(data)
        if self._most < 0:
            raise SourceError(
                f"{self._path}: unpacks to more than {MOST_PACKED} times its size", hint="unpack it yourself"
            )
        buffer[: len(data)] = data
        return len(data)


class _Recoded(io.RawIOBase):
    """UTF-8 from another Unicode form."""

    def __init__(self, file: IO[bytes], encoding: str, path: Path) -> None:
        self._file, self._path, self._encoding = file, path, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._waiting:
            data = self._file.read(_PIECE)
            try:
                self._waiting = self._decoder.decode(data, final=not data).encode("utf-8")
            except UnicodeError as error:
                raise SourceError(f"{self._path}: its byte-order mark says {self._encoding}, and it is not") from error
            if not data:
                break
        size = min(len(buffer), len(self._waiting))
        buffer[:size], self._waiting = self._waiting[:size], self._waiting[size:]
        return size


def _unpacked(path: Path, packed: str) -> io.BufferedReader:
    most = max(ALWAYS_ALLOWED, MOST_PACKED * check_plain(path))
    if packed == "zstd":
        stream = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
        return io.BufferedReader(_Bounded(stream.read, path, most))
    readers: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    return io.BufferedReader(_Bounded(readers[packed](path, "rb").read, path, most))
