"""`polycli status`: how far a store, a run, embeddings or a study has come, from files alone, without any scheduler."""

from __future__ import annotations

from pathlib import Path

from polycli.errors import UserError
from polycli.status.embeddings import embeddings_status
from polycli.status.progress import Progress
from polycli.status.runs import run_status
from polycli.status.stores import store_status
from polycli.status.studies import study_status

__all__ = ["Progress", "status_of"]


def status_of(path: Path) -> list[Progress]:
    """Says how far the work on `path` has come; of a folder of such things, for each of them.

    What is not published yet is found by its name: its pieces lie beside the place that it will have.

    Raises:
        UserError: nothing at or beside `path` is work of polycli's.
    """
    if path.name in ("", ".."):
        path = path.resolve()  # What is not published yet is found by its name, which `.` and `..` do not have.
    if path.name and (found := _of_one(path)) is not None:
        return [found]
    if path.is_dir():
        inside = {_target_of(entry) for entry in path.iterdir()}
        each = [found for target in sorted(inside) if (found := _of_one(target)) is not None]
        if each:
            return each
    raise UserError(
        f"{path}: there is no store, run, study or embeddings, and none is being made there",
        hint="give the --output of the command",
    )


def _of_one(path: Path) -> Progress | None:
    for look in (study_status, run_status, embeddings_status, store_status):
        if (found := look(path)) is not None:
            return found
    return None


def _target_of(entry: Path) -> Path:
    """The path that what an entry of a folder is part of has, or will have."""
    name, partial, _ = entry.name.partition(".partial-")
    return entry.with_name(name.removeprefix(".")) if partial else entry
