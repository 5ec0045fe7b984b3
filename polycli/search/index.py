"""An index of one kind of vectors: answers after a look at a few of its lists, and knows how often that is right.

It lies beside the embeddings, in `NAME.KIND.index/`: `INDEX.json`, what it is of and its recall; `index.faiss`, the
centres of its lists; `lists.data`, the vectors in float16, of which a search reads the lists around the query alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from polycli.errors import StoreError, UserError, problems_of
from polycli.names import file_stem
from polycli.search.scan import Floats, Nearest, cosines, unit_queries
from polycli.store.embeddings.opened import StoredEmbeddings

INDEX_NAME, FAISS_NAME, LISTS_NAME = "INDEX.json", "index.faiss", "lists.data"
#: So many more candidates than are wanted are compared exactly, for lists hold rounded vectors.
_MORE = 16
_PRINTING = threading.Lock()


class IndexFacts(BaseModel):
    """The contents of INDEX.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["polycli-index"] = "polycli-index"
    schema_version: Literal[1] = 1
    column: str
    rows: int
    width: int
    #: The hash of the embeddings that it was made of.
    identity: str
    lists: int
    #: How many lists a search looks at.
    probes: int
    #: The share of the ten nearest that it finds, and the number of queries that say so.
    recall_at_10: float
    queries: int
    seed: int
    #: What was asked for.
    wanted_recall: float


def index_path(stored: StoredEmbeddings, column: str) -> Path:
    """The folder of the index of a column."""
    kind = file_stem(column.removesuffix("_embedding"))
    return stored.path.with_name(f"{stored.path.name}.{kind}.index")


def faiss_library() -> Any:  # noqa: ANN401  # A module without types.
    """The library of indexes.

    Raises:
        UserError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise UserError(
            "an index needs faiss, which is not installed; the exact search does not",
            hint="pip install 'polycli[search]'",
        ) from error
    return faiss


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what faiss prints off stdout, which carries results alone; it prints where each file of lists lies."""
    library = ctypes.CDLL(None)
    sys.stdout.flush()
    with _PRINTING:
        kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 1)
            yield
        finally:
            # Its words wait in the C library's buffer until here.
            library.fflush(None)
            os.dup2(kept, 1)
            os.close(kept)
            os.close(nowhere)


def read_facts(path: Path) -> IndexFacts | None:
    """Read the description of an index; None where there is none.

    Raises:
        StoreError: its description cannot be read.
    """
    try:
        return IndexFacts.model_validate_json((path / INDEX_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        raise StoreError(f"{path}: is no index of this version: {problems_of(error)}", hint="build it anew") from error


@dataclass(frozen=True)
class VectorIndex:
    """The index of one column of embeddings, opened."""

    stored: StoredEmbeddings
    facts: IndexFacts
    path: Path

    @classmethod
    def open(cls, stored: StoredEmbeddings, column: str) -> VectorIndex:
        """Open the index of a column, if it is of these very vectors.

        Raises:
            UserError: there is none, or it is of other vectors than are there now.
            StoreError: it cannot be read.
        """
        path = index_path(stored, column)
        facts = read_facts(path)
        line = f"polycli search build {stored.path}"
        if facts is None:
            raise UserError(f"{stored.path}: has no index of {column}", hint=f"{line}, or leave --index out")
        if (facts.column, facts.width, facts.rows) != (column, stored.vectors[column].width, stored.rows) or (
            facts.identity != stored.identity()
        ):
            raise UserError(
                f"{path}: is of other vectors than {stored.path} has now: those were {facts.rows:,} rows with the hash "
                f"{facts.identity[:12]}",
                hint=f"{line} builds it anew; without --index the answer is exact",
            )
        return cls(stored, facts, path)

    def search(self, queries: Floats, k: int, without: NDArray[np.int64] | None = None) -> Nearest:
        """The nearest rows of queries (n, width) among those in the lists around each.

        Raises:
            UserError: the width is not that of the vectors, or a query is zero or not finite.
        """
        queries = unit_queries(queries, self.facts.width, self.facts.column)
        without = np.full((len(queries), 0), -1, np.int64) if without is None else without
        wanted = min(k + without.shape[1] + _MORE, self.facts.rows)
        rows, compared = self.candidates(queries, wanted, self.facts.probes)
        best, similarity = self.best(queries, rows, k, without)
        return Nearest(best, similarity, compared)

    def candidates(self, queries: Floats, count: int, probes: int) -> tuple[NDArray[np.int64], int]:
        """(n, count) rows by the index alone, -1 where there are fewer, and how many vectors were looked at at most."""
        library = faiss_library()
        given = library.SearchParametersIVF(nprobe=probes)
        _, rows = self._faiss.search(queries, count, params=given)
        _, lists = self._faiss.quantizer.search(queries, probes)
        sizes = [self._faiss.invlists.list_size(int(number)) for number in lists[0] if number >= 0]
        return np.asarray(rows, np.int64), sum(sizes)

    def best(
        self, queries: Floats, rows: NDArray[np.int64], k: int, without: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Floats]:
        """The k best of some rows for each query, by the vectors themselves."""
        best = np.full((len(queries), k), -1, np.int64)
        similarity = np.full((len(queries), k), -np.inf, np.float32)
        for number, query in enumerate(queries):
            there = np.setdiff1d(rows[number][rows[number] >= 0], without[number])
            near = cosines(self.stored.vectors_of(there.tolist(), self.facts.column), query).astype(np.float32)
            order = np.lexsort((there, -near.astype(np.float64)))[:k]
            best[number, : len(order)], similarity[number, : len(order)] = there[order], near[order]
        return best, similarity

    @cached_property
    def _faiss(self) -> Any:  # noqa: ANN401  # A class without types.
        library = faiss_library()
        try:
            with quietly():
                return library.read_index(str(self.path / FAISS_NAME), library.IO_FLAG_ONDISK_SAME_DIR)
        except RuntimeError as error:
            raise StoreError(f"{self.path}: cannot be read: {error}", hint="build it anew") from error
