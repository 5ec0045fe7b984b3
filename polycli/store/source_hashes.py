"""Hashes of source files, shared between the parts of one prepare, which would each read all of them otherwise.

A note is trusted for a file of the same place, size and time of last change; `--finalize` removes the notes. Where
there are no parts nothing is noted, and every file is hashed anew.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from polycli import console
from polycli.store.hashing import file_hash
from polycli.store.processes import Workers
from polycli.store.staging import write_text

#: Beside the stores, in a folder that no reader takes for one.
NOTES_NAME = ".source-hashes"
_DIGITS = 64


class _Task(NamedTuple):
    path: Path
    notes: Path | None


def hash_sources(
    paths: Sequence[Path], pool: Workers, *, notes: Path | None = None, part: tuple[int, int] | None = None
) -> dict[Path, str]:
    """SHA-256 of every file; where `notes` is given, those that another part has noted there are not read again.

    Each part begins with files of its own, so that parts that run at once share the reading.
    """
    index, count = part or (0, 1)
    order = [path for turn in range(count) for path in paths[(index + turn) % count :: count]]
    hashes: dict[Path, str] = {}
    if not order:
        return hashes
    if notes is not None:
        notes.mkdir(parents=True, exist_ok=True)
    with console.progress(len(order), "hashing source files") as bar:
        for task, digest in pool.unordered(_hash, [_Task(path, notes) for path in order]):
            hashes[task.path] = digest
            bar.advance()
    return hashes


def _hash(task: _Task) -> str:
    if task.notes is None:
        return file_hash(task.path)
    status = task.path.stat()
    identity = f"{task.path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    note = task.notes / hashlib.sha256(identity.encode()).hexdigest()[:32]
    if note.is_file():
        noted = note.read_text(encoding="ascii")
        if len(noted) == _DIGITS:
            return noted
    digest = file_hash(task.path)
    # A note saves others some reading: a full disk, or a --finalize that removes the notes, is no reason to stop.
    with contextlib.suppress(OSError):
        write_text(note, digest)
    return digest
