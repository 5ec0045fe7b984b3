"""Files that are dropped on the page: bounded in size, known by their first bytes, embedded, and then forgotten.

A file is written nowhere but into a temporary folder of its own, under a name of ours, for as long as it is read. What
stays, in memory, are its vectors and pictures, of the last few files alone.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from polycli.errors import PolycliError, SourceError, UserError
from polycli.names import clean
from polycli.requests import JsonDocument
from polycli.search.encode import FileObject
from polycli.search.scan import Floats

#: Largest file that is taken: a coadd of DESI has some 100 MB.
UPLOAD_BYTES = 192 * 2**20
#: Files that are remembered, the latest ones.
_KEPT = 32
#: By the ending of a name: what such a file begins with; texts begin with anything, and hold no zero bytes.
_BEGINNINGS = {
    ".fits": b"SIMPLE  =",
    ".fit": b"SIMPLE  =",
    ".fits.gz": b"\x1f\x8b",
    ".h5": b"\x89HDF",
    ".hdf5": b"\x89HDF",
    ".npz": b"PK\x03\x04",
    ".npy": b"\x93NUMPY",
    ".parquet": b"PAR1",
    ".csv": b"",
    ".json": b"",
    ".jsonl": b"",
}
_LONGEST_NAME = 80


class FileReader(Protocol):
    """Embeds a file with one object; `polycli.search.encode.FileEncoder` is one."""

    def object_of(self, path: Path, wanted: str | None = None) -> FileObject:
        """The vectors of the object in a file.

        Raises:
            UserError: it holds nothing that the checkpoint sees, or more than one object.
        """
        ...


@dataclass(frozen=True)
class Upload:
    """A file that was dropped, and the vectors of its object by kind."""

    name: str
    found: FileObject

    def about(self) -> JsonDocument:
        """The facts that the page shows."""
        shown = {"image": self.found.image is not None, "curve": self.found.curve is not None}
        return {"name": self.name, "object": self.found.id, "kinds": list(self.found.vectors), **shown}

    def vector(self, kind: str) -> Floats:
        """The vector of a kind.

        Raises:
            UserError: the file has none of it.
        """
        if kind not in self.found.vectors:
            raise UserError(f"{self.name}: has no {kind}, only {' and '.join(self.found.vectors)}")
        return self.found.vectors[kind]


class Uploads:
    """The files that were dropped lately, by tokens that nobody can guess."""

    def __init__(self, reader: FileReader, *, largest: int = UPLOAD_BYTES) -> None:
        self._reader, self.largest = reader, largest
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._lock = threading.Lock()
        # One at a time: a forward pass has all processors, and two need twice the memory.
        self._reading = threading.Lock()

    def about(self) -> JsonDocument:
        """The endings of files that are taken, and how large they may be."""
        return {"largest": self.largest, "endings": list(_BEGINNINGS)}

    def add(self, name: str, content: bytes) -> tuple[str, Upload]:
        """Read a file and remember its vectors; returns its token.

        Raises:
            UserError: it is of no kind that is taken, or cannot be read.
        """
        shown = shown_name(name)
        ending = _ending(shown, content)
        with tempfile.TemporaryDirectory(prefix="polycli-page-") as folder, self._reading:
            path = Path(folder) / f"file{ending}"
            path.write_bytes(content)
            try:
                found = self._reader.object_of(path)
            except PolycliError as error:
                # Nobody knows the file by the name that it had here.
                raise type(error)(error.message.replace(str(path), shown)) from error
        upload, token = Upload(shown, found), secrets.token_urlsafe(16)
        with self._lock:
            self._kept[token] = upload
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return token, upload

    def get(self, token: str) -> Upload:
        """The file with this token.

        Raises:
            UserError: there is none, or no longer.
        """
        with self._lock:
            if token not in self._kept:
                raise UserError("the file that was dropped is no longer known here", hint="drop it again")
            self._kept.move_to_end(token)
            return self._kept[token]


def shown_name(name: str) -> str:
    """The last part of a file's name, short and without control characters.

    >>> shown_name("../../etc/galaxy.fits")
    'galaxy.fits'
    """
    last = PurePosixPath(name.replace("\\", "/")).name or "file"
    return clean(last)[-_LONGEST_NAME:]


def _ending(name: str, content: bytes) -> str:
    """The ending of a name, which says what the file is, and is compared with its first bytes."""
    small = name.lower()
    ending = next((ending for ending in _BEGINNINGS if small.endswith(ending)), None)
    if ending is None:
        raise SourceError(f"{name}: is of another type than is taken here: {', '.join(_BEGINNINGS)}")
    beginning = _BEGINNINGS[ending]
    if not content.startswith(beginning) or (not beginning and b"\0" in content[:4096]):
        raise SourceError(f"{name}: does not begin as a {ending} file does")
    return ending
