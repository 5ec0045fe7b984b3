"""`--source table`: CSV and Parquet, a record for each row or each file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polycli.console import note, progress
from polycli.errors import SourceError
from polycli.files.parquet import open_parquet as open_parquet_file
from polycli.files.streams import suffix_of
from polycli.xval.data.flat_rows import FlatColumn, FlatRows
from polycli.xval.data.source import Block, Opened, RecordWriter, TableAbout
from polycli.xval.recipe.sources import TableSection
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.records.cells import same_unit
from polycli.xval.records.keypaths import TOP, child_path, printable
from polycli.xval.records.values import Value
from polycli.xval.sources.tables.cell_chunks import cell_chunks
from polycli.xval.sources.tables.chunks import CHUNK_ROWS, row_chunks
from polycli.xval.sources.tables.columns import Column, Tally, decide
from polycli.xval.sources.tables.csv_files import CsvFile, Place, names_of, open_csv
from polycli.xval.sources.tables.flat_columns import flat_columns
from polycli.xval.sources.tables.parquet_files import is_parquet, open_parquet
from polycli.xval.sources.tables.typed import EXCEL, open_typed, read_typed, typed_kind

SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".parquet", ".ecsv", ".mrt", EXCEL)
_SURE = (".csv", ".tsv", ".parquet", ".ecsv", ".mrt", EXCEL)
BLOCK_ROWS = CHUNK_ROWS
BLOCK_FILES = 64
#: Of files that can only be read from their beginning on: so many times more rows make a block.
_LARGER = 32
#: What is said of one column.
_OF_COLUMN = re.compile(r"column (?P<name>'[^']*'|\"[^\"]*\"): (?P<said>.*)", re.DOTALL)
#: Columns that a line shows.
_SHOWN = 5
#: Bytes from which on the look at all cells tells how far it is.
_MUCH = 2**23


@dataclass(frozen=True)
class CsvPiece:
    """A run of rows of one file."""

    file: CsvFile
    start: Place
    #: Number of the first row in its file, and how many there are.
    first: int
    count: int
    #: The byte behind the last one, where it is known.
    stop: int | None = None


@dataclass(frozen=True)
class CsvRows:
    """A block of rows; each is a record."""

    piece: CsvPiece
    columns: tuple[Column, ...]
    section: TableSection

    @property
    def key(self) -> str:
        """A name for the block that is unique within the source."""
        return f"{self.source}@{self.piece.start.byte}"

    @property
    def source(self) -> str:
        """The name of the file."""
        return self.piece.file.name

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.piece.count

    def flat(self) -> tuple[FlatRows, Callable[[int], Value]] | None:
        """All rows at once, and what each is when it is read alone; None where a number must stay a literal."""
        missing, file = frozenset(self.section.missing), self.piece.file
        chunks = [cells for _, cells in cell_chunks(file, self.piece.start, self.piece.count, stop=self.piece.stop)]
        columns = [pa.concat_arrays(parts) for parts in zip(*chunks, strict=True)]
        by_header = {column.header: column for column in self.columns}
        ordered = [by_header[header] for header in file.header]
        first, rows = self.piece.first + 1, len(columns[0])
        numbers = pc.cast(pa.array(np.arange(first, first + rows)), pa.large_string())
        name, nothing = (pa.scalar(text, pa.large_string()) for text in (f"{printable(self.source)}:", ""))
        ids = pc.binary_join_element_wise(name, numbers, nothing)
        found: list[FlatColumn] = []
        for column, cells in zip(ordered, columns, strict=True):
            if column.header == self.section.id_column:
                ids = pc.if_else(pc.equal(cells, ""), ids, cells)
            elif (parts := flat_columns(column, cells, missing)) is None:
                return None
            else:
                found += parts

        def value_of(row: int) -> Value:
            return row_value(file, [cells[row].as_py() for cells in columns], ordered, self.section, missing)

        return FlatRows(found, ids), value_of

    def load(self, writer: RecordWriter) -> None:
        """Parses the rows and writes each as a record."""
        missing = frozenset(self.section.missing)
        for number, (name, value) in enumerate(read_rows(self.piece, self.columns, self.section, missing)):
            writer.add(value, id=name or f"{self.source}:{self.piece.first + number + 1}")


@dataclass(frozen=True)
class CsvWholes:
    """A block of files; each is a record of lists by column."""

    pieces: tuple[CsvPiece, ...]
    columns: tuple[Column, ...]
    section: TableSection

    @property
    def key(self) -> str:
        """A name for the block that is unique within the source."""
        return f"{self.source} and {len(self.pieces) - 1} more"

    @property
    def source(self) -> str:
        """The name of the first file."""
        return self.pieces[0].file.name

    @property
    def size(self) -> int:
        """The number of rows of all files."""
        return sum(piece.count for piece in self.pieces)

    def load(self, writer: RecordWriter) -> None:
        """Parses the files and writes each as a record."""
        missing = frozenset(self.section.missing)
        for piece in self.pieces:
            found: dict[str, list[Value]] = {}
            for _, value in read_rows(piece, self.columns, self.section, missing):
                for key, item in value.items():
                    found.setdefault(key, []).append(item)
            writer.add(found, id=piece.file.name)


class TableSource:
    """The source `table`, as its section of the recipe describes it."""

    def accepts(self, path: Path) -> bool:
        """Whether it is a table by its name, or Parquet by its first bytes; a `.txt` may be none and is not taken."""
        return suffix_of(path) in _SURE or (path.is_file() and is_parquet(path))

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Opened:
        """Read all cells once, to decide how each column is read, and cut the rows into blocks.

        Raises:
            SourceError: an input is missing, empty or malformed, or a column that the recipe names does not exist.
        """
        named = names_of(inputs, SUFFIXES)
        blocks, about, reports = look(named, recipe.table, limit)
        for report in joined_reports(reports):
            note(report)
        return Opened(
            blocks=blocks,
            files=tuple(path for path, _ in named),
            file_names=tuple(name for _, name in named),
            about=about,
            options=recipe.table.model_dump(mode="json"),
        )


def joined_reports(reports: Sequence[str]) -> list[str]:
    """Joins what is said of many columns alike, in one line each.

    >>> joined_reports(["column 'a': text", "b.csv: 3 lines", "column 'c': text"])
    ["columns 'a', 'c': text", 'b.csv: 3 lines']
    """
    columns: dict[str, list[str]] = {}
    for report in reports:
        match = _OF_COLUMN.fullmatch(report)
        names = columns.setdefault(report if match is None else match["said"], [])
        if match is not None:
            names.append(match["name"])
    found = []
    for said, names in columns.items():
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        noun = "column" if len(names) == 1 else "columns"
        found.append(f"{noun} {', '.join(names[:_SHOWN])}{more}: {said}" if names else said)
    return found


def headers_of(path: Path, name: str, section: TableSection) -> tuple[str, ...]:
    """The names of a table's columns, as the file has them.

    Raises:
        SourceError: it cannot be read as a table.
    """
    if is_parquet(path):
        with open_parquet_file(path) as file:
            return tuple(file.schema_arrow.names)
    kind = typed_kind(path)
    return open_csv(path, name, section).header if kind is None else read_typed(path, kind, section.sheet).names


def _reader(kind: str) -> str:
    return kind if kind in {"Parquet", "text"} else "typed"


def look(
    named: Sequence[tuple[Path, str]], section: TableSection, limit: int | None
) -> tuple[tuple[Block, ...], TableAbout, list[str]]:
    """Blocks of files of one kind, what the manifest says of their columns, and what the user should know.

    Raises:
        SourceError: a file is empty or malformed, or of another kind, or a column that the recipe names does not exist.
    """
    kinds = ["Parquet" if is_parquet(path) else typed_kind(path) or "text" for path, _ in named]
    other = next((place for place, kind in enumerate(kinds) if _reader(kind) != _reader(kinds[0])), None)
    if other is not None:
        raise SourceError(f"{named[0][1]} is {kinds[0]}, {named[other][1]} is {kinds[other]}: files of one kind")
    if kinds[0] == "text":
        return open_csv_files(named, section, limit)
    parquet = kinds[0] == "Parquet"
    blocks, columns = open_parquet(named, section, limit) if parquet else open_typed(named, kinds, section, limit)
    if section.numbers == "required" and not columns.has_numbers:
        raise SourceError(
            f"{named[0][1]}: nothing in it is a number, in {len(columns.keys)} columns "
            f"({', '.join([header for header, _ in columns.keys][:4])})",
            hint="--set table.numbers=optional takes texts alone",
        )
    return blocks, TableAbout(units=dict(columns.units)), list(columns.remarks)


def open_csv_files(
    named: Sequence[tuple[Path, str]], section: TableSection, limit: int | None
) -> tuple[tuple[Block, ...], TableAbout, list[str]]:
    """Blocks, what the manifest says of the columns, and what the user should know of them.

    Raises:
        SourceError: a file is empty or malformed, or a column that the recipe names does not exist.
    """
    files = [open_csv(path, name, section) for path, name in named]
    columns, pieces, reports = scan(files, section, limit)
    kept = tuple(columns)
    blocks: tuple[Block, ...]
    if section.record == "row":
        blocks = tuple(CsvRows(piece, kept, section) for piece in pieces)
    else:
        blocks = tuple(
            CsvWholes(tuple(pieces[start : start + BLOCK_FILES]), kept, section)
            for start in range(0, len(pieces), BLOCK_FILES)
        )
    return blocks, described(columns, reports), reports


def scan(
    files: Sequence[CsvFile], section: TableSection, limit: int | None
) -> tuple[list[Column], list[CsvPiece], list[str]]:
    """Look at every cell: how columns are read, where blocks begin, and what to say of it."""
    tallies: dict[str, Tally] = {}
    pieces: list[CsvPiece] = []
    left = limit
    with _looking(files) as tell:
        for file in files:
            most = left if section.record == "row" else None
            counted = [tallies.setdefault(header, Tally()) for header in file.header]
            count, starts = _count_cells(file, counted, section, most, tell)
            if section.record == "row":
                stops = [*(start.byte for start in starts[1:]), None]
                pieces += [
                    CsvPiece(file, start, first, min(_block_rows(file), count - first), stop)
                    for start, stop, first in zip(starts, stops, range(0, count, _block_rows(file)), strict=True)
                ]
            else:
                pieces.append(CsvPiece(file, starts[0], 0, count))
            if left is not None:
                left -= count if section.record == "row" else 1
                if left <= 0:
                    break
    for name in (*section.columns, *([section.id_column] if section.id_column else [])):
        if name not in tallies:
            raise SourceError(f"there is no column {name!r}", hint=f"the files have {', '.join(tallies)}")
    columns, reports = decide(tallies, section, _units_below(files))
    if section.numbers == "required" and not any(column.decimal and tallies[column.header].units for column in columns):
        cut = files[0].layout.delimiter
        raise SourceError(
            f"{files[0].name}: nothing in it is a number, in {len(columns)} columns cut at {cut!r} "
            f"({', '.join(list(tallies)[:4])}){': ' + reports[0] if reports else ''}",
            hint="--set table.delimiter=X, if it is cut wrongly; --set table.numbers=optional takes texts alone",
        )
    said = [f"{file.name}: {remark}" for file in files for remark in file.layout.remarks]
    return columns, pieces, [*said, *reports]


def _block_rows(file: CsvFile) -> int:
    return BLOCK_ROWS if file.seekable else BLOCK_ROWS * _LARGER


def _count_cells(
    file: CsvFile, tallies: Sequence[Tally], section: TableSection, most: int | None, tell: Callable[[int], None]
) -> tuple[int, list[Place]]:
    """Count the cells of a file; returns how many rows it has, and where blocks of them begin.

    Raises:
        SourceError: the file has no rows, or is malformed.
    """
    missing = frozenset(section.missing)
    starts: list[Place] = []
    count = 0
    for place, columns in cell_chunks(file, count=most, size=BLOCK_ROWS):
        if count % _block_rows(file) == 0:
            starts.append(place)
        for tally, cells in zip(tallies, columns, strict=True):
            tally.add(cells, missing, section.thousands)
        count += len(columns[0])
        tell(place.byte if file.seekable else 0)
    tell(file.path.stat().st_size if file.seekable else 0)
    if count == 0:
        raise SourceError(f"{file.name}: there are no rows below the header")
    return count, starts


@contextmanager
def _looking(files: Sequence[CsvFile]) -> Iterator[Callable[[int], None]]:
    """A report of progress where there is much to look at; it is told at which byte of a file the look is."""
    total = sum(file.path.stat().st_size for file in files if file.seekable)
    if total < _MUCH:
        yield lambda byte: None  # noqa: ARG005  # called by place
        return
    with progress(total, "looking at all cells (bytes)") as bar:
        last = 0

        def tell(byte: int) -> None:
            nonlocal last
            # A lower one than before is of the next file.
            bar.advance(byte - last if byte >= last else byte)
            last = byte

        yield tell


def _units_below(files: Sequence[CsvFile]) -> dict[str, str]:
    """Maps headers to the units of the rows below them.

    Raises:
        SourceError: two files state different units of one column.
    """
    found: dict[str, str] = {}
    for file in files:
        for header, unit in zip(file.header, file.layout.units or (), strict=False):
            if unit is not None and not same_unit(found.setdefault(header, unit), unit):
                raise SourceError(f"{file.name}: {header!r} is in {unit}, in other files in {found[header]}")
    return found


def described(columns: Sequence[Column], reports: Sequence[str]) -> TableAbout:
    """Returns the entry of the columns in the manifest."""
    return TableAbout(
        columns={column.header: column.described() for column in columns},
        # An uncertainty is in the unit of its value.
        units={
            child_path(TOP, key): column.unit
            for column in columns
            if column.unit is not None
            for key in column.number_keys
        },
        reports=list(reports),
    )


def read_rows(
    piece: CsvPiece, columns: Sequence[Column], section: TableSection, missing: frozenset[str]
) -> Iterator[tuple[str | None, dict[str, Value]]]:
    """Id, where a column holds it, and value of each row. The column of ids becomes the id alone."""
    by_header = {column.header: column for column in columns}
    ordered = [by_header[header] for header in piece.file.header]
    id_place = None if section.id_column not in piece.file.header else piece.file.header.index(section.id_column)
    for row in chain.from_iterable(chunk for _, chunk in row_chunks(piece.file, piece.start, piece.count)):
        name = row[id_place] if id_place is not None else None
        yield name, row_value(piece.file, row, ordered, section, missing)


def row_value(
    file: CsvFile, row: Sequence[str], columns: Sequence[Column], section: TableSection, missing: frozenset[str]
) -> dict[str, Value]:
    """The record of one row, whose columns come in the order of the file."""
    value: dict[str, Value] = {}
    for header, column, cell in zip(file.header, columns, row, strict=True):
        if header != section.id_column:
            value.update(column.values(cell, missing))
    return value
