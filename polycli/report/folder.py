"""The folder of an evaluation: written beside its place, and moved there part by part when all of it is whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from polycli.errors import UserError
from polycli.outputs import is_zarr
from polycli.publishing import clear_up, holding, publish_parts
from polycli.report.figures import SOFTWARE
from polycli.requests import JsonDocument

SCORES_NAME = "scores.json"
#: What an evaluation may leave. scores.json comes last: who finds a new one finds what belongs to it.
_PARTS = ("figures", "report.html", SCORES_NAME)
#: A figure says within so many bytes what wrote it.
_START = 1024
#: How PNG, GIF and SVG files say who wrote them: a text chunk, a comment block with its length, and the creator.
_MARKS = (
    f"Software\0{SOFTWARE}".encode(),
    b"\x21\xfe" + bytes([len(SOFTWARE)]) + SOFTWARE.encode(),
    f"<dc:title>{SOFTWARE}</dc:title>".encode(),
)
#: By these keys the scores of an evaluation are known.
_KEYS = {"split", "checkpoint", "version", "datasets"}


@contextmanager
def evaluation_folder(output: Path, *, parts: Sequence[str] = ()) -> Iterator[Path]:
    """A folder to write into, whose `parts`, figures, report.html and scores.json then replace those of `output`.

    What an earlier evaluation left there and this one does not have is deleted: it would not fit the new scores. What
    else lies there stays, within figures too. Where the block raises, `output` stays as it was.

    Raises:
        UserError: the folder is a store, has such parts that no evaluation wrote, or another process writes there.
        PolycliError: the disk is full or refuses a write.
    """
    names = (*parts, *_PARTS)
    clear_up(output)
    earlier = _refuse_foreign(output, names)
    with holding(output, what="scores") as work:
        unfinished = work / "new"
        unfinished.mkdir()
        yield unfinished
        output.mkdir(exist_ok=True)
        for part in names:
            _keep_foreign(output / part, unfinished / part, earlier)
        publish_parts(unfinished, output, names, work)


def _refuse_foreign(output: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The names of the datasets that an earlier evaluation in `output` scored.

    Raises:
        UserError: what lies there is not of an evaluation.
    """
    if is_zarr(output):
        raise UserError(f"{output}: is a store, and scores do not belong into it", hint="give another --output")
    scores = evaluation_scores(output)
    if scores is not None:
        return tuple(scores["datasets"])
    there = [name for name in names if os.path.lexists(output / name)]
    if there:
        raise UserError(
            f"{output}: has {there[0]}, which no evaluation of polycli wrote and which is not replaced",
            hint="give another --output, or move it away yourself",
        )
    return ()


def evaluation_scores(folder: Path) -> JsonDocument | None:
    """The document of `folder`/scores.json; None where no evaluation of polycli wrote one there."""
    scores = _read_object(folder / SCORES_NAME)
    return scores if scores.keys() >= _KEYS and isinstance(scores["datasets"], dict) else None


def _keep_foreign(old: Path, new: Path, datasets: Sequence[str]) -> None:
    """Copy into the new folder what users have put into the old one."""
    if not old.is_dir() or old.is_symlink():
        return
    for entry in old.iterdir():
        if _is_own(entry, datasets) or os.path.lexists(new / entry.name):
            continue
        new.mkdir(exist_ok=True)
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, new / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, new / entry.name, follow_symlinks=False)


def _is_own(entry: Path, datasets: Sequence[str]) -> bool:
    """Whether polycli wrote a figure or a forecast: it is marked, or named as those were that had no mark yet."""
    if entry.name == "summary.png" or entry.name.startswith(tuple(f"{name}." for name in datasets)):
        return True
    if entry.is_dir():
        attributes = _read_object(entry / "zarr.json").get("attributes")
        return isinstance(attributes, dict) and str(attributes.get("format")).startswith("polycli-")
    if not entry.is_file():
        return False
    if entry.suffix == ".mp4":
        return _is_own(entry.with_suffix(".gif"), datasets)  # Films are written in pairs.
    with entry.open("rb") as file:
        start = file.read(_START)
    return any(mark in start for mark in _MARKS)


def _read_object(path: Path) -> JsonDocument:
    try:
        if not path.is_file():
            return {}  # A pipe would be waited for.
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write_scores(scores: JsonDocument, folder: Path) -> None:
    """scores.json; NaN and infinities are not JSON and must have become null before."""
    (folder / SCORES_NAME).write_text(json.dumps(scores, indent=2, allow_nan=False) + "\n", encoding="utf-8")
