"""Cells of CSV columns to values by key, many rows at once: what `Column.values` makes of each cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polycli.xval.data.flat_rows import GAP, NUMBER, TEXT, FlatColumn
from polycli.xval.records.values import Value
from polycli.xval.sources.tables.columns import Column
from polycli.xval.sources.tables.plain_numbers import plain_numbers

_EXACT = 2**53


def flat_columns(column: Column, cells: Sequence[str], missing: frozenset[str]) -> list[FlatColumn] | None:
    """The keys of one column; None where a cell is a number that float64 does not hold, which stays a literal."""
    if column.decimal is None:
        texts = [cell for cell in cells if cell not in missing and cell.strip() not in missing]
        if len(texts) == len(cells):
            return [_column(column.key, np.full(len(cells), TEXT, dtype=np.uint8), texts=texts)]
    elif column.decimal == "." and column.thousands is None and not (column.errors or column.limits):
        known = np.fromiter((cell not in missing for cell in cells), dtype=np.bool_, count=len(cells))
        found = plain_numbers([cell for cell in cells if cell not in missing])
        if found is not None:
            numbers, integers = np.full(len(cells), np.nan), np.zeros(len(cells), dtype=np.bool_)
            numbers[known], integers[known] = found.values, found.integers
            return [FlatColumn(column.key, np.where(known, NUMBER, GAP).astype(np.uint8), numbers, integers)]
    by_key: dict[str, list[Value]] = {}
    for cell in cells:
        for key, value in column.values(cell, missing).items():
            by_key.setdefault(key, []).append(value)
    columns = [_of_values(key, values) for key, values in by_key.items()]
    return None if None in columns else [one for one in columns if one is not None]


def _of_values(key: str, values: Sequence[Value]) -> FlatColumn | None:
    kinds, numbers = np.zeros(len(values), dtype=np.uint8), np.full(len(values), np.nan)
    integers, texts = np.zeros(len(values), dtype=np.bool_), []
    for place, value in enumerate(values):
        if isinstance(value, str):
            kinds[place] = TEXT
            texts.append(value)
        elif isinstance(value, float) or (isinstance(value, int) and abs(value) <= _EXACT):
            kinds[place], numbers[place], integers[place] = NUMBER, value, isinstance(value, int)
        elif value is not None:
            return None
    return FlatColumn(key, kinds, numbers, integers, texts)


def _column(key: str, kinds: np.ndarray, *, texts: Sequence[str]) -> FlatColumn:
    return FlatColumn(key, kinds, np.full(len(kinds), np.nan), np.zeros(len(kinds), dtype=np.bool_), texts)
