"""Publishes embeddings of which all units are there: checks them, joins them, and gives the result its name."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from polycli.errors import BusyError, PolycliError, SourceError, StoreError, UserError
from polycli.outputs import Output
from polycli.publishing import holding, publish, publish_parts
from polycli.requests import JsonDocument
from polycli.store.embeddings.growing import keep_parts, write_empty_part
from polycli.store.embeddings.joining import join
from polycli.store.embeddings.kind import EMBEDDINGS, read_manifest
from polycli.store.embeddings.manifest import ROWS, EmbeddingsHeader, table_folder
from polycli.store.embeddings.parts import link, moved_rows
from polycli.store.embeddings.plan import Plan
from polycli.store.embeddings.units import UnitNote, UnitPlace
from polycli.workflow.embedding.quarantine import QUARANTINED
from polycli.workflow.embedding.work import too_many

#: Seconds that a process waits for another one that is publishing the same embeddings.
_PATIENCE_SECONDS = 600.0
_LOOK_SECONDS = 0.2
UNITS_ARE_KEPT = "finished units are kept: make room, and run the same line again"


@dataclass(frozen=True)
class Publication:
    """The destination of finished units."""

    place: UnitPlace
    plan: Plan
    output: Output
    #: By name of a table that may stand beside the rows: where it goes in Parquet.
    further: Mapping[str, Output]
    #: By name of a table its column with the index of a row of the first table.
    row_columns: Mapping[str, str]
    #: The share of the rows that may be put aside.
    most_quarantined: float

    @property
    def is_done(self) -> bool:
        """Whether embeddings of this plan stand at the target."""
        return read_manifest(self.output.path).get("plan") == self.plan.fingerprint

    @property
    def units(self) -> int | None:
        """The number of units that are to be made; None where files were not read to their end yet."""
        wanted = self._units()
        return None if wanted is None else len(wanted)

    def missing(self) -> list[int] | None:
        """The numbers of units that are not there; None where files were not read to their end yet."""
        wanted = self._units()
        return None if wanted is None else sorted(set(wanted) - self.place.done())

    def run(self) -> JsonDocument:
        """Check all units, join them and publish; returns the manifest. Another process may do it at the same time.

        Raises:
            PolycliError: a unit is damaged; it is removed, so that the same line makes it anew.
            UserError: too many rows are put aside, something has come to stand at the target, or another process holds
                it for long.
        """
        path = self.output.path
        with ExitStack() as held:
            work = _hold(path, held)
            if not self.is_done:
                new = work / "new" / path.name
                new.parent.mkdir()
                parts = work / "parts"
                parts.mkdir()
                header = self._gather(parts)
                manifest = join(parts, new, header, before=path if self.plan.kept else None)
                for output in (self.output, *self.further.values()):
                    output.refuse_what_is_there()
                if self.further:
                    names = [output.path.name for output in self.further.values()]
                    publish_parts(new.parent, path.parent, [*names, path.name], work)
                else:
                    publish(new, path, work)
            else:
                manifest = read_manifest(path)
        self.place.clear()
        return manifest

    def _units(self) -> list[int] | None:
        numbers: list[int] = []
        for source in range(self.plan.kept, len(self.plan.sources)):
            rows = self.place.rows_of(source, self.plan)
            if rows is None:
                return None
            first = self.plan.first_unit(source)
            numbers += range(first, first - (-rows // self.plan.sources[source].unit_rows))
        return numbers

    def _gather(self, parts: Path) -> EmbeddingsHeader:
        """Put the files of all units, and what was there before, into a folder; returns the header of the manifest."""
        before = keep_parts(self.output.path, parts) if self.plan.kept else {}
        quarantined = int(before.get("quarantined", 0))
        notes = {unit: self._checked(unit) for unit in self._units() or ()}
        self._refuse_too_many(notes)
        for unit, note in notes.items():
            for table in note.files:
                self._add(self.place.part(unit, table), parts, table, quarantined)
            quarantined += note.quarantined
        if not any(table_folder(parts, ROWS).glob("part-*.parquet")):
            if not self.plan.kept:
                raise SourceError(f"{self.output.path}: of no row could a vector be made; every one is put aside")
            write_empty_part(self.output.path, table_folder(parts, ROWS) / "part-00000.parquet")
        sources = [
            {**source.model_dump(mode="json"), "rows": self.place.rows_of(index, self.plan)}
            for index, source in enumerate(self.plan.sources)
        ]
        return replace(
            self.plan.manifest_header,
            plan=self.plan.fingerprint,
            settings=self.plan.settings,
            sources=sources,
            quarantined=quarantined,
        )

    def _refuse_too_many(self, notes: Mapping[int, UnitNote]) -> None:
        """Return unless all processes together have put more rows aside than may be; each has counted its own alone.

        Raises:
            UserError: they have; the units are kept.
        """
        from pyarrow import parquet

        count, rows = (sum(getattr(note, name) for note in notes.values()) for name in ("quarantined", "rows"))
        if count <= self.most_quarantined * rows:
            return
        first = next(unit for unit, note in notes.items() if note.quarantined)
        reason = parquet.read_table(self.place.part(first, QUARANTINED))["reason"][0].as_py()
        raise too_many(count, rows, self.most_quarantined, UserError(reason))

    def _checked(self, unit: int) -> UnitNote:
        try:
            return self.place.check(unit)
        except StoreError as error:
            self.place.discard(unit)
            raise PolycliError(
                error.message, hint="it is removed: run the same line again, which makes this unit anew"
            ) from error

    def _add(self, file: Path, parts: Path, table: str, quarantined: int) -> None:
        """Put a file of a unit among the parts, with rows that count without those that were put aside before it."""
        target = table_folder(parts, table) / file.name
        if quarantined and table in self.row_columns:
            target.parent.mkdir(exist_ok=True)
            moved_rows(file, target, self.row_columns[table], -quarantined)
        else:
            link(file, target)


def _hold(path: Path, held: ExitStack) -> Path:
    """Hold the place beside the target, once no other process holds it; returns the folder to work in.

    Raises:
        BusyError: another process holds it for long.
        PolycliError: the disk is full or refuses a write.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return held.enter_context(holding(path, what=EMBEDDINGS.what, hint=UNITS_ARE_KEPT))
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_SECONDS)
