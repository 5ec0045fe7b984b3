"""`--source table`: CSV and Parquet, a record for each row or each file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polycli.console import first_few, note
from polycli.errors import SourceError
from polycli.files.parquet import open_parquet as open_parquet_file
from polycli.files.streams import suffix_of
from polycli.xval.data.flat_rows import FlatColumn, FlatRows
from polycli.xval.data.source import Block, Opened, RecordWriter, TableAbout
from polycli.xval.recipe.sources import TableSection
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.records.keypaths import TOP, child_path, printable
from polycli.xval.records.values import Value
from polycli.xval.sources.tables.cell_chunks import cell_chunks
from polycli.xval.sources.tables.chunks import row_chunks
from polycli.xval.sources.tables.columns import Column
from polycli.xval.sources.tables.csv_files import CsvFile, names_of, open_csv
from polycli.xval.sources.tables.flat_columns import flat_columns
from polycli.xval.sources.tables.parquet_files import is_parquet, open_parquet
from polycli.xval.sources.tables.scanning import CsvPiece, scan
from polycli.xval.sources.tables.typed import EXCEL, open_typed, read_typed, typed_kind

SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".parquet", ".ecsv", ".mrt", EXCEL)
_SURE = (".csv", ".tsv", ".parquet", ".ecsv", ".mrt", EXCEL)
BLOCK_FILES = 64
#: What is said of one column.
_OF_COLUMN = re.compile(r"column (?P<name>'[^']*'|\"[^\"]*\"): (?P<said>.*)", re.DOTALL)
#: Columns that a line shows.
_SHOWN = 5


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
        missing, file = self.section.marks, self.piece.file
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
        missing = self.section.marks
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
        missing = self.section.marks
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
        decided = {} if about.row_numbers is None else {"id_column": about.row_numbers}
        for report in joined_reports(reports):
            note(report)
        return Opened(
            blocks=blocks,
            files=tuple(path for path, _ in named),
            file_names=tuple(name for _, name in named),
            about=about,
            options={**recipe.table.model_dump(mode="json"), **decided},
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
        noun = "column" if len(names) == 1 else "columns"
        found.append(f"{noun} {first_few(names, _SHOWN)}: {said}" if names else said)
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
    files, given = [open_csv(path, name, section) for path, name in named], section.id_column
    section, columns, pieces, reports = scan(files, section, limit)
    kept = tuple(columns)
    blocks: tuple[Block, ...]
    if section.record == "row":
        blocks = tuple(CsvRows(piece, kept, section) for piece in pieces)
    else:
        blocks = tuple(
            CsvWholes(tuple(pieces[start : start + BLOCK_FILES]), kept, section)
            for start in range(0, len(pieces), BLOCK_FILES)
        )
    about = described(columns, reports)
    return blocks, replace(about, row_numbers=section.id_column if section.id_column != given else None), reports


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
