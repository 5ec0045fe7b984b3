"""Columns and what is computed of them: numbers, texts or truth values, each with which of them are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Union

import numpy as np
from numpy.typing import NDArray

from polycli.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["number", "text", "logical", "nothing"]
#: A column as callers have it.
ColumnArray = Union[NDArray[Any], "pa.Array", "pa.ChunkedArray"]
#: What kinds are called in sentences.
NAMES: dict[Kind, str] = {"number": "a number", "text": "a text", "logical": "true or false", "nothing": "null"}


@dataclass(frozen=True)
class Values:
    """One value per row, or one for all rows (arrays without an axis)."""

    kind: Kind
    #: Whatever stands where a value is not known.
    data: NDArray[Any]
    known: NDArray[np.bool_]
    #: How a sentence calls it.
    name: str


def literal(value: float | str | bool | None, name: str) -> Values:  # noqa: FBT001  # A value like any other.
    """The same value in every row; None is unknown everywhere."""
    if value is None:
        return Values("nothing", np.array(0), np.array(False), name)
    if isinstance(value, bool):
        return Values("logical", np.array(value), np.array(True), name)
    if isinstance(value, str):
        return Values("text", np.array(value, object), np.array(True), name)
    return Values("number", np.array(value), np.array(True), name)


def column_values(name: str, column: ColumnArray) -> Values:
    """The values of a column, of which nulls and NaN are not known.

    Raises:
        UserError: it holds neither numbers nor texts nor truth values.
    """
    if isinstance(column, np.ndarray):
        return _of_numpy(name, column)
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return column_values(name, column.cast(kind.value_type))
    if pa.types.is_null(kind):
        return Values("nothing", np.zeros(len(column)), np.zeros(len(column), np.bool_), name)
    known = _array(column.is_valid())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        filled = column.fill_null("") if column.null_count else column
        return Values("text", np.array(filled.to_pylist(), object).reshape(len(column)), known, name)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        filled = column.fill_null(False if pa.types.is_boolean(kind) else 0) if column.null_count else column
        return _of_numpy(name, _array(filled), known)
    if pa.types.is_floating(kind):
        filled = column.fill_null(float("nan")) if column.null_count else column
        return _of_numpy(name, _array(filled), known)
    raise _refusal(name, str(kind))


def _array(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """An Arrow column without nulls in numpy."""
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _of_numpy(name: str, data: NDArray[Any], known: NDArray[np.bool_] | None = None) -> Values:
    there = np.ones(data.shape, np.bool_) if known is None else known
    if data.ndim != 1:
        raise _refusal(name, f"an array of {data.ndim} axes")
    match data.dtype.kind:
        case "b":
            return Values("logical", data, there, name)
        case "i" | "u":
            return Values("number", data, there, name)
        case "f":
            return Values("number", data.astype(np.float64, copy=False), there & ~np.isnan(data), name)
        case "U" | "S":
            return Values("text", data.astype(str).astype(object), there, name)
        case "O" | "T":
            unknown = np.array([value is None or value != value for value in data], np.bool_)  # noqa: PLR0124  # NaN.
            texts = np.array(["" if empty else str(value) for value, empty in zip(data, unknown, strict=True)], object)
            return Values("text", texts, there & ~unknown, name)
    raise _refusal(name, str(data.dtype))


def _refusal(name: str, kind: str) -> UserError:
    return UserError(f"--where: the column {name} is {kind}, and conditions read numbers, texts and truth values")
