"""Makes columns of the texts of cells: integers, floats, true and false, else texts."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column
from polycli.errors import SourceError

#: How people and programs write that there is no number.
MISSING = (
    *("", "nan", "NaN", "NAN", "+nan", "-nan", "null", "NULL", "Null", "none", "None", "NONE", "<NA>", "NaT"),
    *("N/A", "n/a", "NA", "#N/A", "-", "--", "---", "masked"),
)
_INTEGER = r"^[+-]?[0-9]+$"
_LEADING_ZEROS = r"^[+-]?0[0-9]+$"
_FLOAT = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?[iI][nN][fF](inity)?$"
_COMMA = r"^[+-]?[0-9]+(,[0-9]+)?([eE][+-]?[0-9]+)?$|^[+-]?[iI][nN][fF](inity)?$"
#: The values of a column that has none yet.
_NONE: NDArray[Any] = np.empty(0)
_TRUTHS = ("true", "false", "True", "False", "TRUE", "FALSE")


def is_number(text: str) -> bool:
    """Whether a cell holds a number."""
    return re.match(_FLOAT, text.strip()) is not None


def column_of_cells(
    name: str,
    cells: Any,  # noqa: ANN401  # pyarrow's ChunkedArray of texts
    *,
    source: str,
    unit: str = "",
    marks: tuple[str, ...] = (),
    declared: str | None = None,
    comma: bool = False,
) -> Column:
    """The column of these cells, of which null ones are empty.

    Args:
        name: of the column.
        cells: its texts.
        source: the file.
        unit: of the numbers.
        marks: further texts that mark a missing value.
        declared: the type that the file states, such as int64; else it is found out.
        comma: whether numbers may have a decimal comma.

    Raises:
        SourceError: a cell is not of the declared type.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pc.utf8_trim_whitespace(cells)
    missing = pc.is_in(texts, pa.array([*MISSING, *marks]))
    numbers = pc.if_else(missing, pa.scalar(None, pa.string()), texts)
    kind = _declared_kind(declared) if declared else _kind(numbers, comma=comma)
    try:
        if kind == "integer":
            numbers = pc.replace_substring_regex(numbers, r"^\+", "")
            return _with_gaps(Column(name, _NONE, unit, source), numbers, pa.int64(), 0)
        if kind == "comma":
            numbers, kind = pc.replace_substring(numbers, ",", "."), "float"
        if kind == "float":
            numbers = pc.replace_substring_regex(numbers, r"^\+", "")
            return Column(name, np.asarray(pc.cast(numbers, pa.float64()).to_numpy(), np.float64), unit, source)
        if kind == "boolean":
            return _with_gaps(Column(name, _NONE, unit, source), pc.utf8_lower(numbers), pa.bool_(), False)
    except pa.ArrowException as error:
        if kind == "integer" and _all(numbers, _INTEGER):
            return _texts(name, cells, unit, source)
        raise SourceError(f"{source}: column {name} is declared as {declared}, and is not: {error}") from error
    return _texts(name, cells if declared else texts, unit, source)


def _kind(numbers: Any, *, comma: bool) -> str:  # noqa: ANN401
    if numbers.null_count == len(numbers):
        return "float"
    if _all(numbers, _INTEGER):
        return "text" if _any(numbers, _LEADING_ZEROS) else "integer"
    if _all(numbers, _FLOAT):
        return "float"
    if comma and _all(numbers, _COMMA):
        return "comma"
    import pyarrow as pa
    import pyarrow.compute as pc

    truths = pc.all(pc.is_in(numbers.drop_null(), pa.array(_TRUTHS))).as_py()
    return "boolean" if truths else "text"


def _declared_kind(datatype: str) -> str:
    if datatype.startswith(("int", "uint")):
        return "integer"
    return "float" if datatype.startswith("float") else "boolean" if datatype == "bool" else "text"


def _all(texts: Any, pattern: str) -> bool:  # noqa: ANN401
    import pyarrow.compute as pc

    return bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py())


def _any(texts: Any, pattern: str) -> bool:  # noqa: ANN401
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())


def _with_gaps(empty: Column, texts: Any, kind: Any, filler: object) -> Column:  # noqa: ANN401
    """The column `empty` with the values that the texts spell, and gaps where there are none."""
    import pyarrow.compute as pc

    valid = texts.is_valid().to_numpy()
    values = pc.fill_null(pc.cast(texts, kind), filler).to_numpy()
    return replace(empty, values=values, valid=None if valid.all() else valid)


def _texts(name: str, cells: Any, unit: str, source: str) -> Column:  # noqa: ANN401
    import pyarrow.compute as pc

    valid = cells.is_valid().to_numpy()
    values = np.empty(len(cells), dtype=object)
    values[:] = pc.fill_null(cells, "").to_pylist()
    return Column(name, values, unit, source, None if valid.all() else valid)
