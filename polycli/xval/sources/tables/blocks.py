"""The blocks of tables whose columns have types of their own: pieces whose rows are records, or whole files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polycli.errors import SourceError
from polycli.xval.data.source import Block, RecordWriter
from polycli.xval.recipe.sources import TableSection
from polycli.xval.records.units import joined_units
from polycli.xval.records.values import Value
from polycli.xval.sources.tables.headers import KeysOfHeaders


@dataclass(frozen=True, kw_only=True)
class RowBlock:
    """Some rows of a file; each is a record. A reader of one kind of file adds how they are read."""

    path: Path
    #: What the manifest calls the file.
    source: str
    #: The index of the first row in the file, and how many there are.
    first: int
    size: int
    #: By column: its key.
    keys: tuple[tuple[str, str], ...]
    id_column: str | None

    def write(self, writer: RecordWriter, index: int, row: Mapping[str, Value]) -> None:
        """Write a row, by header, as a record; it is named by its id, or by its number in the file, from 1."""
        name = f"{self.source}:{index + 1}" if self.id_column is None else str(row[self.id_column])
        writer.add({key: row[header] for header, key in self.keys}, id=name)


@dataclass(frozen=True, kw_only=True)
class WholeFile:
    """One file, which is one record of lists by column."""

    path: Path
    source: str
    #: How many rows there are.
    size: int
    keys: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """A name for the block that is unique within the source."""
        return self.source


class TableFile(ABC):
    """A file that was looked at: its columns, and the pieces that it can be read in."""

    def __init__(self, path: Path, source: str, columns: KeysOfHeaders, pieces: Sequence[int]) -> None:
        """`pieces`: how many rows each has, in the order of the file."""
        self.path, self.source, self.columns, self.pieces = path, source, columns, pieces

    @abstractmethod
    def rows(self, piece: int, first: int, size: int, id_column: str | None) -> Block:
        """The block of the first `size` rows of a piece, which begins with the row `first` of the file."""

    @abstractmethod
    def whole(self) -> Block:
        """The block of the whole file."""


def divided(
    files: Iterable[TableFile], section: TableSection, limit: int | None
) -> tuple[tuple[Block, ...], KeysOfHeaders]:
    """A block for each piece or file up to `limit` records, and the keys and units of the columns.

    Files behind the limit are not looked at.

    Raises:
        SourceError: a file has no rows.
        StoreError: two files state different units of one column.
    """
    blocks: list[Block] = []
    opened: list[TableFile] = []
    left = limit
    for file in files:
        if not sum(file.pieces):
            raise SourceError(f"{file.source}: there are no rows")
        opened.append(file)
        if section.record == "file":
            blocks.append(file.whole())
            left = None if left is None else left - 1
        first = 0
        for piece, rows in enumerate(file.pieces if section.record == "row" else ()):
            size = rows if left is None else min(rows, left)
            if size:
                blocks.append(file.rows(piece, first, size, section.id_column))
            first += rows
            left = None if left is None else left - size
        if left == 0:
            break
    units = joined_units([(file.source, file.columns.units) for file in opened])
    remarks = tuple(remark for file in opened for remark in file.columns.remarks)
    numbers = any(file.columns.has_numbers for file in opened)
    return tuple(blocks), KeysOfHeaders(opened[0].columns.keys, units, remarks, numbers)
