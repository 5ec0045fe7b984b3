"""Reads rows of a HATS collection of embeddings that are known by their ids and positions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polycli.store.embeddings.hats_before import Before
from polycli.store.embeddings.hats_layout import HEALPIX, OBJECTS, STORED_HEALPIX, VECTORS

if TYPE_CHECKING:
    import pyarrow as pa


class HatsRows:
    """The objects and vectors of a collection."""

    def __init__(self, path: Path) -> None:
        self._there = Before(path)

    def find(self, rows: pa.Table, columns: Sequence[str]) -> pa.Table:
        """The rows of the collection that stand for these, in their order, as far as there are any.

        Args:
            rows: at least the first column of `columns`, which is the id, and the pixel of each object.
            columns: what is compared where several objects of one id lie in one pixel.
        """
        import pyarrow as pa

        wanted = rows[STORED_HEALPIX].to_numpy()
        partition = self._there.sky.partition_of(wanted)
        found: list[pa.Table | None] = [None] * len(rows)
        for index in np.unique(partition[partition >= 0]).tolist():
            there = self._partition(index, wanted[partition == index])
            order = there[STORED_HEALPIX].to_numpy()
            for row in np.flatnonzero(partition == index).tolist():
                begin, end = (int(np.searchsorted(order, wanted[row], side=side)) for side in ("left", "right"))
                found[row] = _like(there.slice(begin, end - begin), rows.slice(row, 1), columns)
        same = [each for each in found if each is not None]
        return pa.concat_tables(same) if same else self._partition(0, wanted[:0])

    def _partition(self, index: int, healpix: NDArray[np.int64]) -> pa.Table:
        """The objects in some pixels of order 29, with their vectors, which lie in the same order."""
        objects, vectors = (self._there.at(catalogue, index, healpix) for catalogue in (OBJECTS, VECTORS))
        table = objects.rename_columns([STORED_HEALPIX if name == HEALPIX else name for name in objects.column_names])
        for name in vectors.column_names:
            if name not in objects.column_names:
                table = table.append_column(name, vectors[name])
        return table


def _like(some: pa.Table, row: pa.Table, columns: Sequence[str]) -> pa.Table | None:
    """The first of some rows that has the id of one, and, if there is one, also its other columns."""
    name, *others = columns
    same = [place for place in range(len(some)) if some[name][place] == row[name][0]]
    if not same:
        return None
    known = [each for each in others if each in some.column_names]
    alike = [place for place in same if all(some[each][place] == row[each][0] for each in known)]
    return some.slice((alike or same)[0], 1)
