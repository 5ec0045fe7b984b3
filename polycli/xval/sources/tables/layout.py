"""Finds out how a text file holds a table: encoding, delimiter, lines above the header, names of rows, a row of units.

A look at the first rows decides. What was guessed, and could have been otherwise, is kept as a remark with the setting
that says otherwise; where two readings are equally good, both are shown and neither is taken.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from polycli.errors import SourceError
from polycli.files.plain import reason_of
from polycli.files.streams import TextForm, form_of, open_text
from polycli.xval.recipe.sources import TableSection
from polycli.xval.records.cells import is_unit

DELIMITERS = (",", ";", "\t", "|")
WHITESPACE = "whitespace"
ROW_NAME = "row_name"
#: Lines, and rows, that are looked at.
_LINES, _ROWS = 200, 50
#: Cells that hold a number, roughly: what they mean is decided later, from all cells of a column.
_NUMBER = re.compile(r"(?:[<>≤≥]\s*)?[-+\u2212]?(?:\d[\d.,\u202f' ]*|[.,]\d+)(?:[eEdD][-+]?\d+)?%?")
_GAP = frozenset({"", "-", "--", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "?", "."})


@dataclass(frozen=True)
class Layout:
    """The place of a table in a file, and how its lines are cut."""

    form: TextForm
    encoding: str
    #: One of `DELIMITERS`, another character, or `whitespace`.
    delimiter: str
    #: What begins lines that are no rows.
    comment: str | None
    #: Lines above the header that are no part of the table.
    skip: int
    header: tuple[str, ...]
    #: Whether the header is a comment line, so that the rows begin right below what is skipped.
    header_is_comment: bool = False
    #: Whether rows begin with a name that the header has no column for, or end with a delimiter that closes nothing.
    row_names: bool = False
    trailing: bool = False
    #: Of the row below the header, where it is one of units.
    units: tuple[str | None, ...] | None = None
    #: What was guessed.
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Cut:
    """One reading of the first rows."""

    delimiter: str
    rows: tuple[tuple[str, ...], ...]
    #: Rows above the header.
    above: int
    width: int
    row_names: bool
    trailing: bool

    @property
    def header(self) -> tuple[str, ...]:
        return self.rows[self.above]

    @property
    def body(self) -> tuple[tuple[str, ...], ...]:
        return self.rows[self.above + 1 :]

    @property
    def numbers(self) -> float:
        """The share of cells that are numbers, or gaps."""
        cells = [cell for row in self.body for cell in row[: self.width]]
        return sum(is_number(cell) or cell.strip() in _GAP for cell in cells) / max(len(cells), 1)


def is_number(text: str) -> bool:
    """Whether a cell holds a number in one of the forms that tables use."""
    return _NUMBER.fullmatch(text.strip()) is not None


def layout_of(path: Path, name: str, section: TableSection) -> Layout:
    """Look at the beginning of a file, and once at all of its bytes for their encoding.

    Raises:
        SourceError: it is empty, damaged, holds numbers in the place of names, or can be cut in two equally good ways.
    """
    form = form_of(path)
    remarks: list[str] = []
    encoding = _encoding(path, form, section, remarks)
    try:
        with open_text(path, form) as file:
            lines = [line.decode(encoding, "replace") for line in islice(file, _LINES)]
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {reason_of(error)}") from error
    if not any(line.strip() for line in lines):
        raise SourceError(f"{name}: the file is empty, a line of column names was expected")
    skip, comment = section.skip, _comment(lines[section.skip :], section)
    kept = [(number, line) for number, line in enumerate(lines) if number >= skip and not _is_comment(line, comment)]
    kept = kept[next((at for at, (_, line) in enumerate(kept) if line.strip()), len(kept)) :]
    if not kept:
        raise SourceError(f"{name}: there is no line of column names below {skip} lines and comments")
    cut = _chosen([line for _, line in kept], name, section, remarks)
    said = [line for line in lines[skip : kept[0][0]] if _is_comment(line, comment)]
    first = kept[0][0]
    if comment is not None and section.comment is None:
        remarks.append(f"lines that begin with {comment!r} are comments: --set 'table.comment=\"{comment}\"' says so")
    header, in_comment = cut.header, False
    named = _from_comment(said, comment, cut)
    if named is not None:
        header, in_comment = named, True
        remarks.append(f"the names of the columns are those of the last comment: {', '.join(header[:4])}")
        cut = _Cut(cut.delimiter, ((), *cut.rows[cut.above :]), 0, cut.width, row_names=False, trailing=cut.trailing)
    elif cut.above:
        first = _line_of(kept, cut)
        remarks.append(f"{first} lines above the header are left out: --set table.skip={first} says so")
    if cut.row_names:
        header = (_free(ROW_NAME, header), *header)
        remarks.append(
            f"rows begin with a name that the header has no column for: it is the column {header[0]!r}; "
            f"--set table.id_column={header[0]} names records by it"
        )
    if cut.trailing:
        header = header[: cut.width]
    return Layout(
        form=form,
        encoding=encoding,
        delimiter=cut.delimiter,
        comment=comment,
        skip=first,
        header=tuple(header),
        header_is_comment=in_comment,
        row_names=cut.row_names,
        trailing=cut.trailing,
        units=_units(header, cut, section, remarks),
        remarks=tuple(remarks),
    )


def cells_of(lines: Iterator[str], delimiter: str) -> Iterator[list[str]]:
    """The cells of rows, as csv.reader cuts them; white space of any kind and length is one delimiter.

    Raises:
        csv.Error: quotes are wrong.
    """
    if delimiter != WHITESPACE:
        yield from csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
        return
    plain = (f"{line.replace(chr(9), ' ').strip()}\n" for line in lines)
    yield from csv.reader(plain, delimiter=" ", strict=True, skipinitialspace=True)


def is_blank(row: Sequence[str]) -> bool:
    """Whether a line holds nothing."""
    return not row or (len(row) == 1 and not row[0].strip())


def _encoding(path: Path, form: TextForm, section: TableSection, remarks: list[str]) -> str:
    """The encoding of what `open_text` gives: of the mark, of the settings, or UTF-8, or else that of Windows."""
    if form.marked is not None:
        if form.marked != "utf-8":
            remarks.append(f"read as {form.marked}, by its byte-order mark")
        return "utf-8"
    if section.encoding != "auto":
        return section.encoding
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    wrong: bytes | None = None
    undefined = False
    with open_text(path, form) as file:
        while True:
            data = file.read(2**20)
            if wrong is None:
                try:
                    decoder.decode(data, final=not data)
                    line += data.count(b"\n")
                except UnicodeDecodeError as error:
                    line += error.object[: error.start].count(b"\n")
                    wrong = error.object[error.start : error.start + 1]
            if wrong is not None:
                undefined |= bool(data.translate(None, _DEFINED))
            if not data:
                break
    if wrong is None:
        return "utf-8"
    guess = "latin-1" if undefined else "cp1252"
    remarks.append(
        f"line {line} is not UTF-8 (byte 0x{wrong.hex()}): read as {guess}; --set table.encoding=NAME says otherwise"
    )
    return guess


#: Bytes that are characters under Windows' encoding.
_DEFINED = bytes(byte for byte in range(256) if byte not in {0x81, 0x8D, 0x8F, 0x90, 0x9D})


def _comment(lines: Sequence[str], section: TableSection) -> str | None:
    if section.comment is not None:
        return section.comment
    first = next((line for line in lines if line.strip()), "")
    return next((mark for mark in ("#", "%") if first.lstrip().startswith(mark)), None)


def _is_comment(line: str, comment: str | None) -> bool:
    return comment is not None and line.lstrip().startswith(comment)


def _from_comment(said: Sequence[str], comment: str | None, cut: _Cut) -> tuple[str, ...] | None:
    """Column names that stand in the last comment, where the line below it begins the numbers."""
    if not said or comment is None or cut.above or not any(is_number(cell) for cell in cut.header):
        return None
    text = said[-1].strip().lstrip(comment).strip()
    for delimiter in (cut.delimiter, WHITESPACE):
        names = next(cells_of(iter([text]), delimiter), [])
        if len(names) == len(cut.header) and not any(is_number(cell) for cell in names):
            return tuple(cell.strip() for cell in names)
    return None


def _chosen(lines: Sequence[str], name: str, section: TableSection, remarks: list[str]) -> _Cut:
    """The best reading of the lines.

    Raises:
        SourceError: two are equally good.
    """
    if section.delimiter is not None:
        return _cut(lines, section.delimiter) or _uneven(lines, section.delimiter)
    cuts = [cut for delimiter in DELIMITERS if (cut := _cut(lines, delimiter)) is not None]
    if not cuts:
        cuts = [cut for cut in (_cut(lines, WHITESPACE),) if cut is not None]
    if not cuts:
        return _uneven(lines, max(DELIMITERS, key=lines[0].count))
    ranked = sorted(cuts, key=lambda cut: (cut.above, -cut.numbers, -cut.width))
    best, *others = ranked
    for other in others:
        if (other.above, other.numbers, other.width) == (best.above, best.numbers, best.width):
            raise SourceError(
                f"{name}: may be cut at {best.delimiter!r} into {', '.join(best.header)}, or at {other.delimiter!r} "
                f"into {', '.join(other.header)}",
                hint=f"--set 'table.delimiter=\"{best.delimiter}\"' or --set 'table.delimiter=\"{other.delimiter}\"'",
            )
    remarks += [
        f"cut at {best.delimiter!r} into {best.width} columns; at {other.delimiter!r} it would be {other.width} "
        f"({', '.join(other.header[:3])}): --set 'table.delimiter=\"{other.delimiter}\"' says so"
        for other in others
    ]
    return best


def _cut(lines: Sequence[str], delimiter: str) -> _Cut | None:
    """The lines under one delimiter; None where rows are of different lengths or of one cell alone."""
    try:
        rows = [tuple(row) for row in islice(cells_of(iter(lines), delimiter), _ROWS + 1) if not is_blank(row)]
    except csv.Error:
        # Quotes that are wrong under this delimiter, or that the look cuts off, say that it is another one.
        return None
    if len(rows) < 2:
        return _Cut(delimiter, tuple(rows), 0, len(rows[0]), row_names=False, trailing=False) if _wide(rows) else None
    width = len(rows[-1])
    above = next((at for at in range(len(rows) - 1) if _fits(rows[at:], width)), None)
    if above is None or width == 1:
        return None
    header, body = rows[above], rows[above + 1 :]
    if above and (any(is_number(cell) for cell in header) or len(body) < 2):
        return None
    closed = all(not row[-1].strip() for row in body)
    trailing = closed and (len(header) == width - 1 or not header[-1].strip())
    row_names = len(header) == width - 1 and not trailing
    if row_names and len(header) < 2:
        return None
    return _Cut(delimiter, tuple(rows), above, width - trailing, row_names=row_names, trailing=trailing)


def _wide(rows: Sequence[tuple[str, ...]]) -> bool:
    return len(rows) == 1 and len(rows[0]) > 1


def _fits(rows: Sequence[tuple[str, ...]], width: int) -> bool:
    """Whether these are a header and rows of one width; a header may lack a name for the first, or the last, cell."""
    header, body = rows[0], rows[1:]
    shorter = len(header) == width - 1 and (len(header) > 1 or all(not row[-1].strip() for row in body))
    return (len(header) == width or shorter) and all(len(row) == width for row in body)


def _uneven(lines: Sequence[str], delimiter: str) -> _Cut:
    """The first line as a header, whatever follows: reading says which row does not fit it."""
    try:
        header = next((tuple(row) for row in cells_of(iter(lines[:1]), delimiter) if row), ())
    except csv.Error:
        header = tuple(lines[0].strip().split(delimiter))
    return _Cut(delimiter, (header,), 0, len(header), row_names=False, trailing=False)


def _line_of(kept: Sequence[tuple[int, str]], cut: _Cut) -> int:
    """The number of the line at which the header begins, counted from 0."""
    blanks = 0
    for number, line in kept:
        if line.strip():
            if blanks == cut.above:
                return number
            blanks += 1
    return kept[0][0]


def _units(
    header: Sequence[str], cut: _Cut, section: TableSection, remarks: list[str]
) -> tuple[str | None, ...] | None:
    """The units of the row below the header, where it is one."""
    if section.units_row is False or not cut.body:
        return None
    first = [cell.strip() for cell in cut.body[0][: cut.width]]
    stated = [None if cell in _GAP or cell == "1" else cell.strip("[]()") for cell in first]
    if not section.units_row:
        below = cut.body[1:]
        named = [place for place, unit in enumerate(stated) if unit is not None]
        fits = all(is_unit(str(stated[place])) and _mostly_numbers([row[place] for row in below]) for place in named)
        if not below or len(named) < max(1, len(first) / 2) or any(is_number(cell) for cell in first) or not fits:
            return None
        shown = ", ".join(f"{header[place]} in {stated[place]}" for place in named[:3])
        remarks.append(
            f"the row below the header is one of units ({shown}): --set table.units_row=false says otherwise"
        )
    return tuple(stated)


def _mostly_numbers(cells: Sequence[str]) -> bool:
    """Whether most cells are numbers, beside gaps and a few words such as `n.d.`."""
    known = [cell for cell in cells if cell.strip() not in _GAP]
    return not known or 3 * sum(map(is_number, known)) >= 2 * len(known)


def _free(name: str, used: Sequence[str]) -> str:
    while name in used:
        name += "_"
    return name
