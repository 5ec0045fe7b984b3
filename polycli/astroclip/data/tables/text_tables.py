"""Tables of text, CSV and ECSV: every number digit by digit, whatever kind of column it is taken for.

Cells are read as texts first. Numbers that a float would change, such as ids of 20 digits, and those with leading
zeros, stay texts.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycli.astroclip.data.columns import Column
from polycli.astroclip.data.tables.cells import column_of_cells, is_number
from polycli.astroclip.data.tables.ecsv import EcsvColumn, ecsv_header
from polycli.astroclip.data.tables.table import Field, Reading
from polycli.errors import SourceError
from polycli.files.plain import reason_of
from polycli.names import clean, shortened_name

_DELIMITERS = (",", ";", "\t", "|")
#: Bytes of the beginning of a file in which its header must be.
_HEAD = 4 * 2**20
_COMMENT = "#"


@dataclass(frozen=True)
class Header:
    """The names and the layout that the first lines of a file state."""

    names: tuple[str, ...]
    delimiter: str
    #: Lines before the rows.
    lines: int
    #: Of an ECSV file: what its header says of each column.
    declared: tuple[EcsvColumn, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextTable:
    """A CSV or ECSV file, whose header was read."""

    path: Path
    fields: Sequence[Field]
    remarks: Sequence[str]
    header: Header
    marks: tuple[str, ...]

    def read(self, names: Sequence[str]) -> Iterator[Column]:
        """The columns of these names; see `Table.read`."""
        places = {field.name: place for place, field in enumerate(self.fields)}
        cells = self._cells([places[name] for name in names])
        declared = self.header.declared
        for name in names:
            place = places[name]
            kind = declared[place].datatype if declared else None
            yield column_of_cells(
                name,
                cells[str(place)],
                source=self.path.name,
                unit=self.fields[place].unit,
                marks=self.marks,
                declared=kind,
                comma=self.header.delimiter == ";",
            )

    def _cells(self, places: Sequence[int]) -> Any:  # noqa: ANN401  # pyarrow's table
        """The texts of these columns; an empty cell is null."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        def skip_comments(row: Any) -> str:  # noqa: ANN401
            return "skip" if row.text.lstrip().startswith(_COMMENT) else "error"

        names = [str(place) for place in range(len(self.fields))]
        wanted = [str(place) for place in places]
        try:
            return arrow_csv.read_csv(
                self.path,
                read_options=arrow_csv.ReadOptions(column_names=names, skip_rows=self.header.lines, use_threads=False),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=self.header.delimiter, newlines_in_values=True, invalid_row_handler=skip_comments
                ),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=wanted,
                    column_types=dict.fromkeys(wanted, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=not self.header.declared,
                ),
            )
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise SourceError(
                f"{self.path}: the CSV file cannot be read: {reason_of(error)}",
                hint=f"read with the delimiter {self.header.delimiter!r} and {len(names)} columns: "
                f"{shortened_name(', '.join(self.header.names))}",
            ) from error


def open_text_table(path: Path, reading: Reading) -> TextTable:
    """Read the header.

    Raises:
        SourceError: there is none, it names a column twice, or the file is no text.
    """
    if reading.part is not None:
        raise SourceError(f"{path}: hdu is {reading.part}, and a text file has one table", hint="leave hdu out")
    header = _header(path)
    twice = sorted({name for name in header.names if name and header.names.count(name) > 1})
    if twice:
        raise SourceError(f"{path}: the header names {clean(twice[0])!r} twice", hint="give each column its own name")
    if header.declared:
        fields = [Field(each.name, each.unit, each.unusable) for each in header.declared]
    else:
        fields = [Field(name, "", "" if name else "a column without a name") for name in header.names]
    return TextTable(path, fields, list(header.remarks), header, reading.marks)


def _header(path: Path) -> Header:
    lines = _first_lines(path)
    comments = []
    for number, line in enumerate(lines):
        if line.startswith(_COMMENT):
            comments.append(line)
        elif line.strip():
            return _named(path, comments, lines, number)
    raise SourceError(f"{path}: has no line with the names of columns")


def _named(path: Path, comments: Sequence[str], lines: Sequence[str], number: int) -> Header:
    """The header, whose line is the first that is neither empty nor a comment; of some files the last comment is."""
    ecsv = ecsv_header(path, comments)
    if ecsv is not None:
        delimiter, declared = ecsv
        found = tuple(_cells_of(lines[number], delimiter))
        names = tuple(column.name for column in declared)
        if found != names:
            raise SourceError(f"{path}: the columns are {', '.join(found)}, and the ECSV header has {', '.join(names)}")
        return Header(names, delimiter, number + 1, tuple(declared))
    first = lines[number]
    delimiter = max(_DELIMITERS, key=lambda each: len(_cells_of(first, each)))
    names = tuple(name.strip() for name in _cells_of(first, delimiter))
    remarks = []
    if delimiter != "," and not path.name.lower().endswith((".tsv", ".tsv.gz")):
        remarks.append(f"cells are separated by {delimiter!r}")
    if not all(is_number(name) for name in names):
        return Header(names, delimiter, number + 1, (), tuple(remarks))
    above = tuple(name.strip() for name in _cells_of(comments[-1].lstrip("# "), delimiter)) if comments else ()
    if len(above) == len(names) and not any(is_number(name) for name in above):
        remarks.append("the names of the columns are taken from the comment above them")
        return Header(above, delimiter, number, (), tuple(remarks))
    raise SourceError(
        f"{path}: the first line holds numbers ({', '.join(names[:3])}), names of columns were expected",
        hint="add a line with a name for each column",
    )


def _cells_of(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter, skipinitialspace=delimiter == ","), [])


def _first_lines(path: Path) -> list[str]:
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as file:
            head = file.read(_HEAD)
        text = head.decode("utf-8-sig") if len(head) < _HEAD else head.decode("utf-8-sig", "replace")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: the CSV file cannot be read as UTF-8: {reason_of(error)}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
