"""A function that adds vectors to tables, for whatever goes over the partitions of a catalogue: LSDB, Ray, Parsl.

It can be pickled, and carries no model: the process that first calls it opens the checkpoint, once.
"""

from __future__ import annotations

import difflib
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from polycli.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

#: A pyarrow table, or a pandas data frame of any kind; what comes in is what goes out.
Frame = TypeVar("Frame")


class Column(Protocol):
    """One column of a table, as its library has it."""

    def values(self) -> NDArray[Any]:
        """(rows, ...) numbers; every row has as many of them."""
        ...

    def objects(self) -> list[Any]:
        """Plain Python values, None where unknown."""
        ...


@dataclass(frozen=True)
class ArrowColumn:
    """A column of a pyarrow table, or of a data frame that has Arrow's types."""

    column: pa.ChunkedArray

    def values(self) -> NDArray[Any]:
        """(rows, ...) numbers, of lists of lists as they are nested."""
        import pyarrow as pa
        from pyarrow import compute

        flat, shape = self.column.combine_chunks(), [len(self.column)]
        if isinstance(flat, pa.ChunkedArray):
            flat = pa.concat_arrays(flat.chunks)
        while (
            pa.types.is_list(flat.type) or pa.types.is_large_list(flat.type) or pa.types.is_fixed_size_list(flat.type)
        ):
            # Their sum alone would not tell lists of one and three numbers from two lists of two.
            lengths = compute.list_value_length(flat)
            if flat.null_count or len(compute.unique(lengths)) > 1:
                raise StoreError("its cells hold different numbers of values")
            rows, flat = len(flat), flat.flatten()
            shape.append(len(flat) // rows if rows else 0)
        numbers = flat.to_numpy(zero_copy_only=False)
        if numbers.size != np.prod(shape):
            raise StoreError("its cells hold different numbers of values")
        return np.asarray(numbers.reshape(shape))

    def objects(self) -> list[Any]:
        """Plain Python values, None where unknown."""
        return [None if value != value else value for value in self.column.to_pylist()]  # noqa: PLR0124  # NaN.


@dataclass(frozen=True)
class PlainColumn:
    """A column of a data frame whose cells are numpy's or Python's."""

    cells: Sequence[Any]

    def values(self) -> NDArray[Any]:
        """(rows, ...) numbers, of arrays, arrays of arrays and lists."""
        cells = [_dense(cell) for cell in self.cells]
        if len({cell.shape for cell in cells}) > 1:
            raise StoreError("its cells hold different numbers of values")
        return np.stack(cells) if cells else np.empty(0)

    def objects(self) -> list[Any]:
        """Plain Python values, None where unknown."""
        plain = [cell.item() if isinstance(cell, np.generic) else cell for cell in self.cells]
        return [None if cell is None or cell != cell else cell for cell in plain]  # noqa: PLR0124  # NaN.


#: Makes (rows, width) vectors of some columns, or (rows,) numbers, by the name of the new column; empty of no rows.
Encode = Callable[[Mapping[str, Column], int], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class EmbedPartition:
    """Adds columns of vectors to a table: `table = embed(table)`."""

    #: Opens the model; picklable, as a function of a module with its arguments is.
    opener: Callable[[], Encode]
    #: The columns that are read.
    reads: tuple[str, ...]
    #: The columns that come out beside the vectors; all if None.
    keep: tuple[str, ...] | None = None
    #: Tells copies of this function, however they were pickled, from other ones.
    key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False, compare=False)

    def __call__(self, table: Frame) -> Frame:
        """The same rows in the same order, with vectors.

        Raises:
            StoreError: a column is missing, or does not fit the model.
        """
        named, rows = _columns(table), len(table)  # type: ignore[arg-type]
        for name in (*self.reads, *(self.keep or ())):
            if name not in named:
                near = difflib.get_close_matches(name, named, 1) or list(named)[:5]
                raise StoreError(f"the table has no column {name}", hint=f"it has {', '.join(near)}")
        columns = {name: named[name]() for name in self.reads}
        with _ONE_AT_A_TIME:
            vectors = _opened_by(self)(columns, rows)
        made: Frame = _with_vectors(table, self.keep, vectors)
        return made


_ONE_AT_A_TIME = threading.Lock()
#: What this process has opened last.
_opened: dict[str, Encode] = {}


def _opened_by(function: EmbedPartition) -> Encode:
    if function.key not in _opened:
        _opened.clear()
        _opened[function.key] = function.opener()
    return _opened[function.key]


def _columns(table: Any) -> dict[str, Callable[[], Column]]:  # noqa: ANN401  # Of any library that is known below.
    import pyarrow as pa

    if isinstance(table, pa.Table):
        return {name: partial(_of_arrow, table, name) for name in table.column_names}
    if not hasattr(table, "columns") or not hasattr(table, "assign"):
        raise StoreError(f"a table of pyarrow or pandas was expected, and this is a {type(table).__name__}")
    return {str(name): partial(_of_pandas, table, name) for name in table.columns}


def _of_arrow(table: pa.Table, name: str) -> Column:
    return ArrowColumn(table[name])


def _of_pandas(table: Any, name: str) -> Column:  # noqa: ANN401  # pandas is no dependency.
    import pyarrow as pa

    series = table[name]
    if type(series.dtype).__name__ == "ArrowDtype":
        found = pa.array(series.array)
        return ArrowColumn(found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found]))
    return PlainColumn(series.tolist())


def _with_vectors(table: Any, keep: Sequence[str] | None, vectors: Mapping[str, NDArray[Any]]) -> Any:  # noqa: ANN401
    import pyarrow as pa

    made = {
        name: pa.array(values)
        if values.ndim == 1
        else pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])
        for name, values in vectors.items()
    }
    if isinstance(table, pa.Table):
        table = table if keep is None else table.select(list(keep))
        for name, column in made.items():
            table = table.append_column(name, column)
        return table
    import pandas as pd

    table = table if keep is None else table[list(keep)]
    series = {
        name: pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([column])), index=table.index)
        for name, column in made.items()
    }
    return table.assign(**series)


def _dense(cell: Any) -> NDArray[Any]:  # noqa: ANN401  # Whatever a cell of a data frame holds.
    array = np.asarray(cell) if not isinstance(cell, list) or not cell or not isinstance(cell[0], np.ndarray) else None
    if array is None or array.dtype == object:
        return np.stack([_dense(inner) for inner in cell])
    return array
