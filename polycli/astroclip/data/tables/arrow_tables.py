"""Tables of Parquet files, column by column, without the way over pandas, which makes floats of integers with gaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polycli.astroclip.data.columns import Column, column_of
from polycli.astroclip.data.tables.astropy_units import units_described
from polycli.astroclip.data.tables.table import Field, Reading
from polycli.errors import SourceError
from polycli.files.parquet import open_parquet

#: The index that pandas writes.
_INDEX = "__index_level_"
#: Where astropy describes the columns, units among the rest.
_ABOUT = b"table_meta_yaml"


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file, whose schema was read."""

    path: Path
    fields: Sequence[Field]
    remarks: Sequence[str]

    def read(self, names: Sequence[str]) -> Iterator[Column]:
        """The columns of these names; see `Table.read`."""
        units = {field.name: field.unit for field in self.fields}
        with open_parquet(self.path) as file:
            for name in names:
                column = file.read(columns=[name], use_threads=False).column(name)
                found = arrow_column(name, column, self.path.name, units[name])
                if found is None:
                    raise SourceError(f"{self.path}: column {name} does not hold one value in each row")
                yield found


def open_parquet_table(path: Path, reading: Reading) -> ParquetTable:
    """Read the schema.

    Raises:
        SourceError: the file is damaged, or a part of it was asked for.
    """
    if reading.part is not None:
        raise SourceError(f"{path}: hdu is {reading.part}, and a Parquet file has one table", hint="leave hdu out")
    with open_parquet(path) as file:
        schema = file.schema_arrow
    if len(set(schema.names)) < len(schema.names):
        raise SourceError(f"{path}: has columns of one name", hint="give each its own name")
    units = units_described((schema.metadata or {}).get(_ABOUT, b"").decode("utf-8", "replace"))
    fields = [_field(field, units.get(field.name, "")) for field in schema]
    return ParquetTable(path, fields, [])


def _field(field: Any, described: str) -> Field:  # noqa: ANN401  # pyarrow's
    import pyarrow as pa

    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    unit = (field.metadata or {}).get(b"unit", b"").decode("utf-8", "replace") or described
    if field.name.startswith(_INDEX):
        return Field(field.name, unit, "the index of pandas")
    plain = (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or _is_text(kind)
    )
    return Field(field.name, unit, "" if plain else str(kind))


def _is_text(kind: Any) -> bool:  # noqa: ANN401
    import pyarrow as pa

    tests = ("is_string", "is_large_string", "is_string_view", "is_binary", "is_large_binary", "is_fixed_size_binary")
    return any(getattr(pa.types, test)(kind) for test in tests)


def arrow_column(name: str, chunked: Any, source: str, unit: str = "") -> Column | None:  # noqa: ANN401
    """A column of Arrow: nulls are gaps, decimal numbers float64."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = chunked.type
    if pa.types.is_dictionary(kind):
        chunked, kind = chunked.cast(kind.value_type), kind.value_type
    if pa.types.is_decimal(kind):
        chunked, kind = chunked.cast(pa.float64()), pa.float64()
    if pa.types.is_floating(kind):
        return column_of(name, chunked.to_numpy(), unit=unit, source=source)
    gaps = chunked.is_null().to_numpy()
    if gaps.any():
        filler: Any = 0 if pa.types.is_integer(kind) else False if pa.types.is_boolean(kind) else ""
        if "binary" in str(kind):
            filler = bytes(kind.byte_width) if pa.types.is_fixed_size_binary(kind) else b""
        chunked = pc.fill_null(chunked, pa.scalar(filler, kind))
    values = chunked.to_numpy()
    return column_of(name, np.ma.masked_array(values, gaps) if gaps.any() else values, unit=unit, source=source)
