"""Hashes of a run's recipe.yaml and data.json, kept beside them, so that a changed byte in them is found.

Each file's list has the hash of what it holds and, behind it, that of what it held before: a start that is killed
between two writes leaves a run that agrees with its seals.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from polycli.files.documents import LARGEST_DOCUMENT, parse_json
from polycli.files.plain import read_bytes, reason_of

SEALS_NAME = ".hashes.json"
Write = Callable[[Path, str], None]


def write_sealed(path: Path, text: str, write: Write) -> None:
    """Write a file of a run with `write`, and before it the hash that it will have."""
    seals = read_seals(path.parent)
    before = [_hash(path.read_bytes())] if path.is_file() else []
    new, kept = _hash(text.encode("utf-8")), seals.get(path.name, before)
    if kept[:1] != [new]:
        write(path.parent / SEALS_NAME, json.dumps({**seals, path.name: [new, *kept[:1]]}, indent=2) + "\n")
    write(path, text)


def read_seals(run: Path) -> dict[str, list[str]]:
    """The hashes that each file may have; empty for runs of versions that kept none, and where they are damaged."""
    try:
        document = parse_json(read_bytes(run / SEALS_NAME, LARGEST_DOCUMENT))
        return {str(name): [str(value) for value in values] for name, values in document.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def broken_seals(run: Path) -> dict[str, str]:
    """Return, by file, a sentence about each that is not as the run wrote it."""
    seals = read_seals(run)
    if not seals and (run / SEALS_NAME).exists():
        return {SEALS_NAME: f"{run / SEALS_NAME}: damaged, so nothing says whether recipe and data have changed"}
    broken = {}
    for name, hashes in seals.items():
        path = run / Path(name).name
        try:
            if _hash(read_bytes(path, LARGEST_DOCUMENT)) not in hashes:
                broken[name] = f"{path}: has changed since the run wrote it, its sha256 is not that in {SEALS_NAME}"
        except OSError as error:
            broken[name] = f"{path}: cannot be read ({reason_of(error)})"
    return broken


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
