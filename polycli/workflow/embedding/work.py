"""Embeds the units that are this process's own and that nobody has finished, one after the other.

Who does which unit follows from its number: part i of n has every n-th, and the processes of a part share those that
are missing at the start. A unit that another process has in hand is left for the end, and done only if that process has
not finished it by then; so starts that know nothing of each other share the work too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Generic

from polycli.console import progress
from polycli.engine.signals import StopRequest
from polycli.errors import SourceError, StoreError, UserError
from polycli.launch import World
from polycli.names import clean
from polycli.store.embeddings.claims import claiming, is_claimed
from polycli.store.embeddings.manifest import ROWS
from polycli.store.embeddings.plan import Plan, Unit
from polycli.store.embeddings.unit_writer import UnitWriter
from polycli.store.embeddings.units import UnitPlace
from polycli.workflow.embedding.quarantine import QUARANTINED, Quarantine, embedded
from polycli.workflow.embedding.rows import Advance, Batch, Rows, UnitBatches

if TYPE_CHECKING:
    import pyarrow as pa

#: Batches whose vectors are in memory at a time.
_BATCHES_AT_ONCE = 64


@dataclass(frozen=True)
class Share:
    """The part of the work that this process has."""

    world: World
    #: i of n, where the work is cut into parts.
    part: tuple[int, int] | None
    #: The units that were finished at the start.
    done: frozenset[int]

    def is_open(self, unit: int) -> bool:
        """Whether a unit belongs to the part, whichever of its processes does it, and was missing at the start."""
        return unit not in self.done and (self.part is None or unit % self.part[1] == self.part[0])


class Worker(Generic[Batch]):
    """Embeds the units of one process."""

    def __init__(
        self,
        place: UnitPlace,
        plan: Plan,
        data: Sequence[Rows[Batch]],
        share: Share,
        *,
        stop: StopRequest,
        most_quarantined: float,
        schemas: Mapping[str, pa.Schema],
        scratch: Path | None = None,
    ) -> None:
        """Takes the data in the order of the plan's sources, without those that are embedded already.

        `schemas` are the columns, by table, that embeddings have to which the rows are added; `scratch` is a folder of
        this machine where a unit may grow before it is copied to its place.
        """
        self._scratch = scratch
        self._schemas = schemas
        self.place, self.plan, self.data, self.share, self.stop = place, plan, data, share, stop
        self._most_quarantined = most_quarantined
        self._rows = self._quarantined = 0
        #: How many open units came before; the processes of a part take turns.
        self._turn = 0
        self._deferred: list[tuple[Rows[Batch], Unit, int]] = []
        #: Whether another process has published meanwhile, and no unit is wanted any more.
        self._is_late = False

    def run(self) -> None:
        """Embed all units of this process, until they are done or a signal asks for a stop.

        Raises:
            PolycliError: reading, embedding or writing failed, or too many rows cannot be embedded.
        """
        first_row = sum(source.rows or 0 for source in self.plan.sources[: self.plan.kept])
        for source, rows in enumerate(self.data, start=self.plan.kept):
            read = self._source(source, rows, first_row)
            if read is None:
                return
            first_row += read
        if first_row == 0:
            raise SourceError(f"{', '.join(clean(rows.name) for rows in self.data)}: there are no rows to embed")
        for rows, unit, first in self._deferred:
            if self._must_end:
                return
            if not self.place.is_done(unit.number):
                self._embed(rows, unit, rows.batches(unit), first, lambda _: None)

    def unit(self, number: int) -> int:
        """Embed one unit of a store, unless it is there; returns its rows.

        Raises:
            PolycliError: reading, embedding or writing failed, or too many rows cannot be embedded.
        """
        backwards = reversed(range(len(self.plan.sources)))
        source = next(index for index in backwards if self.plan.first_unit(index) <= number)
        unit = next(each for each in self.plan.units_of(source) if each.number == number)
        rows = self.data[source - self.plan.kept]
        if not self.place.is_done(number):
            first_row = sum(before.rows or 0 for before in self.plan.sources[:source])
            self._embed(rows, unit, rows.batches(unit), first_row, lambda _: None)
        return unit.end - unit.first

    def _source(self, source: int, rows: Rows[Batch], first_row: int) -> int | None:
        """Embed the units of one source; returns how many rows it has, None where a signal has asked for a stop."""
        known = self.place.rows_of(source, self.plan)
        if rows.take is None and known is not None and self._is_over(source, known):
            return known
        read = 0
        with self._reporting(rows, source) as advance:
            for unit, batches in rows.units(self.plan, source):
                if self._must_end:
                    return None
                if self._is_mine(unit.number):
                    if rows.take is not None and is_claimed(self.place.claims, unit.number):
                        self._deferred.append((rows, unit, first_row))
                    elif not self.place.is_done(unit.number):
                        self._embed(rows, unit, batches, first_row, advance)
                elif self.share.is_open(unit.number):
                    advance(batches.finish())
                read += batches.finish()
        if known is None:
            self.place.note_end(source, read)
        return read

    def _is_over(self, source: int, rows: int) -> bool:
        """Whether files need not be read again: all units of this part were finished at the start."""
        first = self.plan.first_unit(source)
        units = -(-rows // self.plan.sources[source].unit_rows)
        return not any(self.share.is_open(unit) for unit in range(first, first + units))

    @property
    def _must_end(self) -> bool:
        return self._is_late or bool(self.stop.signal_number)

    def _is_mine(self, unit: int) -> bool:
        if not self.share.is_open(unit):
            return False
        self._turn += 1
        return (self._turn - 1) % self.share.world.size == self.share.world.rank

    def _embed(
        self, rows: Rows[Batch], unit: Unit, batches: UnitBatches[Batch], first_row: int, advance: Advance
    ) -> None:
        """Embed one unit of a source whose first row has this index among the rows of all data."""
        aside = Quarantine()
        try:
            with claiming(self.place.claims, unit.number) as beat:
                writer = UnitWriter(self.place, unit.number, scratch=self._scratch)
                try:

                    def go_on(more: int) -> None:
                        beat()
                        advance(more)

                    self._write(writer, rows, batches, first_row + unit.first, aside=aside, advance=go_on)
                    writer.publish(rows=batches.finish(), quarantined=len(aside))
                finally:
                    writer.discard()
        except FileNotFoundError:
            if self.place.work.is_dir():
                raise
            self._is_late = True
        self._rows += batches.read
        self._quarantined += len(aside)

    def _write(
        self,
        writer: UnitWriter,
        rows: Rows[Batch],
        batches: UnitBatches[Batch],
        first_row: int,
        *,
        aside: Quarantine,
        advance: Advance,
    ) -> None:
        waiting = iter(batches)
        while some := list(islice(waiting, _BATCHES_AT_ONCE)):
            tables = embedded(rows, some, first_row, advance, aside)
            if tables is not None:
                writer.write({name: self._fitted(name, table) for name, table in tables.items()})
                first_row += len(tables[ROWS])
            self._refuse_too_many(aside, batches)
        if len(aside):
            writer.write({QUARANTINED: aside.table()})

    def _refuse_too_many(self, aside: Quarantine, batches: UnitBatches[Batch]) -> None:
        """Return unless more rows cannot be embedded than may be put aside.

        Raises:
            UserError: they are too many; the first of them is named, by the error that it met.
        """
        if aside.first is None:
            return
        known = self.plan.rows
        rows = self._rows + batches.read if known is None else known
        count = self._quarantined + len(aside)
        if count <= self._most_quarantined * rows:
            return
        raise too_many(count, rows, self._most_quarantined, aside.first)

    def _fitted(self, name: str, table: pa.Table) -> pa.Table:
        """A table with the columns of the embeddings that it is added to.

        Raises:
            StoreError: it has another column, or values that do not fit.
        """
        import pyarrow as pa

        schema = self._schemas.get(name)
        if schema is None or table.schema.equals(schema):
            return table
        other = [column for column in table.column_names if column not in schema.names]
        if other:
            raise StoreError(
                f"column {other[0]} is not in the embeddings that these rows would be added to",
                hint="embed all data together into another --output",
            )
        found = {
            field.name: table[field.name] if field.name in table.column_names else pa.nulls(len(table), field.type)
            for field in schema
        }
        for index, field in enumerate(schema):
            # HATS keeps vectors in half the bytes, which are made of those that the model gives.
            if pa.types.is_fixed_size_list(field.type) and found[field.name].type.list_size == field.type.list_size:
                schema = schema.set(index, field.with_type(found[field.name].type))
        try:
            return pa.table(found).cast(schema)
        except pa.ArrowInvalid as error:
            raise StoreError(f"the rows do not fit the embeddings that they would be added to: {error}") from error

    @contextmanager
    def _reporting(self, rows: Rows[Batch], source: int) -> Iterator[Advance]:
        """A report of progress in the rows of this part that were missing, where their number is known."""
        # Nobody knows how many a stream has.
        units = [] if rows.take is None else self.plan.units_of(source)
        count = sum(unit.end - unit.first for unit in units if self.share.is_open(unit.number))
        if not count:
            yield lambda _: None
        else:
            with progress(count, f"{rows.name}: embedding") as bar:
                yield bar.advance


def too_many(count: int, rows: int, most: float, first: UserError) -> UserError:
    """The error for more rows that cannot be embedded than the share `most` of all rows; `first` is one of them."""
    if not most or count == 1:
        return first
    return type(first)(
        f"{count:,} of {rows:,} rows cannot be embedded, more than the share {most:g}; the first: {first.message}",
        hint=f"mend the data, or allow more of them: --set max_quarantined={min(1.0, 2 * count / rows):.2g}",
    )
