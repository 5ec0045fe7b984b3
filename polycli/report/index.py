"""One page over a folder of evaluations: each dataset's main score in each run, best first, linked to its report."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from polycli.errors import UserError
from polycli.outputs import Output, OutputKind
from polycli.report.folder import SCORES_NAME, evaluation_scores
from polycli.report.html import MARK, Block, Heading, Links, Paragraph, page
from polycli.report.table import NOTHING, Table, interval, number
from polycli.requests import JsonDocument

INDEX_NAME = "index.html"
#: A page says within so many bytes what wrote it.
_START = 1024
_WITHOUT = "Evaluations without a verdict"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One dataset in one evaluation."""

    #: The folder of the evaluation, from the folder that was asked for.
    evaluation: str
    dataset: str
    split: str
    checkpoint: str
    #: The main score; empty and None where the evaluation has no verdict.
    measure: str
    value: float | None
    interval: tuple[float | None, float | None] | None
    better: str
    standing: str
    #: Whether there is a report beside the scores.
    report: bool


def write_index(folder: Path, output: Path | None = None) -> tuple[Path, list[Entry]]:
    """Write the page, FOLDER/index.html if nothing else is said, and give its path and what it lists.

    Raises:
        UserError: there is no evaluation in the folder, or something that polycli did not write stands at the output.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: is no folder", hint="give the folder that holds evaluations: polycli report index FOLDER"
        )
    entries = [entry for found in _evaluations(folder) for entry in _entries(found, folder)]
    if not entries:
        raise UserError(
            f"{folder}: holds no evaluation, that is no folder with a {SCORES_NAME} of `polycli eval`",
            hint="polycli eval FAMILY --checkpoint CHECKPOINT --data STORE --output DIR writes one",
        )
    target = folder / INDEX_NAME if output is None else output
    place = Output(target, OutputKind("a page of results", (".html",), _is_page), overwrite=True)
    place.refuse()
    evaluations = len({entry.evaluation for entry in entries})
    blocks: list[Block] = [
        Paragraph(
            f"{evaluations} evaluation{'s' if evaluations > 1 else ''}. In each table the best is first; "
            "scores of different splits or stores compare nothing."
        )
    ]
    for dataset in sorted({entry.dataset for entry in entries}):
        blocks += [
            Heading(dataset),
            *_tables([one for one in entries if one.dataset == dataset], folder, target.parent),
        ]
    with place.writing() as file:
        file.write_text(page(f"Evaluations in {folder.resolve().name}", blocks), encoding="utf-8", errors="replace")
    return target, entries


def _evaluations(folder: Path) -> Iterator[Path]:
    """Finds the folders of evaluations, in order; stores, hidden folders and links to folders are not looked into."""
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not name.endswith(".zarr"))
        if SCORES_NAME in files:
            yield Path(path)


def _entries(evaluation: Path, folder: Path) -> Iterator[Entry]:
    scores = evaluation_scores(evaluation)
    if scores is None:
        return
    verdicts = scores.get("verdicts")
    for name in scores["datasets"]:
        verdict = verdicts.get(name) if isinstance(verdicts, dict) else None
        verdict = verdict if isinstance(verdict, dict) else {}
        yield Entry(
            evaluation=os.path.relpath(evaluation, folder),
            dataset=str(name),
            split=str(scores["split"]),
            checkpoint=str(scores["checkpoint"]),
            measure=str(verdict.get("measure", "")),
            value=_number(verdict.get("value")),
            interval=_bounds(verdict.get("interval")),
            better=str(verdict.get("better", "lower")),
            standing=str(verdict.get("standing", "")),
            report=(evaluation / "report.html").is_file(),
        )


def _tables(entries: Sequence[Entry], folder: Path, page_folder: Path) -> Iterator[Links]:
    """A table for each main score of a dataset; those without any come last."""
    for measure in sorted({entry.measure for entry in entries}, key=lambda text: (not text, text)):
        shown = sorted((entry for entry in entries if entry.measure == measure), key=_rank)
        better = shown[0].better
        rows = [
            (
                entry.evaluation,
                number(entry.value),
                interval(entry.interval),
                entry.standing or NOTHING,
                entry.split,
                entry.checkpoint,
            )
            for entry in shown
        ]
        title = f"{measure}, {better} is better" if measure else _WITHOUT
        caption = "" if measure else "Evaluations of earlier versions: run `polycli eval` again for a verdict."
        columns = ("evaluation", "score", "95 % interval", "standing", "split", "checkpoint")
        addresses = [_address(folder / entry.evaluation, page_folder) if entry.report else "" for entry in shown]
        yield Links(Table(title, columns, rows, caption), addresses)


def _rank(entry: Entry) -> tuple[float, str]:
    if entry.value is None:
        return float("inf"), entry.evaluation
    return entry.value if entry.better == "lower" else -entry.value, entry.evaluation


def _address(evaluation: Path, page_folder: Path) -> str:
    # A leading ./ keeps a colon in a name from being read as a protocol.
    return "./" + quote(os.fsencode(os.path.relpath(evaluation / "report.html", page_folder)))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _bounds(found: object) -> tuple[float | None, float | None] | None:
    if not isinstance(found, list) or len(found) != 2:
        return None
    return _number(found[0]), _number(found[1])


def _is_page(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return MARK.encode() in file.read(_START)


def as_documents(entries: Sequence[Entry]) -> list[JsonDocument]:
    """The entries as JSON objects."""
    return [{**vars(entry)} for entry in entries]
