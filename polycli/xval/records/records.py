"""Many records in the neutral form: ragged arrays of tokens and numbers, before any encoding of the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.store.columns import Ragged


@dataclass(frozen=True)
class Records:
    """Records one behind the other.

    There is one [NUM] token for each number, in the same order. Numbers are raw: in the user's units, unscaled.
    """

    token_ids: NDArray[np.int32]
    #: (records + 1,) where each record's tokens start.
    token_offsets: NDArray[np.int64]
    #: Float64. NaN only where a null is to be filled in.
    numbers: NDArray[np.float64]
    number_offsets: NDArray[np.int64]
    #: For each number the place of its key path in `key_paths`.
    number_keys: NDArray[np.int32]
    #: Whether a number was written as an integer: only decoding asks.
    number_integers: NDArray[np.bool_]
    key_paths: tuple[str, ...]
    #: Names of the records, where they are known.
    ids: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.token_offsets) - 1

    @property
    def token_lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each record."""
        return np.diff(self.token_offsets)

    @property
    def number_lengths(self) -> NDArray[np.int64]:
        """The number of numbers of each record."""
        return np.diff(self.number_offsets)

    def tokens_of(self, record: int) -> NDArray[np.int32]:
        """The token ids of one record."""
        return self.token_ids[self.token_offsets[record] : self.token_offsets[record + 1]]

    def numbers_of(self, record: int) -> slice:
        """The slice of `numbers`, `number_keys` and `number_integers` that belongs to one record."""
        return slice(int(self.number_offsets[record]), int(self.number_offsets[record + 1]))

    def select(self, rows: NDArray[np.int64] | NDArray[np.bool_] | Sequence[int]) -> Records:
        """Some of the records, in the order asked for."""
        chosen = np.asarray(rows)
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
        chosen = chosen.astype(np.int64)
        tokens = Ragged(self.token_ids, self.token_offsets).select(chosen)
        numbers = Ragged(self.numbers, self.number_offsets).select(chosen)
        return Records(
            token_ids=tokens.values,
            token_offsets=tokens.offsets,
            numbers=numbers.values,
            number_offsets=numbers.offsets,
            number_keys=Ragged(self.number_keys, self.number_offsets).select(chosen).values,
            number_integers=Ragged(self.number_integers, self.number_offsets).select(chosen).values,
            key_paths=self.key_paths,
            ids=tuple(self.ids[row] for row in chosen) if self.ids else (),
        )

    @staticmethod
    def concatenate(parts: Sequence[Records]) -> Records:
        """Records of several readings of one store, one behind the other."""
        first = parts[0]
        if any(part.key_paths != first.key_paths for part in parts):
            raise ValueError("records with different key paths were to be joined")
        return Records(
            token_ids=np.concatenate([part.token_ids for part in parts]),
            token_offsets=_joined([part.token_offsets for part in parts]),
            numbers=np.concatenate([part.numbers for part in parts]),
            number_offsets=_joined([part.number_offsets for part in parts]),
            number_keys=np.concatenate([part.number_keys for part in parts]),
            number_integers=np.concatenate([part.number_integers for part in parts]),
            key_paths=first.key_paths,
            ids=tuple(name for part in parts for name in part.ids),
        )


def _joined(offsets: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Offsets of rows that are put one behind the other."""
    lengths = np.concatenate([np.diff(part) for part in offsets])
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
