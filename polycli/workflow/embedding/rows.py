"""The rows of one store, or of some files, as `embed` sees them: batches, and how tables with vectors are made of them.

A store gives any range of its rows (`take`); files are read once from front to end (`stream`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, starmap
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.store.embeddings.parts import Tables
from polycli.store.embeddings.plan import Plan, SourcePlan, Unit, unit_rows
from polycli.store.reader import Store

#: Told how many more rows have their vectors.
Advance = Callable[[int], None]


class Cuttable(Protocol):
    """Some rows that follow each other, of which a slice is again some rows: an array, or a list of records."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Any: ...  # noqa: ANN401  # Again a batch, or what stands for one.


Batch = TypeVar("Batch", bound=Cuttable)


@dataclass(frozen=True)
class Rows(Generic[Batch]):
    """The rows of one store, or of some files, and how their vectors are made."""

    name: str
    #: A hash of what the rows are, from `data_identity`.
    identity: str
    #: Rows of a forward pass.
    batch_rows: int
    #: Makes one row for each row of some batches, which follow each other, and what further tables there are. It is
    #: also given the index of their first row among the rows of all data.
    tables: Callable[[Sequence[Batch], int, Advance], Tables]
    #: The ids of the rows of a batch, in words that a user finds them by.
    ids: Callable[[Batch], Sequence[str]]
    #: How many rows there are, where that is known before reading.
    count: int | None = None
    #: Bytes that are read for them, where that can be told.
    bytes: int | None = None
    #: Of a store: the batch of rows from the first to the one before the second; reads nothing by itself.
    take: Callable[[int, int], Batch] | None = None
    #: Of files: batches of `batch_rows` rows, the last one shorter.
    stream: Iterable[Batch] = ()

    def planned(self, wanted: int | None) -> SourcePlan:
        """Cut these rows into units of so many rows, or of a sensible number."""
        return SourcePlan(
            name=self.name,
            identity=self.identity,
            rows=self.count,
            batch_rows=self.batch_rows,
            unit_rows=unit_rows(self.count, self.batch_rows, wanted),
        )

    def units(self, plan: Plan, source: int) -> Iterator[tuple[Unit, UnitBatches[Batch]]]:
        """The units of these rows, in order, with their batches; those of files are to be read before the next unit.

        The end of the last unit of files is only known when it was read; `Unit.end` is then where it would end.
        """
        if self.take is not None:
            for unit in plan.units_of(source):
                yield unit, self.batches(unit)
            return
        number, first, per_unit = plan.first_unit(source), 0, plan.sources[source].unit_rows
        rest = iter(self.stream)
        while (batch := next(rest, None)) is not None:
            batches = UnitBatches(chain([batch], islice(rest, per_unit // self.batch_rows - 1)))
            yield Unit(number, first, first + per_unit), batches
            number, first = number + 1, first + batches.finish()

    def batches(self, unit: Unit) -> UnitBatches[Batch]:
        """The batches of a unit of a store.

        Raises:
            ValueError: these are rows of files, which are read from front to end.
        """
        if self.take is None:
            raise ValueError(f"{self.name}: files are read from front to end")
        starts = range(unit.first, unit.end, self.batch_rows)
        ranges = ((first, min(first + self.batch_rows, unit.end)) for first in starts)
        return UnitBatches(starmap(self.take, ranges), unit.end - unit.first)


@dataclass(frozen=True)
class Opened(Generic[Batch]):
    """A model and data, opened, to be embedded."""

    #: What the manifest says of them.
    header: EmbeddingsHeader
    #: The stores or files, in the order that their rows shall have.
    rows: Sequence[Rows[Batch]]


class UnitBatches(Generic[Batch]):
    """The batches of one unit, to be gone through once."""

    def __init__(self, batches: Iterator[Batch], rows: int | None = None) -> None:
        self._batches, self._rows = batches, rows
        #: How many rows have been gone through.
        self.read = 0

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            self.read += len(batch)
            yield batch

    def finish(self) -> int:
        """Returns how many rows the unit has; of files, what was not gone through is read for that."""
        if self._rows is None:
            for _ in self:
                pass
            self._rows = self.read
        return self._rows


def bytes_of(store: Store, rows: int) -> int:
    """About how many bytes are read for so many rows of a store."""
    return round(sum(entry.size for entry in store.manifest.files.values()) * rows / max(store.manifest.rows, 1))


def marks_of(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """The name, size and time of last change of files, and of all files in folders: another mark is another content."""
    files = [
        file
        for path in paths
        for file in (sorted(inside for inside in path.rglob("*") if inside.is_file()) if path.is_dir() else [path])
    ]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
