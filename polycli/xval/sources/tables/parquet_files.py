"""Parquet: columns already have types, so nothing is decided; a record for each row or each file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from polycli.errors import SourceError
from polycli.files.parquet import open_parquet as open_parquet_file
from polycli.files.plain import open_plain, reason_of
from polycli.xval.data.source import Block, RecordWriter
from polycli.xval.recipe.sources import TableSection
from polycli.xval.records.cells import is_unit
from polycli.xval.records.values import Value
from polycli.xval.sources.tables.arrow_values import unit_of_type, values_of
from polycli.xval.sources.tables.blocks import RowBlock, TableFile, WholeFile, divided
from polycli.xval.sources.tables.headers import KeysOfHeaders, keys_of

#: Rows that are converted at once.
_BATCH = 4096


def is_parquet(path: Path) -> bool:
    """Whether the file is Parquet, by its first bytes."""
    try:
        with open_plain(path) as file:
            return file.read(4) == b"PAR1"
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {reason_of(error)}") from error


@dataclass(frozen=True, kw_only=True)
class ParquetRows(RowBlock):
    """Rows of one row group."""

    group: int

    @property
    def key(self) -> str:
        """A name for the block that is unique within the source."""
        return f"{self.source}@{self.group}"

    def load(self, writer: RecordWriter) -> None:
        """Converts the rows and writes each as a record."""
        index, end = self.first, self.first + self.size
        for values in _batches(self.path, self.source, [self.group]):
            for row in values[: end - index]:
                self.write(writer, index, row)
                index += 1


@dataclass(frozen=True, kw_only=True)
class ParquetWhole(WholeFile):
    """One file, which is one record of lists by column."""

    def load(self, writer: RecordWriter) -> None:
        """Converts the file and writes it as one record."""
        columns: dict[str, list[Value]] = {key: [] for _, key in self.keys}
        for values in _batches(self.path, self.source, None):
            for row in values:
                for header, key in self.keys:
                    columns[key].append(row[header])
        writer.add(columns, id=self.source)


class ParquetTable(TableFile):
    """A Parquet file; its pieces are its row groups."""

    def rows(self, piece: int, first: int, size: int, id_column: str | None) -> ParquetRows:
        """Rows of one row group."""
        return ParquetRows(
            path=self.path,
            source=self.source,
            group=piece,
            first=first,
            size=size,
            keys=self.columns.keys,
            id_column=id_column,
        )

    def whole(self) -> ParquetWhole:
        """The file as one record."""
        return ParquetWhole(path=self.path, source=self.source, size=sum(self.pieces), keys=self.columns.keys)


def open_parquet(
    named: Sequence[tuple[Path, str]], section: TableSection, limit: int | None
) -> tuple[tuple[Block, ...], KeysOfHeaders]:
    """A block for each row group or file, and the keys and units of the columns.

    Raises:
        SourceError: a file is damaged or has no rows, or a column that the recipe names does not exist.
        StoreError: two files state different units of one column.
    """
    return divided((_looked_at(path, name, section) for path, name in named), section, limit)


def _looked_at(path: Path, name: str, section: TableSection) -> ParquetTable:
    with open_parquet_file(path) as file:
        metadata, schema = file.metadata, file.schema_arrow
    units = {field.name: unit for field in schema if (unit := _unit(field))}
    groups = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    numbers = any(_holds_numbers(field.type) for field in schema if field.name != section.id_column)
    columns = replace(keys_of(name, schema.names, section, units), has_numbers=numbers)
    return ParquetTable(path, name, columns, groups)


def _holds_numbers(kind: pa.DataType) -> bool:
    """Whether values of a type are numbers, or hold some."""
    if pa.types.is_map(kind):
        return _holds_numbers(kind.key_type) or _holds_numbers(kind.item_type)
    if pa.types.is_nested(kind):
        return any(_holds_numbers(kind.field(place).type) for place in range(kind.num_fields))
    if pa.types.is_dictionary(kind):
        return _holds_numbers(kind.value_type)
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_duration)
    return any(test(kind) for test in tests)


def _unit(field: pa.Field) -> str | None:
    """The unit of a column, from its type or from the metadata that its writer gave it."""
    said = field.metadata or {}
    text = next((said[key].decode("utf-8", "replace").strip() for key in (b"unit", b"units") if key in said), None)
    return unit_of_type(field.type) or (text if text and is_unit(text) else None)


def _batches(path: Path, source: str, groups: list[int] | None) -> Iterator[list[dict[str, Value]]]:
    """Lists of rows, each by header."""
    with open_parquet_file(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH, row_groups=groups):
            columns = {
                name: values_of(column, source=source, header=name)
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            }
            yield [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
