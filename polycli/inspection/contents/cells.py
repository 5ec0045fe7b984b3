"""Values of a row as texts that fit a table, and as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from polycli.names import shortened_name

Cell = str
_LONGEST = 40
#: Numbers of a vector that are shown.
_SHOWN = 3


def cell_of(value: Any) -> Cell:  # noqa: ANN401  # A value of any table.
    """A value as a text: numbers with six digits, gaps as a dash, vectors by their first numbers and shape.

    >>> cell_of(0.123456789), cell_of(None), cell_of(np.arange(5.0))
    ('0.123457', '-', '[0, 1, 2, ...] of 5')
    """
    if value is None or value is np.ma.masked or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, bytes | np.bytes_):
        return cell_of(bytes(value).decode("utf-8", "replace"))
    if isinstance(value, list | tuple | np.ndarray):
        return _vector(value)
    if isinstance(value, Mapping):
        return shortened_name(", ".join(f"{name}: {cell_of(item)}" for name, item in value.items()), _LONGEST)
    return shortened_name(value, _LONGEST)


def plain_value(value: Any) -> object:  # noqa: ANN401
    """A value as JSON has it; arrays become lists, bytes texts."""
    if value is np.ma.masked:
        return None
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, bytes | np.bytes_):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, int | float | str | list | dict | None) else str(value)


def _vector(value: Any) -> Cell:  # noqa: ANN401
    if isinstance(value, np.ndarray):
        size = " x ".join(map(str, value.shape))
        first = value.ravel()[:_SHOWN].tolist()
    else:
        size, first = str(len(value)), list(value[:_SHOWN])
    dots = ", ..." if (value.size if isinstance(value, np.ndarray) else len(value)) > _SHOWN else ""
    return f"[{', '.join(map(cell_of, first))}{dots}] of {size}"
