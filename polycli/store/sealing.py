"""Files that hold their own hash, and those of their neighbours: what `inspect --verify` checks of results.

The seal is the SHA-256 of the file with the 64 digits of the seal itself taken as zeros. So every byte is covered, the
format's own headers and footers too, and equal content gives equal bytes.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from polycli.errors import StoreError
from polycli.store.hashing import file_hash
from polycli.store.manifest import FileEntry

#: Where the seal of an HDF5 file stands, among the attributes of its root.
HDF5_SEAL = "polycli_sha256"
#: The cards of a FITS table with its seal, and with the schema version that says that it must have one.
FITS_SEAL, FITS_VERSION = "SHA256", "SCHEMA"
_DIGITS = 64
_ZEROS = b"0" * _DIGITS
_PIECE = 2**20


def new_seal() -> str:
    """64 digits that nothing else has, to be written in the place of the seal, unpacked, until the file is whole."""
    return secrets.token_hex(_DIGITS // 2)


def seal(file: Path, token: str) -> str:
    """Put the seal where `token`, made by `new_seal`, stands in a finished file; returns it."""
    digest, place = _digest(file, token)
    if place is None:
        raise ValueError(f"{file}: there is no place for its seal")
    with file.open("r+b") as opened:
        opened.seek(place)
        opened.write(digest.encode())
        opened.flush()
        os.fsync(opened.fileno())
    return digest


def check_seal(file: Path, digest: str, *, hint: str) -> None:
    """Compare a file with the seal that was read from it.

    Raises:
        StoreError: a byte of the file was changed.
    """
    found, place = _digest(file, digest)
    if place is None or found != digest:
        raise StoreError(f"{file}: damaged: its SHA-256 does not match the one that it states", hint=hint)


def entries_of(
    folder: Path, *, without: Path, known: Mapping[str, FileEntry] = MappingProxyType({})
) -> dict[str, FileEntry]:
    """Size and hash of every file in a folder but one, by path: what that one says of the others.

    `known` are entries of files that have not changed since; those are not read.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: known.get(name) or FileEntry(size=path.stat().st_size, sha256=file_hash(path))
        for name, path in paths.items()
        if path != without
    }


def check_entries(folder: Path, entries: Mapping[str, Any], *, hint: str) -> None:
    """Compare files with what another file says of them.

    Raises:
        StoreError: one is missing or was changed.
    """
    for name, entry in entries.items():
        file = folder / name
        if not file.is_file():
            raise StoreError(f"{file}: is missing", hint=hint)
        if file.stat().st_size != entry["size"] or file_hash(file) != entry["sha256"]:
            raise StoreError(f"{file}: damaged: its SHA-256 does not match the manifest", hint=hint)


def _digest(file: Path, token: str) -> tuple[str, int | None]:
    """The hash of a file with zeros in the place of `token`, and that place, searched from the end.

    Read piece by piece: the pages of a mapped file would count as memory of the process.
    """
    with file.open("rb") as opened:
        place = _last_place(opened, token.encode())
        running = hashlib.sha256()
        opened.seek(0)
        for piece in _pieces(opened, place):
            running.update(piece)
        if place is not None:
            running.update(_ZEROS)
            opened.seek(place + _DIGITS)
            for piece in _pieces(opened):
                running.update(piece)
    return running.hexdigest(), place


def _last_place(opened: BinaryIO, token: bytes) -> int | None:
    """Returns where `token` stands for the last time in a file."""
    end = opened.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - _PIECE)
        opened.seek(begin)
        # What stands across two pieces begins in the first of them.
        found = opened.read(end - begin + len(token) - 1).rfind(token)
        if found >= 0:
            return begin + found
        end = begin
    return None


def _pieces(opened: BinaryIO, end: int | None = None) -> Iterator[bytes]:
    """The bytes of a file from where it stands, to its end or to the one before `end`."""
    while piece := opened.read(_PIECE if end is None else min(_PIECE, end - opened.tell())):
        yield piece
