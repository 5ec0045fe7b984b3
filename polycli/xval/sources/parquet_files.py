"""Parquet: columns already have types, so nothing is decided; a record for each row or each file."""

from __future__ import annotations

import datetime as dt
import decimal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycli.errors import SourceError
from polycli.files.parquet import open_parquet as open_parquet_file
from polycli.files.plain import open_plain, reason_of
from polycli.xval.data.source import Block, RecordWriter
from polycli.xval.recipe.sources import TableSection
from polycli.xval.records.cells import split_header
from polycli.xval.records.keypaths import TOP, child_path
from polycli.xval.records.units import joined_units
from polycli.xval.records.values import NumberLiteral, Value

#: Rows that are converted at once.
_BATCH = 4096


def is_parquet(path: Path) -> bool:
    """Whether the file is Parquet, by its first bytes."""
    try:
        with open_plain(path) as file:
            return file.read(4) == b"PAR1"
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {reason_of(error)}") from error


@dataclass(frozen=True)
class ParquetRows:
    """One row group; each row is a record."""

    path: Path
    source: str
    group: int
    first: int
    size: int
    #: By column: its key.
    keys: tuple[tuple[str, str], ...]
    id_column: str | None

    @property
    def key(self) -> str:
        """A name for the block that is unique within the source."""
        return f"{self.source}@{self.group}"

    def load(self, writer: RecordWriter) -> None:
        """Converts the rows and writes each as a record."""
        number = self.first
        for values in _batches(self.path, [self.group]):
            for row in values[: self.first + self.size - number]:
                number += 1
                name = f"{self.source}:{number}" if self.id_column is None else str(row[self.id_column])
                writer.add({key: _value(row[header]) for header, key in self.keys}, id=name)


@dataclass(frozen=True)
class ParquetWhole:
    """One file, which is one record of lists by column."""

    path: Path
    source: str
    size: int
    keys: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """A name for the block that is unique within the source."""
        return self.source

    def load(self, writer: RecordWriter) -> None:
        """Converts the file and writes it as one record."""
        found: dict[str, list[Value]] = {key: [] for _, key in self.keys}
        for values in _batches(self.path, None):
            for row in values:
                for header, key in self.keys:
                    found[key].append(_value(row[header]))
        writer.add(found, id=self.source)


def open_parquet(
    named: Sequence[tuple[Path, str]], section: TableSection, limit: int | None
) -> tuple[tuple[Block, ...], dict[str, Any]]:
    """A block for each row group or file, and the units that headers state.

    Raises:
        SourceError: a file is damaged or has no rows, or a column that the recipe names does not exist.
        StoreError: two files state different units of one column.
    """
    blocks: list[Block] = []
    stated: list[tuple[str, dict[str, str]]] = []
    left = limit
    for path, name in named:
        with open_parquet_file(path) as file:
            metadata, headers = file.metadata, file.schema_arrow.names
        if section.id_column is not None and section.id_column not in headers:
            raise SourceError(f"{name}: there is no column {section.id_column!r}", hint=f"it has {', '.join(headers)}")
        if metadata.num_rows == 0:
            raise SourceError(f"{name}: there are no rows")
        keys, units = _keys([header for header in headers if header != section.id_column], section)
        stated.append((name, units))
        if section.record == "file":
            blocks.append(ParquetWhole(path, name, metadata.num_rows, keys))
            left = None if left is None else left - 1
        first = 0
        for group in range(metadata.num_row_groups if section.record == "row" else 0):
            size = metadata.row_group(group).num_rows
            size = size if left is None else min(size, left)
            if size:
                blocks.append(ParquetRows(path, name, group, first, size, keys, section.id_column))
            first += size
            left = None if left is None else left - size
        if left == 0:
            break
    return tuple(blocks), {"units": joined_units(stated)}


def _keys(headers: Sequence[str], section: TableSection) -> tuple[tuple[tuple[str, str], ...], dict[str, str]]:
    split = {header: split_header(header) if section.units else (header, None) for header in headers}
    used = Counter(key for key, _ in split.values())
    keys = {header: key if used[key] == 1 else header for header, (key, _) in split.items()}
    return tuple(keys.items()), {
        child_path(TOP, keys[header]): unit for header, (_, unit) in split.items() if unit is not None
    }


def _batches(path: Path, groups: list[int] | None) -> Any:  # noqa: ANN401  # Lists of rows, each a dict.
    with open_parquet_file(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH, row_groups=groups):
            yield batch.to_pylist()


def _value(value: Any) -> Value:  # noqa: ANN401, PLR0911  # What pyarrow makes of a cell: one line for each type.
    """Times and bytes as text, decimals as the number that they write."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple():
            return [_value(item) for item in value]
        case dict():
            return {str(key): _value(item) for key, item in value.items()}
        case decimal.Decimal():
            return _decimal(value)
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case bytes():
            return value.hex()
    return str(value)


def _decimal(value: decimal.Decimal) -> Value:
    """The float64 that prints alike, or the literal where there is none."""
    if not value.is_finite():
        return None
    if value == value.to_integral_value():
        return int(value)
    return float(value) if decimal.Decimal(repr(float(value))) == value else NumberLiteral(str(value))
