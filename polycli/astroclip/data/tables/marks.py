"""Marks of missing values, such as -99: those that the recipe names become gaps, others like them are said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column
from polycli.console import warn
from polycli.names import shortened_name

Mark = float | str
#: Numbers that surveys write where there is none. A positive one counts where it is far beyond all others.
_USUAL = (-99.0, -99.9, -99.99, -999.0, -999.9, -999.99, -9999.0, -9999.9, -99999.0, 99.0, 999.0, 9999.0, 99999.0)
_FAR = 3.0
_SHOWN = 4


def without_marks(column: Column, marks: Sequence[Mark]) -> tuple[Column, int]:
    """The column with gaps where one of the marks stands, and how many there are."""
    found = np.zeros(len(column.values), np.bool_)
    for mark in marks:
        found |= _equal(column, mark)
    if column.valid is not None:
        found &= column.valid
    if not found.any():
        return column, 0
    places = np.arange(len(found))
    places[found] = -1
    return column.take(places), int(found.sum())


def suspicious_marks(column: Column) -> list[float]:
    """Numbers in the column that look like marks of missing values: -99 and the like, far from all other values."""
    if column.kind not in ("float", "integer"):
        return []
    known = column.values if column.valid is None else column.values[column.valid]
    known = known[np.isfinite(known)] if column.kind == "float" else known
    if not len(known):
        return []
    found = [mark for mark in _USUAL if bool((known == known.dtype.type(mark)).any()) and _fits(known, mark)]
    others = known[~np.isin(known, np.array(found).astype(known.dtype))] if found else known
    if not found or not len(others):
        return []
    size = max(1.0, float(np.abs(np.quantile(others.astype(np.float64), [0.01, 0.99])).max()))
    return [mark for mark in found if abs(mark) > _FAR * size]


def _fits(known: NDArray[np.generic], mark: float) -> bool:
    """Whether a mark can be told in this type: -99.9 is no integer."""
    return known.dtype.kind == "f" or float(mark).is_integer()


def _equal(column: Column, mark: Mark) -> NDArray[np.bool_]:
    if column.kind == "text":
        text = mark if isinstance(mark, str) else f"{mark:g}"
        return np.array([value.strip() == text for value in column.values.tolist()], np.bool_)
    if isinstance(mark, str) or column.kind == "boolean":
        return np.zeros(len(column.values), np.bool_)
    if column.kind == "integer" and not float(mark).is_integer():
        return np.zeros(len(column.values), np.bool_)
    # As the file's own type rounds it: -99.9 in 32 bits is not the -99.9 of 64 bits.
    with np.errstate(over="ignore"):
        typed = column.values.dtype.type(mark)
    return np.asarray(column.values == typed)


def shown(marks: Sequence[float]) -> str:
    """Some marks as the recipe writes them."""
    return ", ".join(f"{mark:g}" for mark in marks[:_SHOWN])


def say_suspicious(columns: Sequence[Column], *, what: str, key: str) -> None:
    """Warn of numbers in columns that look like marks of missing values; `key` is what makes gaps of them."""
    found = {column.name: marks for column in columns if (marks := suspicious_marks(column))}
    if found:
        said = shown(list(dict.fromkeys(mark for each in found.values() for mark in each)))
        names = shortened_name(", ".join(found))
        warn(f"{what}: {said} in {names} may mark missing values, and count as numbers: {key}: [{said}] says so")
