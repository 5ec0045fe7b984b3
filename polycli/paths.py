"""Expands what a user gives as a path: a file, a folder, a quoted glob, or `@list.txt` (one a line).

Every path is made plain here, where it comes in: what reads and writes never meets `~` or `..`.
"""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from polycli.errors import UserError
from polycli.files.plain import read_bytes, reason_of
from polycli.names import shortened_name

#: Bytes of the longest `@list.txt`.
_LONGEST_LIST = 64 * 2**20


def plain_path(value: str | Path) -> Path:
    """The path that a user wrote, without `~` and `..`; anything else stays as it was written, relative or a link.

    Zarr libraries refuse `..`. It is taken out as the system would: what comes before it is followed through links.

    Raises:
        UserError: a home is not known, links lead in a circle, or a name is too long or not UTF-8.
    """
    try:
        path = Path(value).expanduser()
        if ".." in path.parts:
            last = len(path.parts) - path.parts[::-1].index("..")
            path = Path(*path.parts[:last]).resolve().joinpath(*path.parts[last:])
        _refuse_other_encodings(path)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{shortened_name(value)}: no path can be made of it: {reason_of(error)}") from error
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # An output, or whoever reads it says that it is missing.
    except (OSError, ValueError) as error:
        raise UserError(f"{shortened_name(value)}: cannot be looked at: {reason_of(error)}") from error
    return path


def expand_paths(values: Iterable[str | Path]) -> tuple[Path, ...]:
    """The existing paths that `values` name, plain, in order and each once; globs sorted.

    Raises:
        UserError: a path does not exist, a glob matches nothing, or a list cannot be read.
    """
    found: dict[Path, None] = {}
    for value in map(str, values):
        for path in _expand(value):
            found.setdefault(path)
    return tuple(found)


def files_below(folder: Path) -> list[Path]:
    """All plain files in a folder and below it, in the order of their paths; links to folders are not followed.

    Raises:
        UserError: a name is not UTF-8, which what is written about the file is, or the folder cannot be listed.
    """
    try:
        found = sorted(path for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed: {reason_of(error)}") from error
    for path in found:
        _refuse_other_encodings(path)
    return found


def refuse_unwritable(folder: Path, *, what: str) -> None:
    """Refuse, before any work is done, a folder in which `what` could not be written; it need not exist yet.

    Raises:
        UserError: it is or lies in a file, or nothing can be made there. Nothing is left behind.
    """
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if _exists(path))
    if not place.is_dir():
        at = f"{folder} is a file" if place == folder.absolute() else f"{folder} lies in {place}, which is a file"
        raise UserError(f"{at}, and {what} need a folder", hint="give another --output")
    try:
        # Permissions, read-only and full file systems: trying is the only answer that covers them all.
        # A file without a name, so that a command that is killed here leaves nothing.
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise UserError(
            f"{folder}: {what} cannot be written in {place}: {error.strerror}", hint="give another --output"
        ) from error


def _refuse_other_encodings(path: Path) -> None:
    """A manifest, a report, a table: what is written about a file is UTF-8."""
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: its name is not UTF-8", hint="give it another name") from error


def _expand(value: str) -> tuple[Path, ...]:
    if not value:
        raise UserError("a path is empty, a file or a folder was expected")
    if value.startswith("@"):
        listing = plain_path(value[1:])
        try:
            lines = read_bytes(listing, _LONGEST_LIST).decode("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{value}: the list cannot be read: {reason_of(error)}") from error
        return expand_paths(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    path = plain_path(value)
    if _exists(path):
        return (path,)
    if glob.has_magic(value):
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  # Path.glob refuses absolute patterns.
        if matches:
            return tuple(map(plain_path, matches))
        raise UserError(f"{value}: no file or folder matches this pattern")
    raise UserError(f"{value}: no such file or folder")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise UserError(f"{path}: cannot be looked at: {error.strerror}") from error
