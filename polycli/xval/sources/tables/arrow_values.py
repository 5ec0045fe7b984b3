"""Cells of Arrow columns as plain values: times as exact text, durations and decimals as numbers."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from polycli.errors import SourceError
from polycli.xval.records.values import NumberLiteral, Value

#: What pyarrow raises where Python's own types cannot hold a time: nanoseconds, and years beyond 9999.
_NO_TIME = (ValueError, OverflowError, ImportError)
_EPOCH = "since 1970-01-01"


def unit_of_type(kind: pa.DataType) -> str | None:
    """The unit of the numbers that a column of this type becomes; None where the type says none."""
    return str(kind.unit) if pa.types.is_duration(kind) else None


def values_of(column: pa.Array, *, source: str, header: str) -> list[Value]:
    """The values of a column.

    Raises:
        SourceError: its type is none that can be written as JSON exactly.
    """
    if pa.types.is_duration(column.type):
        column = column.cast(pa.int64())
    try:
        return [plain(value) for value in column.to_pylist()]
    except _NO_TIME as error:
        if pa.types.is_timestamp(column.type):
            return [_time(text, count, column.type.unit) for text, count in zip(*_twice(column), strict=True)]
        if pa.types.is_time(column.type):
            return [plain(text) for text in pc.cast(column, pa.string()).to_pylist()]
        raise SourceError(
            f"{source}: column {header!r} is of the type {column.type}, which has no exact text: {error}",
            hint="cast it in the program that wrote the file, or leave it out",
        ) from error


def _twice(column: pa.Array) -> tuple[list[str | None], list[int | None]]:
    return pc.cast(column, pa.string()).to_pylist(), pc.cast(column, pa.int64()).to_pylist()


def _time(text: str | None, count: int | None, unit: str) -> Value:
    if text is None:
        return None
    return f"{count} {unit} {_EPOCH}" if text.startswith("<") else text.replace(" ", "T", 1)


def plain(value: Any) -> Value:  # noqa: ANN401, PLR0911  # What pyarrow makes of a cell: one line for each type.
    """Times and bytes as text, decimals as the number that they write."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
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
