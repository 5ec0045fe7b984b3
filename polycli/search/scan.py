"""Exact nearest neighbours by cosine similarity: a scan over all partitions, in memory that does not grow with rows.

Vectors are read as they lie, float16 or float32, and summed in float32, a block at a time. What may be among the
nearest is then compared in float64, so that the answer depends neither on the cut into blocks nor on threads: the more
similar row comes first, and of equally similar ones the row with the lower index.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.errors import UserError
from polycli.search.filters import RowFilter
from polycli.store.embeddings.opened import StoredEmbeddings
from polycli.store.embeddings.partitions import Partition

Floats = NDArray[np.float32]
#: Numbers of a block in float32, a megabyte: it stays in a core's cache between the passes over it.
_BLOCK_VALUES = 2**18
#: With many queries a block must be larger, or the queries are read more often than the vectors.
_BLOCK_ROWS = 4096
#: Bytes that are read at once.
_READ_BYTES = 2**22
#: Below so many bytes of vectors it takes longer to import torch than to scan with numpy.
_TORCH_FROM_BYTES = 2**27
#: Errors of cosines that are summed in float32 stay below this.
_TOLERANCE = 1e-5


#: The first row of some that follow each other, their vectors, and which of them may be found, None for all.
_Block = tuple[int, NDArray[Any], NDArray[np.bool_] | None]


@dataclass(frozen=True)
class Nearest:
    """The nearest rows of each query, the most similar first."""

    #: (queries, k) indices of rows, -1 where fewer than k may be found.
    rows: NDArray[np.int64]
    #: (queries, k) cosine similarities, -inf where there is no row.
    similarity: Floats
    #: How many rows were compared.
    compared: int


def scan(
    stored: StoredEmbeddings,
    column: str,
    queries: Floats,
    k: int,
    *,
    allowed: RowFilter | None = None,
    without: NDArray[np.int64] | None = None,
) -> Nearest:
    """The k rows whose vectors have the largest cosine similarity with each query.

    Args:
        stored: the embeddings.
        column: which of their columns of vectors.
        queries: (n, width) of any length but zero.
        k: how many rows for each query.
        allowed: which rows may be found; all where it is None.
        without: indices of rows, (n, any number), that each query may not find, such as its own; -1 is none.

    Raises:
        UserError: the width is not that of the vectors, or a query is zero or not finite.
    """
    queries = unit_queries(queries, stored.vectors[column].width, column)
    best = _Best(queries, k, without)
    kernel = _kernel(stored, column, len(queries))
    compared = 0
    for first, vectors, inside in _ahead(_blocks(stored, column, allowed)):
        compared += len(vectors) if inside is None else int(inside.sum())
        similar = kernel(vectors, queries)
        if inside is not None:
            similar[:, ~inside] = -np.inf
        best.add(first, vectors, similar)
    return Nearest(best.rows, best.similarity.astype(np.float32), compared)


def unit_queries(queries: Floats, width: int, column: str) -> Floats:
    """Queries of length one.

    Raises:
        UserError: the width is not that of the vectors, or a query is zero or not finite.
    """
    queries = np.atleast_2d(np.asarray(queries, np.float32))
    if queries.shape[1] != width:
        raise UserError(
            f"the query is a vector of {queries.shape[1]} numbers, and {column} has vectors of {width}: they are of "
            "another model or kind"
        )
    length = np.linalg.norm(queries.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(length).all() or not length.all():
        raise UserError("the query's vector is zero or not finite, so nothing is similar to it")
    return np.asarray(queries / length, np.float32)


def cosines(vectors: NDArray[Any], query: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(n,) cosine similarity of vectors with a query in float64, each summed alike wherever it stands."""
    wide = vectors.astype(np.float64)
    one = np.asarray(query, np.float64)
    length = np.sqrt((wide * wide).sum(axis=1)) * np.sqrt((one * one).sum())
    return np.asarray((wide * one).sum(axis=1) / np.where(length == 0, 1, length), np.float64)


class _Best:
    """The best rows so far of all queries."""

    def __init__(self, queries: Floats, k: int, without: NDArray[np.int64] | None) -> None:
        self.queries, self.k, self.without = queries, k, without
        self.rows = np.full((len(queries), k), -1, np.int64)
        self.similarity = np.full((len(queries), k), -np.inf)

    def add(self, first: int, vectors: NDArray[Any], similar: Floats) -> None:
        """Look at a block whose first row is `first`: `similar` is (queries, rows)."""
        limit = self.similarity[:, -1] - _TOLERANCE
        highest = similar.max(axis=1)
        if np.isnan(highest).any():
            # A vector that is not finite is similar to nothing.
            similar[np.isnan(similar)] = -np.inf
            highest = similar.max(axis=1)
        promising = np.flatnonzero(highest >= limit).tolist()
        for query in promising:
            some = similar[query]
            own = None if self.without is None else self.without[query] - first
            if own is not None:
                some[own[(own >= 0) & (own < len(some))]] = -np.inf
            floor = max(limit[query], _lowest_of_best(some, self.k) - _TOLERANCE)
            found = np.flatnonzero((some >= floor) & (some > -np.inf))
            if len(found):
                self._merge(query, first + found, cosines(vectors[found], self.queries[query]))

    def _merge(self, query: int, rows: NDArray[np.int64], similarity: NDArray[np.float64]) -> None:
        # Compared as they are reported: vectors that differ by less than float32 can tell are equally similar.
        similarity = similarity.astype(np.float32).astype(np.float64)
        all_rows = np.concatenate([self.rows[query], rows])
        all_similar = np.concatenate([self.similarity[query], similarity])
        order = np.lexsort((all_rows, -all_similar))[: self.k]
        self.rows[query], self.similarity[query] = all_rows[order], all_similar[order]


def _lowest_of_best(similar: Floats, k: int) -> float:
    """The k-th largest of some numbers; -inf where there are fewer."""
    return -np.inf if len(similar) <= k else float(np.partition(similar, len(similar) - k)[len(similar) - k])


def _allowed(
    stored: StoredEmbeddings, allowed: RowFilter | None
) -> Iterator[tuple[Partition, NDArray[np.bool_] | None]]:
    """The partitions with rows that may be found, each with a mask of them or None for all."""
    for partition in stored.partitions:
        if allowed is None:
            yield partition, None
        elif allowed.touches(partition):
            chosen = allowed.mask(partition, partition.read(sorted(allowed.columns)))
            if chosen.any():
                yield partition, chosen


def _blocks(stored: StoredEmbeddings, column: str, allowed: RowFilter | None) -> Iterator[_Block]:
    """The vectors of all rows that may be found, in blocks; blocks without such a row are not read."""
    about = stored.vectors[column]
    step = max(1, _READ_BYTES // (np.dtype(about.dtype).itemsize * about.width))
    for partition, chosen in _allowed(stored, allowed):
        for begin in range(0, partition.rows, step):
            first, end = begin, min(begin + step, partition.rows)
            if chosen is not None:
                inside = np.flatnonzero(chosen[first:end])
                if not len(inside):
                    continue
                first, end = begin + int(inside[0]), begin + int(inside[-1]) + 1
            mask = None if chosen is None else chosen[first:end]
            yield partition.first + first, partition.vectors(column, first, end), mask


def _ahead(blocks: Iterator[_Block]) -> Iterator[_Block]:
    """The same blocks, each read while the one before it is compared."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = reader.submit(next, blocks, None)
            yield block


class _Kernel:
    """Cosine similarity in float32 by numpy."""

    def __call__(self, vectors: NDArray[Any], queries: Floats) -> Floats:
        """(queries, rows) similarities of vectors (rows, width) with queries of length one."""
        found = np.empty((len(queries), len(vectors)), np.float32)
        step = _block_rows(vectors.shape[1], len(queries))
        for first in range(0, len(vectors), step):
            block = vectors[first : first + step].astype(np.float32)
            length = np.sqrt(np.einsum("ij,ij->i", block, block))
            found[:, first : first + step] = (queries @ block.T) / np.where(length == 0, 1, length)
        return found


class _TorchKernel:
    """The same by torch, whose conversion of float16 is eighty times as fast as numpy's."""

    def __init__(self, width: int, queries: int) -> None:
        import torch

        self.step = _block_rows(width, queries)
        self.space = torch.empty((self.step, width))
        self.ones = torch.ones(width)

    def __call__(self, vectors: NDArray[Any], queries: Floats) -> Floats:
        """(queries, rows) similarities of vectors (rows, width) with queries of length one."""
        import torch

        wanted = torch.from_numpy(queries)
        stored = torch.from_numpy(np.require(vectors, requirements=["C", "W"]))
        found = torch.empty((len(queries), len(vectors)))
        for first in range(0, len(vectors), self.step):
            part = stored[first : first + self.step]
            block = self.space[: len(part)]
            block.copy_(part)
            product = torch.mv(block, wanted[0])[None] if len(queries) == 1 else torch.mm(wanted, block.T)
            # The squared length as a product with ones, which is several times faster than a norm along rows.
            squares = torch.mv(block.mul_(block), self.ones)
            found[:, first : first + self.step] = product / squares.sqrt_().clamp_min_(1e-30)
        return np.asarray(found.numpy(), np.float32)


def _block_rows(width: int, queries: int) -> int:
    rows = max(16, _BLOCK_VALUES // width)
    return rows if queries < 16 else max(rows, _BLOCK_ROWS)


def _kernel(stored: StoredEmbeddings, column: str, queries: int) -> _Kernel | _TorchKernel:
    about = stored.vectors[column]
    size = stored.rows * about.width * np.dtype(about.dtype).itemsize
    if about.dtype != "float64" and ("torch" in sys.modules or size * max(1, queries // 4) > _TORCH_FROM_BYTES):
        return _TorchKernel(about.width, queries)
    return _Kernel()
