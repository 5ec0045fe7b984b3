"""Finds the vector to look for: that of a row, a position, another catalogue's row, a file, or examples."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polycli.console import note
from polycli.errors import SourceError, UserError
from polycli.files.plain import reason_of
from polycli.names import shortened_name
from polycli.nn.relevance import remade_query
from polycli.paths import plain_path
from polycli.requests import JsonDocument, SearchRequest
from polycli.search.encode import FileEncoder
from polycli.search.rows_elsewhere import row_elsewhere
from polycli.search.scan import Floats
from polycli.search.searcher import Searcher
from polycli.search.sky import parse_position

_GOOD = {"", "1", "+", "+1", "good", "like", "yes", "true"}
_BAD = {"0", "-", "-1", "bad", "unlike", "no", "false"}
#: What the column of ids is called where a first line names columns.
_ID_NAMES = ("id", "object_id", "record_id", "trajectory")


@dataclass(frozen=True)
class Query:
    """A vector to look for, what it is of, and rows that are no answers."""

    #: (width,)
    vector: Floats
    about: JsonDocument
    without: tuple[int, ...] = ()


def query_of(request: SearchRequest, searcher: Searcher) -> tuple[Query, str]:
    """The query that a request names, and the column of vectors that it is of.

    Raises:
        UserError: there are none or several things to look for, or what is named is not there.
    """
    asked = {
        "--id": request.id,
        "--position": request.position,
        "--row": request.row,
        "--file": request.file,
        "--like": request.like or None,
        "--examples": request.examples,
    }
    given = [name for name, value in asked.items() if value is not None]
    if len(given) != 1:
        said = f"{' and '.join(given)} are {len(given)} things" if given else "there is nothing"
        hint = f"one of {', '.join(asked)}"
        if not given and request.cone is not None:
            hint += (
                "; --cone keeps what lies in it, and --position with --radius looks for what is like the object there"
            )
        raise UserError(f"{said} to look for, and one is expected", hint=hint)
    if request.unlike and not request.like:
        raise UserError(
            f"--unlike goes with --like alone, and {given[0]} is given",
            hint="the file of --examples marks what is unwanted as bad"
            if request.examples
            else "--like ID --unlike ID",
        )
    if request.file is not None:
        return _of_file(request, searcher)
    if request.row is not None:
        return _of_other_row(request, searcher)
    column = searcher.vector_column(request.vector)
    match given[0]:
        case "--id":
            row = searcher.row_of(request.id or "")
            return _of_row(searcher, row, column, {}), column
        case "--position":
            ra, dec = parse_position(request.position or "")
            row, apart = searcher.row_at(ra, dec, request.radius / 3600)
            about = {"position": [ra, dec], "separation_arcsec": apart * 3600}
            return _of_row(searcher, row, column, about), column
    like, unlike = request.like, request.unlike
    if request.examples is not None:
        like, unlike = read_examples(request.examples)
    return by_examples(searcher, column, [*map(searcher.row_of, like)], [*map(searcher.row_of, unlike)]), column


def by_examples(
    searcher: Searcher, column: str, like: Sequence[int], unlike: Sequence[int], base: Floats | None = None
) -> Query:
    """The direction from what is unwanted to what is wanted: the mean of unit vectors less half the other mean.

    Args:
        searcher: the embeddings.
        column: their column of vectors.
        like: rows that the answer shall be like.
        unlike: rows that it shall not be like.
        base: a vector that counts as one more of those that are wanted.

    Raises:
        UserError: nothing is wanted, a row is both, or the two means cancel.
    """
    if twice := sorted({*like} & {*unlike}):
        raise UserError(f"{searcher.ids(twice)[0]} is both wanted and unwanted")
    wanted = [*searcher.vectors(like, column), *([] if base is None else [base])]
    if not wanted:
        raise UserError("nothing is wanted, only what is unwanted", hint="--like ID")
    vector = remade_query(np.stack(wanted), searcher.vectors(unlike, column) if unlike else None)
    about = {"like": searcher.ids(like), "unlike": searcher.ids(unlike)}
    return Query(vector, about, (*like, *unlike))


def read_examples(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids of a CSV file that are wanted and unwanted: ids in the first column, and in the second good or bad.

    A first line that names the columns is passed over; without a second column all are wanted.

    Raises:
        SourceError: the file cannot be read.
        UserError: a second column says something else.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [[cell.strip() for cell in line] for line in csv.reader(file) if any(map(str.strip, line))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path}: cannot be read as CSV: {reason_of(error)}") from error
    marks = [line[1].lower() if len(line) > 1 else "" for line in lines]
    if marks and (marks[0] not in _GOOD | _BAD or lines[0][0].lower() in _ID_NAMES):
        if lines[0][0].lower() not in _ID_NAMES:
            note(f"{path}: the first line, {shortened_name(','.join(lines[0]))}, is taken for the names of columns")
        lines, marks = lines[1:], marks[1:]
    for line, mark in zip(lines, marks, strict=True):
        if mark not in _GOOD | _BAD:
            raise UserError(f"{path}: {line[0]} is marked {mark!r}, and good or bad was expected")
    good = tuple(line[0] for line, mark in zip(lines, marks, strict=True) if mark in _GOOD)
    return good, tuple(line[0] for line, mark in zip(lines, marks, strict=True) if mark in _BAD)


def _of_row(searcher: Searcher, row: int, column: str, about: JsonDocument) -> Query:
    return Query(searcher.vectors([row], column)[0], {**about, "id": searcher.ids([row])[0], "row": row}, (row,))


def _of_other_row(request: SearchRequest, searcher: Searcher) -> tuple[Query, str]:
    """The row FILE:N of other embeddings by its vector, and of any other table by its id or position."""
    text = request.row or ""
    name, colon, number = text.rpartition(":")
    if not colon or not number.isdecimal():
        raise UserError(f"--row {text}: expected FILE:N, with N counted from 0", hint="--row catalogue.parquet:12")
    path, place = plain_path(name), int(number)
    about: JsonDocument = {"file": str(path), "file_row": place}
    if path.resolve() == searcher.path.resolve():
        column = searcher.vector_column(request.vector)
        return _of_row(searcher, place, column, {}), column
    found = row_elsewhere(path, place, searcher, request.vector, request.radius / 3600)
    if isinstance(found, int):
        column = searcher.vector_column(request.vector)
        return _of_row(searcher, found, column, about), column
    return Query(found.vector, {**about, "kind": found.kind}), searcher.kinds.get(found.kind, "")


def _of_file(request: SearchRequest, searcher: Searcher) -> tuple[Query, str]:
    if request.checkpoint is None or request.file is None:
        raise UserError(
            f"{request.file}: a file is embedded by the model that made {searcher.path}, and --checkpoint is missing",
            hint=f"--checkpoint {(searcher.manifest.get('provenance') or {}).get('checkpoint', 'RUN')}",
        )
    found = FileEncoder(searcher, request.checkpoint).object_of(request.file, request.object)
    kind = request.vector or next(iter(found.vectors))
    if kind not in found.vectors:
        raise UserError(f"{request.file}: has no {kind}, only {' and '.join(found.vectors)}")
    about = {"file": str(request.file), "object": found.id, "kind": kind}
    column = searcher.kinds.get(kind, "")
    return Query(found.vectors[kind], about, ()), column
