"""Nearest neighbours in published embeddings: the engine of `polycli search`, of `polycli serve` and of notebooks.

    >>> from polycli.search.searcher import Searcher
    >>> galaxies = Searcher.open(Path("galaxies.parquet"))
    >>> row = galaxies.row_of("1")
    >>> answer = galaxies.nearest(galaxies.vectors([row], "vector"), "vector", k=2, without=[row])
    >>> [(neighbour.id, round(neighbour.similarity, 4)) for neighbour in answer.neighbours]
    [(2, 0.7071), (3, 0.5774)]

A `Searcher` holds no more than the description of the embeddings and, once a search has found them out, the lengths of
float16 vectors. What it answers never changes, so threads may share it:

    rows, columns, kinds            how many rows; the columns without vectors; by kind (image) the column of vectors
    id_column, has_positions        None and False where there is no such column
    vector_column(kind)             image -> image_embedding; without a kind the only or first one
    table(rows, columns)            some columns of some rows, in that order, as an Arrow table
    vectors(rows, column)           (n, width) float32
    row_of(id), row_at(ra, dec)     the row of an id; the nearest to a position and how far it is
    nearest(query, column, k)       an `Answer`; `allowed` restricts it (`search.filters`), `without` leaves rows out
    index(column)                   what `search build` made, for `nearest(..., index=...)`; refused if out of date
    nearest_of_many(queries, ...)   the same for many queries in one scan, as arrays
"""

from __future__ import annotations

import difflib
import heapq
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from operator import and_, eq
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polycli.console import counted
from polycli.errors import UserError
from polycli.requests import JsonDocument
from polycli.search.filters import Cone, RowFilter
from polycli.search.index import VectorIndex
from polycli.search.scan import Floats, Nearest, scan
from polycli.store.embeddings.opened import StoredEmbeddings, open_embeddings

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = "_embedding"
#: What all similarities are.
MEASURE = "cosine similarity"
#: Ids that an error names at most.
_SHOWN_IDS = 3


@dataclass(frozen=True)
class Neighbour:
    """A row that was found."""

    #: Its index among the rows of the embeddings.
    row: int
    #: Its id; its row where the embeddings have no ids.
    id: Any
    #: Cosine similarity with the query, from -1 to 1.
    similarity: float
    #: Its other columns by name.
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """The neighbours of one query, the most similar first."""

    #: The column of vectors that was searched.
    vector: str
    neighbours: tuple[Neighbour, ...]
    #: How many rows were compared with the query.
    compared: int
    #: Whether all rows that were allowed were compared; otherwise an index chose which.
    exact: bool = True
    #: The share of the ten nearest that the index is known to find; None for an exact answer.
    recall: float | None = None


@dataclass(frozen=True)
class Searcher:
    """Embeddings, opened for searching."""

    stored: StoredEmbeddings

    @classmethod
    def open(cls, path: Path) -> Searcher:
        """Open published embeddings of any form, or somebody's HATS catalogue or Parquet file with vectors.

        Raises:
            UserError: there are none at this path, they are not published yet, or hold no vectors.
        """
        return cls(open_embeddings(path))

    @property
    def path(self) -> Path:
        """The path of the embeddings."""
        return self.stored.path

    @property
    def manifest(self) -> JsonDocument:
        """The manifest of the embeddings; empty for catalogues of others."""
        return self.stored.manifest

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.stored.rows

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns but those of vectors."""
        return self.stored.columns

    @property
    def id_column(self) -> str | None:
        """The name of the column of ids."""
        return self.stored.id_column

    @property
    def has_positions(self) -> bool:
        """Whether rows have positions on the sky."""
        return self.stored.position_columns is not None

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        """The column of the vectors of each kind, such as image."""
        return {self.kind_of(name): name for name in self.stored.vectors}

    def vector_column(self, kind: str | None = None) -> str:
        """The column of a kind of vectors, by the name of either; without one the first, which is often the only one.

        Raises:
            UserError: there is no such kind.
        """
        if kind is None:
            return next(iter(self.stored.vectors))
        if kind in self.stored.vectors:
            return kind
        if kind not in self.kinds:
            raise UserError(f"{self.path}: has no vectors {kind!r}, only {', '.join(self.kinds)}")
        return self.kinds[kind]

    def kind_of(self, column: str) -> str:
        """The kind of a column of vectors: image of image_embedding."""
        return column.removesuffix(SUFFIX)

    def table(self, rows: Sequence[int], columns: Sequence[str] | None = None) -> pa.Table:
        """Some columns of some rows, in the order of `rows`; all columns without vectors where none are named.

        Raises:
            UserError: there is no such row or column.
        """
        wanted = self.columns if columns is None else columns
        for name in wanted:
            self.refuse_unknown_column(name)
        return self.stored.take(list(rows), list(wanted))

    def vectors(self, rows: Sequence[int], column: str) -> Floats:
        """(n, width) the vectors of some rows.

        Raises:
            UserError: there is no such row.
        """
        return self.stored.vectors_of(list(rows), column)

    def ids(self, rows: Sequence[int]) -> list[Any]:
        """The ids of some rows; their indices where there are no ids."""
        if self.id_column is None:
            return list(rows)
        return list(self.table(rows, [self.id_column])[self.id_column].to_pylist())

    def row_of(self, wanted: str | int) -> int:
        """The row of an id.

        Raises:
            UserError: there are no ids, none is this one, or several rows have it.
        """
        from pyarrow import compute

        if self.id_column is None:
            raise UserError(f"{self.path}: has no column of ids", hint=f"--row {self.path}:N")
        text = str(wanted)
        rows: list[int] = []
        for partition in self.stored.partitions:
            column = as_texts(partition.read([self.id_column])[self.id_column])
            found = compute.indices_nonzero(compute.equal(column, text))
            rows += [partition.first + place for place in found.to_pylist()]
        if not rows:
            near = self._nearest_ids(text)
            shown = f"; the nearest are {', '.join(near)}" if near else ""
            raise UserError(f"{self.path}: no {self.id_column} is {text!r}{shown}")
        if len(rows) > 1:
            several = ", ".join(map(str, rows[:_SHOWN_IDS])) + (", ..." if len(rows) > _SHOWN_IDS else "")
            raise UserError(
                f"{self.path}: {self.id_column} {text!r} has {counted(len(rows), 'row', 'rows')}: {several}",
                hint=f"--row {self.path}:{rows[0]}",
            )
        return rows[0]

    def row_at(self, ra: float, dec: float, radius: float = 180.0) -> tuple[int, float]:
        """The row that lies nearest to a position on the sky, and how many degrees away it is.

        Args:
            ra: right ascension in degrees.
            dec: declination in degrees.
            radius: degrees within which it must lie.

        Raises:
            UserError: rows have no positions, or none lies so near.
        """
        cone = self.cone(ra, dec, radius)
        best: tuple[float, int] | None = None
        for partition in self.stored.partitions:
            if not cone.touches(partition):
                continue
            separation = cone.separation(partition.read(sorted(cone.columns)))
            if np.isfinite(separation).any():
                place = int(np.nanargmin(separation))
                found = float(separation[place]), partition.first + place
                best = found if best is None else min(best, found)
        if best is None and not self._has_a_position():
            raise UserError(
                f"{self.path}: no row has a position: all of {' and '.join(self.position_columns)} are unknown",
                hint="--id ID, --row FILE:N or --file FILE says what is looked for",
            )
        if best is None or best[0] > radius:
            how_far = "" if best is None else f"; the nearest is {best[0] * 3600:.4g} arcsec away"
            raise UserError(
                f"{self.path}: no object lies within {radius * 3600:g} arcsec of {ra:g}, {dec:g}{how_far}",
                hint="--radius 1arcmin or 0.1deg asks for objects that lie further away",
            )
        return best[1], best[0]

    def _has_a_position(self) -> bool:
        _, dec = self.position_columns
        return any(
            np.isfinite(partition.read([dec])[dec].to_numpy().astype(np.float64)).any()
            for partition in self.stored.partitions
        )

    def cone(self, ra: float, dec: float, radius: float) -> Cone:
        """A filter for objects within `radius` of a position, all in degrees.

        Raises:
            UserError: rows have no positions, or this is no cone.
        """
        return Cone(ra, dec, radius, self.position_columns)

    @property
    def position_columns(self) -> tuple[str, str]:
        """The columns of right ascension and declination.

        Raises:
            UserError: rows have no positions.
        """
        if self.stored.position_columns is None:
            raise UserError(f"{self.path}: rows have no positions on the sky: there are no columns ra and dec")
        return self.stored.position_columns

    def index(self, column: str) -> VectorIndex:
        """The index of a column of vectors, which `polycli search build` makes.

        Raises:
            UserError: there is none, or it is of other vectors than are there now.
        """
        return VectorIndex.open(self.stored, column)

    def nearest(
        self,
        query: Floats,
        column: str,
        k: int = 10,
        *,
        allowed: RowFilter | None = None,
        without: Sequence[int] = (),
        columns: Sequence[str] | None = None,
        index: VectorIndex | None = None,
    ) -> Answer:
        """The k rows whose vectors in `column` are most similar to `query`, (width,) or (1, width), compared with all.

        Args:
            query: the vector, of any length but zero.
            column: the column of vectors.
            k: how many rows.
            allowed: which rows may be found; all where it is None.
            without: rows that may not be found, such as the query's own.
            columns: which columns to add to each neighbour; all without vectors where it is None.
            index: what answers instead of a comparison with all; where rows are filtered, all allowed are compared.

        Raises:
            UserError: the query has another width, or there is no such column.
        """
        queries, left_out = np.atleast_2d(query), np.array([without], np.int64)
        if index is not None and allowed is None:
            found = index.search(queries, k, left_out)
            neighbours = self.neighbours(found.rows[0], found.similarity[0], columns)
            return Answer(column, neighbours, found.compared, exact=False, recall=index.facts.recall_at_10)
        found = self.nearest_of_many(queries, column, k, allowed=allowed, without=left_out)
        return Answer(column, self.neighbours(found.rows[0], found.similarity[0], columns), found.compared)

    def nearest_of_many(
        self,
        queries: Floats,
        column: str,
        k: int = 10,
        *,
        allowed: RowFilter | None = None,
        without: NDArray[np.int64] | None = None,
    ) -> Nearest:
        """The k nearest rows of many queries (n, width), in one scan, as arrays (n, k); `without` is (n, any), -1 none.

        Raises:
            UserError: the queries have another width, or there is no such column.
        """
        if allowed is not None:
            for name in sorted(allowed.columns):
                self.refuse_unknown_column(name)
        return scan(self.stored, column, queries, k, allowed=allowed, without=without)

    def neighbours(
        self, rows: NDArray[np.int64], similarity: Floats, columns: Sequence[str] | None = None
    ) -> tuple[Neighbour, ...]:
        """Rows and their similarities, with their ids and columns; -1 is no row."""
        there = [int(row) for row in rows if row >= 0]
        wanted = self.columns if columns is None else tuple(columns)
        names = list(dict.fromkeys([*wanted, *([self.id_column] if self.id_column else [])]))
        # A table without columns has no rows either.
        values = self.table(there, names).to_pylist() if there and names else [{} for _ in there]
        return tuple(
            Neighbour(
                row,
                row if self.id_column is None else known[self.id_column],
                float(near),
                {name: known[name] for name in wanted if name != self.id_column},
            )
            for row, near, known in zip(there, similarity[rows >= 0], values, strict=True)
        )

    def refuse_unknown_column(self, name: str) -> None:
        """Return if there is a column of this name without vectors.

        Raises:
            UserError: there is none; the sentence names those that are called alike.
        """
        if name not in self.columns:
            near = difflib.get_close_matches(name, self.columns, n=3, cutoff=0.4)
            shown = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(self.columns)}"
            raise UserError(f"{self.path}: has no column {name!r}: {shown}")

    def _nearest_ids(self, text: str) -> list[str]:
        """The ids that begin most like a text."""
        found: set[str] = set()
        for partition in self.stored.partitions:
            known = as_texts(partition.read([self.id_column or ""]).column(0))
            ordered = sorted(name for name in known.to_pylist() if name is not None)
            # Those that begin alike stand beside it in the order of the alphabet.
            place = bisect(ordered, text)
            found.update(ordered[max(0, place - _SHOWN_IDS) : place + _SHOWN_IDS])

        def alike(name: str) -> tuple[int, float]:
            return sum(accumulate(map(eq, text, name), and_)), difflib.SequenceMatcher(None, text, name).ratio()

        return sorted(heapq.nlargest(_SHOWN_IDS, found, key=alike))


def as_texts(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    r"""Ids as they are typed; bytes that are no UTF-8 as `\xff`."""
    import pyarrow as pa

    if pa.types.is_binary(ids.type) or pa.types.is_large_binary(ids.type) or pa.types.is_fixed_size_binary(ids.type):
        texts = [
            None if name is None else name.rstrip(b"\0 ").decode(errors="backslashreplace") for name in ids.to_pylist()
        ]
        return pa.chunked_array([pa.array(texts, pa.string())])
    return ids.cast(pa.string())
