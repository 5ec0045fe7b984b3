"""The flow of `polycli search build`: lists are learned from a sample, filled partition by partition, and measured.

What is finished is kept beside the index until it is whole, in `.NAME.KIND.index.partial-build/`, so a killed build
goes on where it was: `plan.json`, `trained.faiss`, and `part-N.faiss` of so many rows each.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.console import note, progress, say
from polycli.errors import UserError
from polycli.outputs import Output, OutputKind
from polycli.publishing import remove
from polycli.requests import JsonDocument
from polycli.search.index import (
    FAISS_NAME,
    INDEX_NAME,
    LISTS_NAME,
    IndexFacts,
    VectorIndex,
    faiss_library,
    index_path,
    quietly,
    read_facts,
)
from polycli.search.scan import Floats, scan
from polycli.search.searcher import Searcher
from polycli.store.staging import write_text

#: Queries that tell the recall, and others by which the number of lists to look at is chosen.
QUERIES, TUNING_QUERIES = 1000, 200
NEIGHBOURS = 10
SEED = 0
#: Vectors that a list is learned from, and of all lists together at most.
_SAMPLE_PER_LIST, _LARGEST_SAMPLE = 64, 2**18
#: Rows of a part, which is held in memory while it is filled.
_PART_ROWS = 2**17
_BLOCK_ROWS = 2**13
#: An index that looks at more than one list in so many saves nothing.
_SLOW = 8


def build(searcher: Searcher, column: str, *, recall: float, lists: int | None, force: bool) -> JsonDocument:
    """Make the index of a column of vectors, or what of it is missing; returns its description.

    Raises:
        UserError: faiss is not installed, or there are too few rows.
        PolycliError: the disk is full or refuses a write.
    """
    path = index_path(searcher.stored, column)
    if searcher.rows <= NEIGHBOURS:
        raise UserError(f"{searcher.path}: has {searcher.rows} rows, and an index is of more than {NEIGHBOURS}")
    plan = _Plan(column, searcher.stored.identity(), lists or default_lists(searcher.rows), recall)
    known = read_facts(path) if not force else None
    if known is not None and plan.is_done(known):
        say(f"{path}: is up to date")
    else:
        Output(path, INDEXES, overwrite=True).refuse()
        faiss_library()
        known = _Build(searcher, plan, path).run()
    against = f"against the exact search on {known.queries:,} queries"
    lists_read = f"by {known.probes} of {known.lists} lists"
    say(f"{path}: recall@{NEIGHBOURS} {known.recall_at_10:.4f} {against}, {lists_read}")
    if _SLOW * known.probes > known.lists:
        note(
            "so many lists must be looked at that the exact search is about as fast: these vectors lie in no clusters; "
            "leave --index out, or lower --recall"
        )
    return {"index": str(path), **known.model_dump(mode="json")}


def default_lists(rows: int) -> int:
    """About the square root of the number of rows, as a power of two."""
    return int(2 ** np.clip(np.round(np.log2(np.sqrt(rows))), 0, 16))


def query_rows(rows: int, count: int, seed: int = SEED) -> NDArray[np.int64]:
    """The rows whose vectors are queries of the measurement: drawn at random, each once."""
    return np.random.default_rng(seed).permutation(rows)[:count]


@dataclass(frozen=True)
class _Plan:
    """Everything that decides what the index is."""

    column: str
    identity: str
    lists: int
    recall: float

    def is_done(self, facts: IndexFacts) -> bool:
        """Whether an index is what is planned."""
        made = (facts.column, facts.identity, facts.lists, facts.wanted_recall)
        return made == (self.column, self.identity, self.lists, self.recall)

    @property
    def text(self) -> str:
        """Describes the plan; parts of another description are not taken over."""
        return json.dumps([self.column, self.identity, self.lists, SEED, _PART_ROWS])


@dataclass(frozen=True)
class _Build:
    """An index on its way."""

    searcher: Searcher
    plan: _Plan
    path: Path

    def run(self) -> IndexFacts:
        """Do what is missing, publish and return the description."""
        folder = self.path.with_name(f".{self.path.name}.partial-build")
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "plan.json").is_file() or (folder / "plan.json").read_text() != self.plan.text:
            for entry in folder.iterdir():
                remove(entry)
            write_text(folder / "plan.json", self.plan.text)
        trained = folder / "trained.faiss"
        if not trained.is_file():
            _write(self._trained(), trained)
        parts = self._parts(folder, trained)
        with Output(self.path, INDEXES, overwrite=True).writing() as new:
            new.mkdir()
            self._merge(trained, parts, new)
            facts = self._measured(new)
            write_text(new / INDEX_NAME, facts.model_dump_json(indent=1) + "\n")
        remove(folder)
        return facts

    def _trained(self) -> Any:  # noqa: ANN401  # A class without types.
        """An empty index whose lists are learned from a sample."""
        library = faiss_library()
        width = self.searcher.stored.vectors[self.plan.column].width
        index = library.index_factory(width, f"IVF{self.plan.lists},SQfp16", library.METRIC_INNER_PRODUCT)
        index.cp.seed, index.cp.min_points_per_centroid, index.cp.spherical = SEED + 1, 1, True
        count = min(_SAMPLE_PER_LIST * self.plan.lists, _LARGEST_SAMPLE)
        # Another seed than that of the queries, which no list shall be learned from.
        sample = np.sort(query_rows(self.searcher.rows, count, SEED + 1))
        say(f"{self.path}: learning {self.plan.lists:,} lists from {len(sample):,} vectors")
        vectors, finite = _unit(self.searcher.vectors(sample.tolist(), self.plan.column))
        index.train(vectors[finite])
        return index

    def _parts(self, folder: Path, trained: Path) -> list[Path]:
        """Fill what parts are missing, each from whole partitions; returns the files of all."""
        library = faiss_library()
        files = []
        with progress(self.searcher.rows, f"{self.path.name}: filling lists") as bar:
            for number, blocks in enumerate(self._blocks_of_parts()):
                files.append(folder / f"part-{number:05d}.faiss")
                if files[-1].is_file():
                    bar.advance(sum(count for _, count in blocks))
                    continue
                index = library.read_index(str(trained))
                for place, count in blocks:
                    vectors = self._vectors(place, count)
                    whole, finite = _unit(vectors)
                    rows = place + np.arange(count)
                    index.add_with_ids(whole[finite], rows[finite])
                    bar.advance(count)
                _write(index, files[-1])
        return files

    def _blocks_of_parts(self) -> Iterator[list[tuple[int, int]]]:
        """The blocks of rows of each part: the first row and the number of rows."""
        rows = self.searcher.rows
        for first in range(0, rows, _PART_ROWS):
            end = min(first + _PART_ROWS, rows)
            yield [(place, min(_BLOCK_ROWS, end - place)) for place in range(first, end, _BLOCK_ROWS)]

    def _vectors(self, first: int, count: int) -> Floats:
        return self.searcher.vectors(range(first, first + count), self.plan.column)

    def _merge(self, trained: Path, parts: list[Path], new: Path) -> None:
        """Join the parts on disk: memory holds none of their vectors."""
        from faiss.contrib.ondisk import merge_ondisk

        library = faiss_library()
        index = library.read_index(str(trained))
        with quietly():
            merge_ondisk(index, [str(part) for part in parts], str(new / LISTS_NAME))
        library.write_index(index, str(new / FAISS_NAME))
        for name in (LISTS_NAME, FAISS_NAME):
            _sync(new / name)

    def _measured(self, new: Path) -> IndexFacts:
        """Choose how many lists to look at by some queries, and count by others what is then found."""
        stored, column = self.searcher.stored, self.plan.column
        drawn = query_rows(self.searcher.rows, QUERIES + TUNING_QUERIES)
        # Where there are few rows, the same queries do both.
        told = drawn[:QUERIES]
        tuning = drawn[QUERIES:] if len(drawn) > QUERIES else drawn
        say(f"{self.path}: comparing {len(told):,} queries with all vectors")
        queries = self.searcher.vectors(drawn.tolist(), column)
        usable = np.isfinite(queries).all(axis=1) & (queries != 0).any(axis=1)
        drawn, queries = drawn[usable], queries[usable]
        exact = dict(
            zip(drawn.tolist(), scan(stored, column, queries, NEIGHBOURS, without=drawn[:, None]).rows, strict=True)
        )
        vectors = dict(zip(drawn.tolist(), queries, strict=True))
        facts = IndexFacts(
            column=column,
            rows=self.searcher.rows,
            width=stored.vectors[column].width,
            identity=self.plan.identity,
            lists=self.plan.lists,
            probes=1,
            recall_at_10=0,
            queries=0,
            seed=SEED,
            wanted_recall=self.plan.recall,
        )

        def recall(rows: NDArray[np.int64], probes: int) -> float:
            index = VectorIndex(stored, facts.model_copy(update={"probes": probes}), new)
            some = [row for row in rows.tolist() if row in exact]
            asked = np.stack([vectors[row] for row in some])
            found = index.search(asked, NEIGHBOURS, np.array(some, np.int64)[:, None]).rows
            return recall_of(found, np.stack([exact[row] for row in some]))

        probes = 1
        while probes < self.plan.lists and recall(tuning, probes) < self.plan.recall:
            probes = min(2 * probes, self.plan.lists)
        asked = len([row for row in told.tolist() if row in exact])
        return facts.model_copy(update={"probes": probes, "recall_at_10": recall(told, probes), "queries": asked})


def recall_of(found: NDArray[np.int64], exact: NDArray[np.int64]) -> float:
    """The share of the rows in `exact` (n, k) that are in the same line of `found`; -1 is no row."""
    hits = sum(len(np.intersect1d(one, other[other >= 0])) for one, other in zip(found, exact, strict=True))
    return hits / max(1, int((exact >= 0).sum()))


def _unit(vectors: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Vectors of length one, and which of them are finite; a zero vector stays zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    finite = np.isfinite(length[:, 0])
    return np.ascontiguousarray(vectors / np.where(length == 0, 1, length), np.float32), finite


def _write(index: Any, file: Path) -> None:  # noqa: ANN401  # A class without types.
    """Write an index whole or not at all."""
    beside = file.with_name(f".{file.name}")
    faiss_library().write_index(index, str(beside))
    _sync(beside)
    beside.replace(file)


def _sync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


INDEXES = OutputKind(
    "an index",
    (".index",),
    lambda path: (path / INDEX_NAME).is_file(),
    ask="--force",
    parts=(INDEX_NAME, FAISS_NAME, LISTS_NAME),
)
