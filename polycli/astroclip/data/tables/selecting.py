"""The rows of a catalogue that fulfil a condition, written as `search --where` has it and never evaluated as code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column
from polycli.astroclip.data.tables.marks import Mark, without_marks
from polycli.astroclip.data.tables.opening import read_columns
from polycli.astroclip.data.tables.table import Table, usable
from polycli.console import say
from polycli.errors import SourceError, UserError
from polycli.store.where.conditions import parse_condition
from polycli.store.where.values import ColumnArray


def chosen_rows(table: Table, where: str | None, null: Sequence[Mark]) -> NDArray[np.int64] | None:
    """The rows for which the condition is true; None where there is no condition.

    Raises:
        SourceError: it is no condition, names a column that is not there, or compares values of different kinds.
    """
    if where is None:
        return None
    try:
        condition = parse_condition(where)
        condition.refuse_unknown(usable(table.fields))
        names = sorted(condition.columns)
        columns = {
            column.name: _for_conditions(without_marks(column, null)[0]) for column in read_columns(table, names)
        }
        rows = np.flatnonzero(condition.rows(columns))
    except UserError as error:
        if isinstance(error, SourceError):
            raise
        hint = None if error.hint is None else error.hint.replace("--where ", "where: ")
        raise SourceError(f"{table.path}: {error.message.replace('--where: ', 'where: ')}", hint=hint) from error
    count = len(next(iter(columns.values())))
    say(f"{table.path}: {len(rows):,} of {count:,} rows with {where}")
    return rows


def _for_conditions(column: Column) -> ColumnArray:
    """The values with nulls, as conditions read them."""
    if column.valid is None:
        return column.values
    import pyarrow as pa

    return pa.array(column.values, mask=~column.valid, from_pandas=False)
