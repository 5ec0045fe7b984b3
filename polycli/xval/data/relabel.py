"""Translates the ids that staged blocks share into places in the published store's vocabulary and key paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.store.blocks import Column, Ragged, StagedRows
from polycli.xval.data.staging import shared_ids
from polycli.xval.records.structure import FIRST_KEY


class Names:
    """The keys and key paths of a store, in their order."""

    def __init__(self, keys: Sequence[str], key_paths: Sequence[str]) -> None:
        self.keys = tuple(keys)
        self.key_paths = tuple(key_paths)
        self._keys = _Table(self.keys)
        self._paths = _Table(self.key_paths)

    def converted(self, name: str, values: NDArray[np.int64]) -> NDArray[np.int32]:
        """The values of the column `token_ids` or `number_keys`, as they stand in the store."""
        if name == "number_keys":
            return ((self._paths.places(values >> 1) << 1) | (values & 1)).astype(np.int32)
        is_key = values >= FIRST_KEY
        found = values.astype(np.int32)
        found[is_key] = FIRST_KEY + self._keys.places(values[is_key])
        return found


class _Table:
    """Places of names by the numbers that blocks know them by."""

    def __init__(self, names: Sequence[str]) -> None:
        ids = shared_ids(names)
        self._order = np.argsort(ids)
        self._sorted = ids[self._order]
        if len(names) > 1 and (np.diff(self._sorted) == 0).any():
            # One pair in 10^18; the store would mix them up.
            raise RuntimeError("two keys of the data have the same hash")

    def places(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        if not len(self._sorted):
            return np.empty(0, dtype=np.int64)
        return np.asarray(self._order[np.searchsorted(self._sorted, ids)], dtype=np.int64)


class NamedRows(StagedRows):
    """Staged rows whose tokens and key paths are those of the store that they become."""

    def __init__(self, rows: StagedRows, names: Names) -> None:
        # The same rows, seen through names: nothing is read again.
        super().__init__(rows._parts, rows.ids, rows.hashes, rows.duplicates)  # noqa: SLF001  # of the class above
        self._names = names

    def blocks(self, *names: str) -> Iterator[dict[str, Column]]:
        """Yields the staged blocks, with their ids translated."""
        for block in super().blocks(*names):
            yield {name: self._converted(name, column) for name, column in block.items()}

    def checked(self, name: str) -> Iterator[Column]:
        """Yields the checked pieces of one column, with their ids translated."""
        for column in super().checked(name):
            yield self._converted(name, column)

    def _converted(self, name: str, column: Column) -> Column:
        if name not in ("token_ids", "number_keys") or not isinstance(column, Ragged):
            return column
        return Ragged(self._names.converted(name, column.values), column.offsets)
