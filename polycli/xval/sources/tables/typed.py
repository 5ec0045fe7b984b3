"""Tables whose columns have types and units of their own: ECSV and CDS by astropy, Excel by openpyxl."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from polycli.errors import SourceError
from polycli.files.plain import check_plain, open_plain, reason_of, refuse_claim
from polycli.xval.data.source import Block, RecordWriter
from polycli.xval.recipe.sources import TableSection
from polycli.xval.records.values import Value
from polycli.xval.sources.tables.blocks import RowBlock, TableFile, WholeFile, divided
from polycli.xval.sources.tables.headers import KeysOfHeaders, keys_of

EXCEL = ".xlsx"
#: Bytes in which a table of the CDS says that it is one.
_LOOKED_AT = 2**14
_CDS = b"Byte-by-byte Description of file"
BLOCK_ROWS = 8192


@dataclass(frozen=True)
class TypedTable:
    """A table in memory."""

    names: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    #: By name of a column.
    units: Mapping[str, str]
    #: What was decided about the file.
    remarks: tuple[str, ...] = ()


def typed_kind(path: Path) -> str | None:
    """`ecsv`, `cds` or `xlsx`, by the first bytes of a file and its name; None for all others."""
    try:
        with open_plain(path) as file:
            head = file.read(_LOOKED_AT)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {reason_of(error)}") from error
    if head.startswith(b"# %ECSV"):
        return "ecsv"
    if head.startswith(b"PK\x03\x04") and path.suffix.lower() == EXCEL:
        return "xlsx"
    return "cds" if _CDS in head else None


@dataclass(frozen=True, kw_only=True)
class TypedRows(RowBlock):
    """Some rows of a file."""

    kind: str
    sheet: str | None

    @property
    def key(self) -> str:
        """A name for the block that is unique within the source."""
        return f"{self.source}@{self.first}"

    def load(self, writer: RecordWriter) -> None:
        """Writes each row as a record."""
        table = read_typed(self.path, self.kind, self.sheet)
        for index, row in enumerate(table.rows[self.first : self.first + self.size], start=self.first):
            self.write(writer, index, dict(zip(table.names, row, strict=True)))


@dataclass(frozen=True, kw_only=True)
class TypedWhole(WholeFile):
    """One file, which is one record of lists by column."""

    kind: str
    sheet: str | None

    def load(self, writer: RecordWriter) -> None:
        """Writes the file as one record."""
        table = read_typed(self.path, self.kind, self.sheet)
        columns = {name: column for column, name in enumerate(table.names)}
        writer.add({key: [row[columns[header]] for row in table.rows] for header, key in self.keys}, id=self.source)


class TypedFile(TableFile):
    """A file that is read as a whole; its pieces are so many rows each."""

    def __init__(
        self, path: Path, source: str, columns: KeysOfHeaders, rows: int, *, read_as: tuple[str, str | None]
    ) -> None:
        """`read_as`: the kind of the file, and the sheet that is wanted of a workbook."""
        super().__init__(path, source, columns, [min(BLOCK_ROWS, rows - first) for first in range(0, rows, BLOCK_ROWS)])
        self.kind, self.sheet = read_as

    def rows(self, piece: int, first: int, size: int, id_column: str | None) -> TypedRows:  # noqa: ARG002  # by `first`
        """Some rows of the file."""
        return TypedRows(
            path=self.path,
            source=self.source,
            kind=self.kind,
            sheet=self.sheet,
            first=first,
            size=size,
            keys=self.columns.keys,
            id_column=id_column,
        )

    def whole(self) -> TypedWhole:
        """The file as one record."""
        return TypedWhole(
            path=self.path,
            source=self.source,
            kind=self.kind,
            sheet=self.sheet,
            size=sum(self.pieces),
            keys=self.columns.keys,
        )


def open_typed(
    named: Sequence[tuple[Path, str]], kinds: Sequence[str], section: TableSection, limit: int | None
) -> tuple[tuple[Block, ...], KeysOfHeaders]:
    """Blocks, and the keys and units of the columns.

    Raises:
        SourceError: a file is damaged or has no rows, or a column that the recipe names does not exist.
        StoreError: two files state different units of one column.
    """
    files = (
        _looked_at(path, name, kind, section, first=number == 0)
        for number, ((path, name), kind) in enumerate(zip(named, kinds, strict=True))
    )
    return divided(files, section, limit)


def _looked_at(path: Path, name: str, kind: str, section: TableSection, *, first: bool) -> TypedFile:
    """Looks at one file; what its headers tell is said of the first alone, what was decided about a file of each."""
    table = read_typed(path, kind, section.sheet)
    columns = keys_of(name, table.names, section, table.units)
    own = [f"{name}: {remark}" for remark in table.remarks]
    numbers = _has_numbers(table, section.id_column)
    said = replace(columns, remarks=(*(columns.remarks if first else ()), *own), has_numbers=numbers)
    return TypedFile(path, name, said, len(table.rows), read_as=(kind, section.sheet))


def _has_numbers(table: TypedTable, id_column: str | None) -> bool:
    """Whether a number stands in a column that does not name rows, in a list perhaps."""
    wanted = [place for place, name in enumerate(table.names) if name != id_column]
    return any(_is_number(row[place]) for row in table.rows for place in wanted)


def _is_number(value: Value) -> bool:
    if isinstance(value, list):
        return any(_is_number(item) for item in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


@lru_cache(maxsize=2)
def _read(path: Path, kind: str, sheet: str | None, stamp: tuple[int, int]) -> TypedTable:  # noqa: ARG001  # of the file
    return _read_excel(path, sheet) if kind == "xlsx" else _read_astropy(path, kind)


def read_typed(path: Path, kind: str, sheet: str | None) -> TypedTable:
    """The whole table; blocks of one process share it.

    Raises:
        SourceError: the file is damaged, or the library for its kind is not installed.
    """
    check_plain(path)
    status = path.stat()
    return _read(path, kind, sheet, (status.st_mtime_ns, status.st_size))


def _read_astropy(path: Path, kind: str) -> TypedTable:
    from astropy.table import Column, Table

    try:
        table = Table.read(path, format=f"ascii.{kind}")
    except Exception as error:  # astropy raises many kinds for files that are not what they begin as.
        raise SourceError(f"{path}: cannot be read as {kind.upper()}: {reason_of(error)}") from error
    columns = {name: table[name] for name in table.colnames}
    values = [
        [_plain(value) for value in _doubles(column).tolist()]
        if isinstance(column, Column)
        else [str(value) for value in column]
        for column in columns.values()
    ]
    units = {name: str(column.unit) for name, column in columns.items() if getattr(column, "unit", None) is not None}
    return TypedTable(tuple(columns), tuple(zip(*values, strict=True)), units)


def _read_excel(path: Path, sheet: str | None) -> TypedTable:
    try:
        import openpyxl
    except ImportError as error:
        raise SourceError(
            f"{path}: Excel files are read by openpyxl, which is not installed",
            hint="pip install 'polycli[excel]', or save the sheet as CSV",
        ) from error
    try:
        with zipfile.ZipFile(path) as packed:
            refuse_claim(path, sum(entry.file_size for entry in packed.infolist()))
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheets = book.sheetnames
        wanted = sheet if sheet in sheets else sheets[0]
        lines = [list(row) for row in book[wanted].iter_rows(values_only=True)]
        book.close()
    except SourceError:
        raise
    except Exception as error:  # openpyxl passes on whatever a damaged archive or its XML raises.
        raise SourceError(f"{path}: cannot be read as an Excel file: {reason_of(error)}") from error
    if sheet not in {None, *sheets}:
        raise SourceError(f"{path}: there is no sheet {sheet!r}", hint=f"it has {', '.join(sheets)}")
    rows = [line for line in lines if any(cell is not None for cell in line)]
    if not rows:
        raise SourceError(f"{path}: the sheet is empty")
    width = max(place + 1 for row in rows for place, cell in enumerate(row) if cell is not None)
    header = [
        f"column_{place + 1}" if cell is None else str(cell).strip() for place, cell in enumerate(rows[0][:width])
    ]
    body = [tuple(_plain(cell) for cell in [*row, *[None] * width][:width]) for row in rows[1:]]
    remarks: tuple[str, ...] = ()
    if sheet is None and len(sheets) > 1:
        remarks = (f"read from {wanted!r}, the first of {len(sheets)} sheets: --set table.sheet=NAME names another",)
    return TypedTable(tuple(header), tuple(body), {}, remarks)


def _doubles(values: Any) -> Any:  # noqa: ANN401  # a column of astropy, or an array in one of its cells
    """Numbers of other precisions as the float64 of their own digits: the float32 that is written 0.1 becomes 0.1."""
    return values.astype(str).astype(np.float64) if values.dtype.kind == "f" and values.dtype.itemsize != 8 else values


def _plain(value: Any) -> Value:  # noqa: ANN401  # what astropy and openpyxl make of a cell
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        value = _doubles(value).tolist()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, dt.datetime | dt.date | dt.time) else str(value)
