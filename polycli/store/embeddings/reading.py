"""Reads some rows of published embeddings, from a folder, Parquet or zarr, without reading the others."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polycli.store.embeddings.manifest import ROWS
from polycli.store.embeddings.parts import parts_of
from polycli.store.embeddings.zarr_form import COLUMN_ATTRIBUTE

if TYPE_CHECKING:
    import pyarrow as pa


class EmbeddingRows:
    """The first table of embeddings, of which any range of rows can be read.

    Example:
        >>> rows = EmbeddingRows(Path("galaxies.parquet"))
        >>> rows.read(1, 3).column_names
        ['object_id', 'vector']
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        #: Of each row group: its file, its number in it, and its rows.
        self._groups: list[tuple[Path, int, int]] = []
        if path.suffix != ".zarr":
            from pyarrow import parquet

            for file in parts_of(path, ROWS) if path.is_dir() else [path]:
                metadata = parquet.read_metadata(file)
                counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
                self._groups += [(file, group, rows) for group, rows in enumerate(counts)]
        self._ends = list(accumulate(rows for _, _, rows in self._groups))

    def read(self, first: int, end: int) -> pa.Table:
        """The rows from `first` to the one before `end`, as far as there are any."""
        return self._read_zarr(first, end) if self._path.suffix == ".zarr" else self._read_parquet(first, end)

    def _read_parquet(self, first: int, end: int) -> pa.Table:
        import pyarrow as pa
        from pyarrow import parquet

        begin = index = bisect_right(self._ends, first)
        found = []
        while index < len(self._groups) and (index == begin or self._ends[index - 1] < end):
            file, group, _ = self._groups[index]
            with parquet.ParquetFile(file) as opened:
                found.append(opened.read_row_group(group))
            index += 1
        if not found:
            return parquet.read_schema(self._groups[0][0]).empty_table()
        start = self._ends[begin - 1] if begin else 0
        return pa.concat_tables(found).slice(first - start, end - first)

    def _read_zarr(self, first: int, end: int) -> pa.Table:
        import pyarrow as pa
        import zarr

        columns: dict[str, object] = {}
        for name, array in zarr.open_group(self._path, mode="r").arrays():
            values = np.asarray(array[first:end])
            if values.ndim == 1:
                column = pa.array(values.tolist() if values.dtype.kind in "OUT" else values)
            else:
                flat = pa.array(np.ascontiguousarray(values).reshape(-1))
                column = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
            columns[str(array.attrs.get(COLUMN_ATTRIBUTE, name))] = column
        return pa.table(columns)
