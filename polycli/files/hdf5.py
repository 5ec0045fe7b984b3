"""HDF5 files from anybody: opened, walked and read with a sentence for whatever the library cannot make sense of.

Links and arrays that lead out of the file are refused: through them it could have any other file read into a store.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py

from polycli.errors import SourceError
from polycli.files.plain import check_plain, reason_of, refuse_claim
from polycli.names import shortened_name

#: What h5py raises for damaged metadata, dangling links, loops of links and types that it does not know, and what a
#: dataset in the place of a group, or a group in that of a dataset, leads to.
DAMAGE = (AttributeError, LookupError, OSError, OverflowError, RuntimeError, TypeError, ValueError)
#: What HDF5 says of a file with the mark of a writer.
_IN_USE = "already open for write"
#: The way out where one file among others is cut off or damaged.
COPY_AGAIN = "fetch or copy it again; where it cannot be had, move it out of the input"
#: Objects of a file that are looked at, and characters of their paths; real data have thousands of each.
MOST_OBJECTS, LONGEST_PATH = 1_000_000, 4096


@contextmanager
def open_hdf5(path: Path, *, hint: str | None = None) -> Iterator[h5py.File]:
    """The file, without locks, which network file systems often lack.

    Raises:
        SourceError: it is no HDF5 file, is truncated or damaged, here or where the block reads it, leads to other
            files, or claims to hold far more than it can.
    """
    check_plain(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            status = path.stat()
            _check_contents(path, (status.st_mtime_ns, status.st_size))
            yield file
    except DAMAGE as error:
        raise unreadable(path, error, "the HDF5 file is truncated or damaged, or none", hint=hint) from error


def unreadable(path: Path, error: Exception, what: str, *, hint: str | None = None) -> SourceError:
    """The error for a file that HDF5 does not open, which may be sound and not yet closed by its writer."""
    if _IN_USE in str(error):
        return SourceError(
            f"{path}: the HDF5 file is not closed: a program is writing it, or was killed while it did",
            hint=f"wait until it is done; if none is at work on it: h5clear -s {shlex.quote(str(path))}",
        )
    return SourceError(f"{path}: {what}: {reason_of(error)}", hint=hint)


def is_hdf5(path: Path) -> bool:
    """Whether a plain file begins as HDF5 files do."""
    return path.is_file() and bool(h5py.is_hdf5(path))


@lru_cache(maxsize=1024)
def _check_contents(path: Path, stamp: tuple[int, int]) -> None:
    """Looked at once for each file and process, until the file is changed."""
    del stamp
    seen: set[Any] = set()
    claimed = 0
    with h5py.File(path, "r", locking=False) as file:
        for name in _names(file, path):
            # The plain objects behind h5py's classes: those look up far more than is needed, for each of thousands.
            node = h5py.h5o.open(file.id, name)
            if not isinstance(node, h5py.h5d.DatasetID) or (address := h5py.h5o.get_info(node).addr) in seen:
                continue
            seen.add(address)
            if _lies_elsewhere(node):
                raise SourceError(f"{path}: {_shown(name)} keeps its numbers in another file, which is not read")
            claimed += node.get_space().get_simple_extent_npoints() * node.get_type().get_size()
    refuse_claim(path, claimed)


def _lies_elsewhere(node: h5py.h5d.DatasetID) -> bool:
    about = node.get_create_plist()
    if about.get_layout() == h5py.h5d.VIRTUAL:
        return any(about.get_virtual_filename(part) != "." for part in range(about.get_virtual_count()))
    return bool(about.get_external_count())


def _names(file: h5py.File, path: Path) -> list[bytes]:
    """Every name in the file that is no link; groups are entered once, so loops end."""
    names: list[bytes] = []
    outside: list[bytes] = []

    def note(name: bytes, about: Any) -> int | None:  # noqa: ANN401  # h5py has no types.
        if about.type == h5py.h5l.TYPE_EXTERNAL:
            outside.append(name)
        elif about.type == h5py.h5l.TYPE_HARD:
            names.append(name)
        # Anything but None ends the walk.
        return 1 if outside or len(names) > MOST_OBJECTS or len(name) > LONGEST_PATH else None

    ended = file.id.links.visit(note, info=True)
    if outside:
        raise SourceError(f"{path}: {_shown(outside[0])} leads to another file, which is not followed")
    if ended is not None:
        raise SourceError(f"{path}: its groups are nested too deep, or hold more than {MOST_OBJECTS:,} objects")
    return names


def _shown(name: bytes) -> str:
    return shortened_name(name.decode("utf-8", "replace"))
