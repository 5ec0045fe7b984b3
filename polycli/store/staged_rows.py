"""The rows of staged blocks that are to be published: without those that were masked, and without duplicates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from polycli.store.block_files import Block
from polycli.store.columns import Column, Ragged, joined, select
from polycli.store.hashing import ROW_HASH_DIGITS, hex_of
from polycli.store.manifest import LeftOut

#: The columns that staging adds to each block: names of the rows, and hashes of their content.
ROW_ID, ROW_HASH = "row_id", "row_hash"


class _Part(NamedTuple):
    """The rows of one block that are kept."""

    block: Block
    mask: NDArray[np.bool_]


class StagedRows:
    """Rows in the order of the blocks' keys; nothing is read but hashes until a column is asked for."""

    def __init__(self, parts: Sequence[_Part], hashes: NDArray[np.uint8], duplicates: tuple[LeftOut, ...] = ()) -> None:
        self._parts = [part for part in parts if part.mask.any()]
        #: Content hashes, (rows, 16) bytes.
        self.hashes = hashes
        #: What was left out because an earlier row has the same content.
        self.duplicates = duplicates

    @classmethod
    def of(
        cls,
        blocks: Mapping[str, Block],
        keep: Mapping[str, NDArray[np.bool_]],
        *,
        drop_duplicates: bool,
        ids_tell: bool = False,
    ) -> StagedRows:
        """The rows of all blocks, less those that a mask in `keep` leaves out; of equal rows the first is kept."""
        parts: list[_Part] = []
        hashes = [np.empty((0, ROW_HASH_DIGITS // 2), dtype=np.uint8)]
        for key, block in blocks.items():
            mask = keep.get(key, np.ones(block.rows, dtype=np.bool_))
            if mask.shape != (block.rows,):
                raise ValueError(f"block {key!r} has {block.rows} rows, its mask is {mask.shape}")
            if mask.any():
                parts.append(_Part(block, mask))
                hashes.append(_dense(select(block.column(ROW_HASH), mask)))
        rows = cls(parts, np.concatenate(hashes))
        return rows._without_duplicates(ids_tell=ids_tell) if drop_duplicates else rows

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def ids(self) -> list[str]:
        """The names of all rows."""
        return [name for names in self._ids() for name in names]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the first block, without those that staging adds."""
        names = self._parts[0].block.names if self._parts else ()
        return tuple(name for name in names if name not in (ROW_ID, ROW_HASH))

    def hex_hashes(self) -> list[str]:
        """Content hashes as 32 hex digits each."""
        return hex_of(self.hashes)

    def column(self, name: str) -> Column:
        """A whole column in memory.

        Raises:
            StoreError: a block has no such column.
        """
        return joined([block[name] for block in self.blocks(name)])

    def blocks(self, *names: str) -> Iterator[dict[str, Column]]:
        """The named columns, block after block.

        Raises:
            StoreError: a block lacks one of them.
        """
        for block, mask in self._parts:
            yield {name: select(block.column(name), mask) for name in names}

    def staged(self, name: str) -> Iterator[Column]:
        """One column, block after block, in the form in which it was staged.

        Raises:
            StoreError: a block lacks it.
        """
        for block, mask in self._parts:
            yield select(block.column(name), mask)

    def checked(self, name: str) -> Iterator[Column]:
        """One column, block after block, each after a look at the hashes that its files were staged with.

        Raises:
            StoreError: a file was altered.
        """
        for block, mask in self._parts:
            block.check(name)
            yield select(block.column(name), mask)

    def where(self, mask: NDArray[np.bool_]) -> StagedRows:
        """Returns the rows that a mask keeps."""
        if mask.shape != (len(self),):
            raise ValueError(f"there are {len(self)} rows, the mask is {mask.shape}")
        parts, start = [], 0
        for block, kept in self._parts:
            numbers = np.flatnonzero(kept)
            narrowed = np.zeros_like(kept)
            narrowed[numbers[mask[start : start + len(numbers)]]] = True
            parts.append(_Part(block, narrowed))
            start += len(numbers)
        return StagedRows(parts, self.hashes[mask], self.duplicates)

    def _ids(self) -> Iterator[list[str]]:
        """The names of rows, block after block."""
        return (_strings(column) for column in self.staged(ROW_ID))

    def _without_duplicates(self, *, ids_tell: bool) -> StagedRows:
        """The rows that are equal to no earlier one; with `ids_tell`, rows of different ids are different."""
        told_by = self.hashes
        if ids_tell:
            names = [_id_hashes(ids) for ids in self._ids()]
            told_by = np.hstack([told_by, np.concatenate([told_by[:0], *names])])
        original = _first_equal(told_by)
        repeated = np.flatnonzero(original != np.arange(len(self)))
        if not repeated.size:
            return self
        named = self._names_of(np.union1d(repeated, original[repeated]))
        duplicates = []
        for row in repeated.tolist():
            (source, name), (of_source, of_name) = named[row], named[int(original[row])]
            reason = f"duplicate of {of_source} {of_name}: equal content"
            duplicates.append(LeftOut(source=source, id=name, reason=reason))
        keep = np.ones(len(self), dtype=np.bool_)
        keep[repeated] = False
        rows = self.where(keep)
        rows.duplicates = tuple(duplicates)
        return rows

    def _names_of(self, rows: NDArray[np.int64]) -> dict[int, tuple[str, str]]:
        """Maps rows, in rising order, to the sources of their blocks and to their names."""
        found: dict[int, tuple[str, str]] = {}
        start = 0
        for block, mask in self._parts:
            stop = start + int(mask.sum())
            mine = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]
            if len(mine):
                ids = _strings(select(block.column(ROW_ID), mask))
                found.update({row: (block.source, ids[row - start]) for row in mine.tolist()})
            start = stop
        return found


def _first_equal(told_by: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Finds, for each row, the first one whose bytes are equal."""
    found = np.arange(len(told_by))
    # Rows whose first eight bytes are like no other's, as nearly all are, need no second look.
    words = np.ascontiguousarray(told_by[:, :8]).view(np.uint64)[:, 0]
    order = np.argsort(words, kind="stable")
    alike = words[order[1:]] == words[order[:-1]]
    rows = np.sort(order[np.append(alike, False) | np.insert(alike, 0, False)]) if alike.any() else order[:0]
    if len(rows):
        _, first, group = np.unique(told_by[rows], axis=0, return_index=True, return_inverse=True)
        found[rows] = rows[first[group.reshape(-1)]]
    return found


def _id_hashes(ids: Sequence[str]) -> NDArray[np.uint8]:
    digests = b"".join(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest() for name in ids)
    return np.frombuffer(digests, dtype=np.uint8).reshape(len(ids), 16)


def _strings(column: Column) -> list[str]:
    assert isinstance(column, Ragged)  # noqa: S101  # staging wrote it so
    return column.strings()


def _dense(column: Column) -> NDArray[np.uint8]:
    assert not isinstance(column, Ragged)  # noqa: S101  # staging wrote it so
    return column
