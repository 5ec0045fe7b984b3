"""Reads rows of Parquet files in rising order, a few at a time: a row group of images can be larger than the memory.

Each process keeps the file that it read last open at the place where it stopped, so that consecutive blocks of objects
decode every row once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.files.parquet import parquet_file, reading_parquet

#: Rows that are decoded together: of 4 bands of 160 x 160 pixels, 13 MB.
ROWS = 32
#: Bytes of each column that are fetched together.
BUFFER = 2**20


class Cursor:
    """One file, and the batch of rows that was read last."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Opens the file for some leaves of its columns, as `spectrum.flux`."""
        self.key = (path, tuple(columns))
        self.file = parquet_file(path, buffer=BUFFER)
        about = self.file.metadata
        counts = [about.row_group(number).num_rows for number in range(about.num_row_groups)]
        self.ends = np.cumsum([0, *counts])
        self.begin(0)

    def begin(self, row: int) -> None:
        """Goes to the row group of a row."""
        group = int(np.searchsorted(self.ends, row, "right")) - 1
        groups = list(range(group, len(self.ends) - 1))
        self.batches = self.file.iter_batches(ROWS, row_groups=groups, columns=list(self.key[1]), use_threads=False)
        self.batch, self.start = None, int(self.ends[group])

    def take(self, rows: NDArray[np.int64]) -> Any:  # noqa: ANN401  # pyarrow's table
        """These rows, which rise, as one table."""
        import pyarrow as pa

        group = int(np.searchsorted(self.ends, rows[0], "right")) - 1
        if rows[0] < self.start or int(self.ends[group]) > self.start:
            self.begin(int(rows[0]))
        parts = []
        while True:
            if self.batch is None:
                self.batch = next(self.batches, None)
            if self.batch is None:
                raise ValueError(f"it ends before row {int(rows[-1])}, which its footer says it has")
            stop = self.start + self.batch.num_rows
            here = rows[(rows >= self.start) & (rows < stop)] - self.start
            if here.size:
                parts.append(self.batch.take(pa.array(here)))
            if rows[-1] < stop:
                return pa.Table.from_batches(parts)
            self.batch, self.start = None, stop


_open: list[Cursor] = []


def read_parquet_rows(path: Path, columns: Sequence[str], rows: NDArray[np.int64]) -> Any:  # noqa: ANN401
    """These rows of some leaves of a file's columns, in the order asked for.

    Raises:
        SourceError: the file is truncated or damaged.
    """
    import pyarrow as pa

    unique, order = np.unique(rows, return_inverse=True)
    with reading_parquet(path):
        if not _open or _open[0].key != (path, tuple(columns)):
            while _open:
                _open.pop().file.close()
            _open.append(Cursor(path, columns))
        table = _open[0].take(unique)
    return table if np.array_equal(order, np.arange(len(rows))) else table.take(pa.array(order))


def leaves(file: Any, column: str, field: str | None) -> str:  # noqa: ANN401  # pyarrow's ParquetFile
    """The path of a field of a nested column, as pyarrow asks for it; of a column without fields, its name.

    Raises:
        KeyError: there is no such field.
    """
    if field is None:
        return column
    schema = file.metadata.schema
    paths = [schema.column(number).path for number in range(len(schema))]
    for path in paths:
        # A column's own name may have dots in it.
        behind = path.removeprefix(f"{column}.").split(".") if path.startswith(f"{column}.") else []
        if field in behind:
            return ".".join([column, *behind[: behind.index(field) + 1]])
    raise KeyError(field)
