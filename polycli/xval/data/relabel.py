"""Translates the ids of staged blocks into places in the published store's vocabulary and key paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from polycli.store.block_files import Block
from polycli.store.blocks import Column, Ragged, StagedRows
from polycli.store.columns import select
from polycli.xval.data.notes import BlockNote
from polycli.xval.records.structure import FIRST_KEY


class Names:
    """The keys and key paths of a store, in their order."""

    def __init__(self, keys: Sequence[str], key_paths: Sequence[str]) -> None:
        self.keys = tuple(keys)
        self.key_paths = tuple(key_paths)

    def converted(self, name: str, column: Ragged, note: BlockNote) -> Ragged:
        """The column `token_ids` or `number_keys` of a block, as it stands in the store."""
        if name == "number_keys":
            table = np.repeat(_places(note["key_paths"], self._paths) << 1, 2)
            table[1::2] |= 1
        else:
            structure = np.arange(FIRST_KEY, dtype=np.int32)
            table = np.concatenate([structure, FIRST_KEY + _places(note["keys"], self._keys)])
        return Ragged(table[column.values], column.offsets)

    @cached_property
    def _keys(self) -> dict[str, int]:
        return {key: place for place, key in enumerate(self.keys)}

    @cached_property
    def _paths(self) -> dict[str, int]:
        return {path: place for place, path in enumerate(self.key_paths)}


def _places(names: Sequence[str], known: Mapping[str, int]) -> NDArray[np.int32]:
    return np.array([known[name] for name in names], dtype=np.int32)


class NamedRows(StagedRows):
    """Staged rows whose tokens and key paths are those of the store that they become."""

    def __init__(self, rows: StagedRows, names: Names) -> None:
        # The same rows, seen through names: nothing is read again.
        super().__init__(rows._parts, rows.hashes, rows.duplicates)  # noqa: SLF001  # of the class above
        self._names = names

    def blocks(self, *names: str) -> Iterator[dict[str, Column]]:
        """Yields the staged blocks, with their ids translated."""
        for block, mask in self._parts:
            yield {name: self._converted(name, select(block.column(name), mask), block) for name in names}

    def checked(self, name: str) -> Iterator[Column]:
        """Yields the checked pieces of one column, with their ids translated."""
        for (block, _), column in zip(self._parts, super().checked(name), strict=True):
            yield self._converted(name, column, block)

    def _converted(self, name: str, column: Column, block: Block) -> Column:
        if name not in ("token_ids", "number_keys") or not isinstance(column, Ragged):
            return column
        return self._names.converted(name, column, cast("BlockNote", block.record))
