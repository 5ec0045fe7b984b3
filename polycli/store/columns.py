"""Columns of many small rows: dense arrays, or rows of different length one behind the other, and how they are cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from polycli.store.layout import Compression

#: What one read decodes. Rows are drawn at random in training, so that all else that a chunk holds is waste: of spectra
#: of 31 KB and records of 900 bytes, chunks of 32 KiB give 1.5 to 3 times as many rows a second as chunks of 256 KiB,
#: and 5 to 15 times as many as chunks of 1 MiB, for up to 10 % more space (benchmarks/block_reads.py).
CHUNK_BYTES = 32 * 2**10


@dataclass(frozen=True)
class Ragged:
    """Rows of different length, one behind the other: row i is `values[offsets[i]:offsets[i + 1]]`.

    Texts are rows of their UTF-8 bytes: nothing is cut off or padded, and every zarr reader knows uint8.
    """

    values: NDArray[Any]
    #: (rows + 1,), from 0 to the length of `values`, never falling.
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        offsets = self.offsets
        if offsets.ndim != 1 or len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(self.values):
            raise ValueError(f"offsets {offsets.shape} must run from 0 to {len(self.values)}, the number of values")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of values in each row."""
        return np.diff(self.offsets)

    def select(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Ragged:
        """Some rows, by number in any order, or by a mask."""
        numbers = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        lengths = self.lengths[numbers]
        offsets = offsets_of(lengths)
        # Where each value of the selection stands: its place in its row, from where that row starts.
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[numbers] - offsets[:-1], lengths)
        return Ragged(self.values[places], offsets)

    def strings(self) -> list[str]:
        """Decodes the rows as texts."""
        data = self.values.tobytes()
        return [data[start:end].decode("utf-8") for start, end in pairwise(self.offsets.tolist())]

    @classmethod
    def of(cls, rows: Sequence[Sequence[Any] | NDArray[Any]], dtype: DTypeLike) -> Ragged:
        """Rows of any length, none included."""
        offsets = offsets_of(np.array([len(row) for row in rows], dtype=np.int64))
        arrays = [np.asarray(row, dtype=dtype) for row in rows]
        return cls(np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype), offsets)

    @classmethod
    def of_strings(cls, texts: Sequence[str]) -> Ragged:
        """Texts as rows of their UTF-8 bytes."""
        encoded = [text.encode("utf-8") for text in texts]
        offsets = offsets_of(np.array([len(text) for text in encoded], dtype=np.int64))
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets)


#: The values of one column; the first axis is the row.
Column = NDArray[Any] | Ragged


@dataclass(frozen=True)
class ColumnSpec:
    """The layout of a column in the store: the names of the axes after the row axis, and how much one read decodes."""

    dims: tuple[str, ...] = ()
    chunk_bytes: int = CHUNK_BYTES
    compression: Compression = "blosc-lz4"


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the positions at which rows of these lengths start, and last the position where they end."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def select(column: Column, mask: NDArray[np.bool_]) -> Column:
    """The rows of a column that a mask keeps."""
    if mask.all():
        return column
    return column.select(mask) if isinstance(column, Ragged) else column[mask]


def joined(parts: Sequence[Column]) -> Column:
    """Parts of one column, one behind the other."""
    if isinstance(parts[0], Ragged):
        ragged = [part for part in parts if isinstance(part, Ragged)]
        lengths = np.concatenate([part.lengths for part in ragged])
        return Ragged(np.concatenate([part.values for part in ragged]), offsets_of(lengths))
    return np.concatenate([part for part in parts if not isinstance(part, Ragged)])
