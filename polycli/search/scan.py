"""Exact nearest neighbours by cosine similarity: a scan over all partitions, in memory that does not grow with rows.

Vectors are read as they lie, float16 or float32, and summed in float32, a block at a time. What may be among the
nearest is then compared in float64, so that the answer depends neither on the cut into blocks nor on threads: the more
similar row comes first, and of equally similar ones the row with the lower index.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.errors import UserError
from polycli.search.filters import RowFilter
from polycli.search.kernels import (
    ROUGH_TOLERANCE,
    TOLERANCE,
    NumpyKernel,
    RoughKernel,
    TorchKernel,
    choose_kernel,
    rough_kernel,
)
from polycli.store.embeddings.opened import Lengths, StoredEmbeddings
from polycli.store.embeddings.partitions import Partition

Floats = NDArray[np.float32]
#: Bytes that are read at once: few enough for a processor's cache, and enough that threads seldom wait for each other.
_READ_BYTES = 2**22
_ROUGH_BYTES = 2**20
_TINY, _HUGE = 1e-150, 1e150
#: Of so many rows at most lengths are kept, in float32.
_MOST_LENGTHS = 2**26
#: Where more than one row in so many could be among the nearest by a rough look, all are compared in float32.
_ROUGH_SHARE = 32


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
    kernel = choose_kernel(stored, column, len(queries))
    rough = rough_kernel(stored, column, queries)
    if rough is not None:
        compared = _scan_roughly(stored, column, best, rough, kernel, allowed=allowed)
    else:
        compared = _scan(stored, column, best, kernel, allowed)
    return Nearest(best.rows, best.similarity.astype(np.float32), compared)


def _scan(
    stored: StoredEmbeddings, column: str, best: _Best, kernel: NumpyKernel | TorchKernel, allowed: RowFilter | None
) -> int:
    """Compare all rows in float32; returns how many."""
    lengths = _space_for_lengths(stored, column, kernel) if allowed is None else None
    compared = 0
    blocks = _blocks(stored, column, allowed)
    for first, vectors, inside in _ahead(blocks) if kernel.threads > 1 else blocks:
        compared += len(vectors) if inside is None else int(inside.sum())
        similar, found = kernel(vectors, best.queries)
        if lengths is not None:
            lengths[first : first + len(vectors)] = found
        best.add(first, vectors, similar, inside)
    if lengths is not None:
        stored.lengths[column] = Lengths.of(lengths)
    return compared


def _scan_roughly(
    stored: StoredEmbeddings,
    column: str,
    best: _Best,
    rough: RoughKernel,
    kernel: NumpyKernel | TorchKernel,
    *,
    allowed: RowFilter | None,
) -> int:
    """Compare all rows with one query in half precision, and exactly those that may be among the nearest."""
    compared = 0
    for partition, chosen, similar in _roughly(stored, column, rough, allowed):
        compared += partition.rows if chosen is None else int(chosen.sum())
        found = best.promising(partition.first, similar)
        if found is None:
            vectors = partition.vectors(column, 0, partition.rows)
            best.add(partition.first, vectors, kernel(vectors, best.queries)[0], chosen)
        elif len(found):
            near = cosines(partition.vectors_at(column, found), best.queries[0])
            best.merge(0, partition.first + found, near)
    return compared


def _roughly(
    stored: StoredEmbeddings, column: str, rough: RoughKernel, allowed: RowFilter | None
) -> Iterator[tuple[Partition, NDArray[np.bool_] | None, Floats]]:
    """The partitions in order with rough similarities of all their rows, -inf for those that may not be found.

    Several threads read and multiply, each in blocks that stay in its core's cache.
    """
    step = max(1, _ROUGH_BYTES // (2 * stored.vectors[column].width))

    def work(partition: Partition, chosen: NDArray[np.bool_] | None) -> Floats:
        similar = np.full(partition.rows, -np.inf, np.float32)
        for begin, vectors in partition.pieces(column, step, chosen):
            similar[begin : begin + len(vectors)] = rough(partition.first + begin, vectors)
        if chosen is not None:
            similar[~chosen] = -np.inf
        # A vector that is not finite is similar to nothing.
        similar[np.isnan(similar)] = -np.inf
        return similar

    threads = rough.threads
    if threads == 1:
        for partition, chosen in _allowed(stored, allowed):
            yield partition, chosen, work(partition, chosen)
        return
    waiting: deque[tuple[Partition, NDArray[np.bool_] | None, Future[Floats]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for partition, chosen in _allowed(stored, allowed):
            waiting.append((partition, chosen, pool.submit(work, partition, chosen)))
            if len(waiting) > threads:
                ready = waiting.popleft()
                yield ready[0], ready[1], ready[2].result()
        for partition, chosen, future in waiting:
            yield partition, chosen, future.result()


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
    with np.errstate(over="ignore"):
        own = np.sqrt((wide * wide).sum(axis=1))
    if not ((own > _TINY) & (own < _HUGE)).all():
        # Squares of such numbers leave the range of float64: first by the largest number of each.
        largest = np.abs(wide).max(axis=1, initial=0, keepdims=True)
        wide = np.divide(wide, largest, out=np.zeros_like(wide), where=largest > 0)
        own = np.sqrt((wide * wide).sum(axis=1))
    length = own * np.sqrt((one * one).sum())
    return np.asarray((wide * one).sum(axis=1) / np.where(length == 0, 1, length), np.float64)


class _Best:
    """The best rows so far of all queries."""

    def __init__(self, queries: Floats, k: int, without: NDArray[np.int64] | None) -> None:
        self.queries, self.k, self.without = queries, k, without
        self.rows = np.full((len(queries), k), -1, np.int64)
        self.similarity = np.full((len(queries), k), -np.inf)

    def add(self, first: int, vectors: NDArray[Any], similar: Floats, inside: NDArray[np.bool_] | None) -> None:
        """Look at a block of rows.

        Args:
            first: the first row.
            vectors: those of the rows.
            similar: (queries, rows) similarities in float32, which are changed.
            inside: which rows may be found; all where it is None.
        """
        if inside is not None:
            similar[:, ~inside] = -np.inf
        limit = self.similarity[:, -1] - TOLERANCE
        highest = similar.max(axis=1)
        if np.isnan(highest).any():
            # A vector that is not finite is similar to nothing.
            similar[np.isnan(similar)] = -np.inf
            highest = similar.max(axis=1)
        for query in np.flatnonzero(highest >= limit).tolist():
            found = self._candidates(query, first, similar[query], TOLERANCE)
            if len(found):
                self.merge(query, first + found, cosines(vectors[found], self.queries[query]))

    def promising(self, first: int, similar: Floats) -> NDArray[np.int64] | None:
        """The rows of some that may be among the nearest of the only query; None where these are too many to tell.

        Args:
            first: the first row.
            similar: (rows,) rough similarities, which are changed.
        """
        found = self._candidates(0, first, similar, ROUGH_TOLERANCE)
        return None if len(found) > self.k + len(similar) // _ROUGH_SHARE else found

    def _candidates(self, query: int, first: int, similar: Floats, tolerance: float) -> NDArray[np.int64]:
        """The rows that may be among the nearest of a query, where similarities are wrong by at most `tolerance`."""
        own = None if self.without is None else self.without[query] - first
        if own is not None:
            similar[own[(own >= 0) & (own < len(similar))]] = -np.inf
        limit = self.similarity[query, -1] - tolerance
        near = np.flatnonzero((similar >= limit) & (similar > -np.inf))
        if len(near) <= self.k:
            return near
        floor = _lowest_of_best(similar[near], self.k) - 2 * tolerance
        return np.asarray(near[similar[near] >= floor])

    def merge(self, query: int, rows: NDArray[np.int64], similarity: NDArray[np.float64]) -> None:
        """Take rows with their exact similarities into the best of a query."""
        # Compared as they are reported: vectors that differ by less than float32 can tell are equally similar.
        similarity = similarity.astype(np.float32).astype(np.float64)
        all_rows = np.concatenate([self.rows[query], rows])
        all_similar = np.concatenate([self.similarity[query], similarity])
        order = np.lexsort((all_rows, -all_similar))[: self.k]
        self.rows[query], self.similarity[query] = all_rows[order], all_similar[order]


def _space_for_lengths(
    stored: StoredEmbeddings, column: str, kernel: NumpyKernel | TorchKernel
) -> NDArray[np.float32] | None:
    """Make room for the lengths of all vectors, with which the next search is faster; None where it is not."""
    wanted = isinstance(kernel, TorchKernel) and stored.vectors[column].dtype == "float16"
    if not wanted or column in stored.lengths or stored.rows > _MOST_LENGTHS:
        return None
    return np.empty(stored.rows, np.float32)


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
