"""Cosine similarities of blocks of vectors with queries: by numpy, by torch, and roughly in half precision."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.store.embeddings.opened import StoredEmbeddings

Floats = NDArray[np.float32]
#: Cosines that are summed in float32 are less wrong than this.
TOLERANCE = 1e-5
#: The same in half precision. The query's numbers are rounded by at most 2^-11 of themselves, so the product by at most
#: 2^-11 of both lengths, and the result once more; and lengths that are said to be one are so to 2^-11.
ROUGH_TOLERANCE = 3 * 2.0**-11
#: Numbers of a block in float32, a megabyte: it stays in a core's cache between the passes over it.
_BLOCK_VALUES = 2**18
#: With many queries a block must be larger, or the queries are read more often than the vectors.
_BLOCK_ROWS = 4096
#: Below so many bytes of vectors it takes longer to import torch than to scan with numpy.
_TORCH_FROM_BYTES = 2**27
_MOST_THREADS = 8
#: Half precision loses more than the above outside of these lengths.
_SHORTEST, _LONGEST = 1e-2, 1e4
#: Outside of these lengths the squares of numbers are too small or too large for float32.
_TINY, _HUGE = 1e-15, 1e18


class NumpyKernel:
    """Similarities in float32 by numpy."""

    threads = 1

    def __call__(self, vectors: NDArray[Any], queries: Floats) -> tuple[Floats, Floats]:
        """(queries, rows) similarities of vectors (rows, width) with unit queries, and the vectors' lengths."""
        found = np.empty((len(queries), len(vectors)), np.float32)
        lengths = np.empty(len(vectors), np.float32)
        step = _block_rows(vectors.shape[1], len(queries))
        for first in range(0, len(vectors), step):
            # What float32 has no room for becomes infinite, or zero, and is compared once more.
            with np.errstate(over="ignore"):
                block = vectors[first : first + step].astype(np.float32)
                length = np.sqrt(np.einsum("ij,ij->i", block, block))
            lengths[first : first + step] = length
            # A vector that is not finite makes NaN, which is similar to nothing.
            with np.errstate(over="ignore", invalid="ignore"):
                found[:, first : first + step] = (queries @ block.T) / np.where(length == 0, 1, length)
        return _mended(found, lengths, vectors, queries), lengths


class TorchKernel:
    """The same by torch, whose conversion of float16 is eighty times as fast as numpy's."""

    def __init__(self, width: int, queries: int) -> None:
        import torch

        self.step = _block_rows(width, queries)
        self.space = torch.empty((self.step, width))
        self.threads = torch.get_num_threads()

    def __call__(self, vectors: NDArray[Any], queries: Floats) -> tuple[Floats, Floats]:
        """(queries, rows) similarities of vectors (rows, width) with unit queries, and the vectors' lengths."""
        import torch

        wanted = torch.from_numpy(queries)
        stored = torch.from_numpy(np.require(vectors, requirements=["C", "W"]))
        found = np.empty((len(queries), len(vectors)), np.float32)
        lengths = np.empty(len(vectors), np.float32)
        for first in range(0, len(vectors), self.step):
            part = stored[first : first + self.step]
            block = self.space[: len(part)]
            block.copy_(part)
            product = torch.mv(block, wanted[0])[None] if len(queries) == 1 else torch.mm(wanted, block.T)
            wide = block.numpy()
            length = np.sqrt(np.einsum("ij,ij->i", wide, wide))
            lengths[first : first + self.step] = length
            with np.errstate(over="ignore", invalid="ignore"):
                found[:, first : first + self.step] = product.numpy() / np.where(length == 0, 1, length)
        return _mended(found, lengths, vectors, queries), lengths


@dataclass(frozen=True)
class RoughKernel:
    """Similarities of float16 vectors with a query in float16: several times as fast, and wrong by `ROUGH_TOLERANCE`.

    Products are summed in float32. The lengths of the vectors must be known.
    """

    query: Any
    #: (rows,) of all vectors; None where they are one.
    lengths: Floats | None

    @property
    def threads(self) -> int:
        """How many threads may do this at a time: as many as torch has."""
        import torch

        return min(torch.get_num_threads(), _MOST_THREADS)

    def __call__(self, first: int, vectors: NDArray[np.float16]) -> Floats:
        """(rows,) similarities of vectors (rows, width), of which `first` is the first row."""
        import torch

        stored = torch.from_numpy(np.require(vectors, requirements=["C", "W"]))
        product = torch.mv(stored, self.query).float().numpy()
        known = 1 if self.lengths is None else self.lengths[first : first + len(vectors)]
        return np.asarray(product / known, np.float32)


def choose_kernel(stored: StoredEmbeddings, column: str, queries: int) -> NumpyKernel | TorchKernel:
    """The faster way to compare so many queries with a column of vectors."""
    about = stored.vectors[column]
    size = stored.rows * about.width * np.dtype(about.dtype).itemsize
    if about.dtype != "float64" and ("torch" in sys.modules or size * max(1, queries // 4) > _TORCH_FROM_BYTES):
        return TorchKernel(about.width, queries)
    return NumpyKernel()


def rough_kernel(stored: StoredEmbeddings, column: str, queries: Floats) -> RoughKernel | None:
    """A rough comparison with one query; None where it is none, or lengths are not known or too far from one."""
    if len(queries) > 1 or stored.vectors[column].dtype != "float16" or "torch" not in sys.modules:
        return None
    lengths = stored.lengths.get(column)
    if lengths is None and not (stored.manifest.get("options") or {}).get("normalise"):
        return None
    if lengths is not None and not (lengths.shortest > _SHORTEST and lengths.longest < _LONGEST):
        return None
    import torch

    return RoughKernel(torch.from_numpy(queries[0]).half(), None if lengths is None else lengths.values)


def _mended(found: Floats, lengths: Floats, vectors: NDArray[Any], queries: Floats) -> Floats:
    """The similarities, anew in float64 where the squares of a vector's numbers leave the range of float32."""
    if vectors.dtype == np.float16:
        return found
    odd = np.flatnonzero(~((lengths > _TINY) & (lengths < _HUGE)))
    if len(odd):
        wide = vectors[odd].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            # By their largest number first, for float64 has an end as well.
            wide /= np.abs(wide).max(axis=1, keepdims=True)
            found[:, odd] = queries @ (wide / np.linalg.norm(wide, axis=1, keepdims=True)).T
        found[:, odd[~vectors[odd].any(axis=1)]] = 0
    return found


def _block_rows(width: int, queries: int) -> int:
    rows = max(16, _BLOCK_VALUES // width)
    return rows if queries < 16 else max(rows, _BLOCK_ROWS)
