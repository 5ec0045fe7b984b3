"""Writes a list of rows, such as the neighbours that are on the page, into CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from polycli.names import cell
from polycli.page.library import Library
from polycli.page.requests import ExportDocument
from polycli.page.values import plain

#: The columns of what the page knows of a row, before its own columns.
_COLUMNS = ("row", "similarity", "mark")


def export(library: Library, wanted: ExportDocument) -> tuple[bytes, str, str]:
    """The file, its media type and its name; ids keep all their digits.

    Raises:
        UserError: there is no such row.
    """
    rows = [row.row for row in wanted.rows]
    found = library.searcher.table(rows).to_pylist()
    stem = library.name.partition(".")[0] or "embeddings"
    name = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in stem)
    known = [
        {**row.model_dump(), **{_free(column): value for column, value in columns.items()}}
        for row, columns in zip(wanted.rows, found, strict=True)
    ]
    if wanted.format == "json":
        text = json.dumps([plain(each) for each in known], indent=1, allow_nan=False, ensure_ascii=False)
        return f"{text}\n".encode(), "application/json", f"{name}-neighbours.json"
    written = io.StringIO()
    columns = [*_COLUMNS, *(_free(column) for column in library.searcher.columns)]
    writer = csv.DictWriter(written, columns)
    writer.writerow({column: harmless(column) for column in columns})
    for each in known:
        writer.writerow({column: harmless(value) for column, value in each.items()})
    return written.getvalue().encode(), "text/csv; charset=utf-8", f"{name}-neighbours.csv"


def harmless(value: Any) -> Any:  # noqa: ANN401  # Whatever a table holds.
    """The value as a table program shows it: a text that it would compute gets a quote before it.

    >>> harmless("=1+1"), harmless(-1.5)
    ("'=1+1", -1.5)
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return cell(value) if isinstance(value, str) else value


def _free(column: str) -> str:
    """The name of a column of the embeddings beside those of the page."""
    return f"catalogue_{column}" if column in _COLUMNS else column
