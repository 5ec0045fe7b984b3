"""Cells of CSV columns to values by key, many rows at once: what `Column.values` makes of each cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.xval.data.flat_rows import GAP, NUMBER, TEXT, FlatColumn
from polycli.xval.records.texts import Texts, among, as_texts, kept, stripped_among
from polycli.xval.records.values import Value
from polycli.xval.sources.tables.columns import Column
from polycli.xval.sources.tables.plain_numbers import plain_numbers

_EXACT = 2**53


def flat_columns(column: Column, cells: Sequence[str] | Texts, missing: frozenset[str]) -> list[FlatColumn] | None:
    """The keys of one column; None where a cell is a number that float64 does not hold, which stays a literal."""
    cells = as_texts(cells)
    if column.decimal is None:
        known = ~stripped_among(cells, missing)
        return [_of_texts(column.key, known, kept(cells, known))]
    if column.decimal == "." and column.thousands is None and not (column.errors or column.limits):
        known = ~among(cells, missing)
        found = plain_numbers(kept(cells, known))
        if found is not None:
            numbers, integers = np.full(len(cells), np.nan), np.zeros(len(cells), dtype=np.bool_)
            numbers[known], integers[known] = found.values, found.integers
            return [
                FlatColumn(column.key, np.where(known, NUMBER, GAP).astype(np.uint8), numbers, integers, as_texts([]))
            ]
    by_key: dict[str, list[Value]] = {}
    for cell in cells.to_pylist():
        for key, value in column.values(cell, missing).items():
            by_key.setdefault(key, []).append(value)
    columns = [_of_values(key, values) for key, values in by_key.items()]
    return None if None in columns else [one for one in columns if one is not None]


def _of_values(key: str, values: Sequence[Value]) -> FlatColumn | None:
    kinds, numbers = np.zeros(len(values), dtype=np.uint8), np.full(len(values), np.nan)
    integers, texts = np.zeros(len(values), dtype=np.bool_), list[str]()
    for place, value in enumerate(values):
        if isinstance(value, str):
            kinds[place] = TEXT
            texts.append(value)
        elif isinstance(value, float) or (isinstance(value, int) and abs(value) <= _EXACT):
            kinds[place], numbers[place], integers[place] = NUMBER, value, isinstance(value, int)
        elif value is not None:
            return None
    return FlatColumn(key, kinds, numbers, integers, as_texts(texts))


def _of_texts(key: str, known: NDArray[np.bool_], texts: Texts) -> FlatColumn:
    kinds = np.where(known, TEXT, GAP).astype(np.uint8)
    return FlatColumn(key, kinds, np.full(len(kinds), np.nan), np.zeros(len(kinds), dtype=np.bool_), texts)
