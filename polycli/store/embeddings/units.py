"""The units of embeddings on disk, beside their target, until all of them are there and become the target.

.NAME.partial-units/
    plan.json               what is embedded, and how it is cut into units
    units/000012/           a finished unit: unit.json, part-00012.parquet, and _TABLE/part-00012.parquet of each
                            further table; it appears whole, with one rename
    units/.000012.*/        a unit that a process is writing, or that a killed one has left
    claims/                 a file for each unit that a process has in hand
    ends/                   of files that are read as they come: how many rows they were found to have
    parts/, errors/         which parts of a job array have begun, and what ended one of them
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from polycli.errors import StoreError, problems_of
from polycli.publishing import remove
from polycli.store.embeddings.manifest import table_folder
from polycli.store.embeddings.owners import owned_name, owner_in
from polycli.store.embeddings.plan import Plan
from polycli.store.hashing import file_hash
from polycli.store.staging import sync_folder, write_text

NOTE_NAME = "unit.json"
_PLAN = "plan.json"


class UnitFile(BaseModel):
    """The note of one file of a unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int
    size: int
    sha256: str


class UnitNote(BaseModel):
    """The contents of unit.json: what the unit holds, and how long it took."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit: int
    #: Rows of the data in it, and how many of them could not be embedded.
    rows: int
    quarantined: int
    #: By name of the table, the empty name for the one of the rows.
    files: dict[str, UnitFile]
    seconds: float
    finished: float
    host: str


class UnitError(BaseModel):
    """The contents of a file in errors/."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: str
    message: str
    time: float


@dataclass(frozen=True)
class UnitPlace:
    """The folder beside the target in which its units gather."""

    target: Path

    @property
    def work(self) -> Path:
        """The folder in which everything lies until it is published."""
        return self.target.with_name(f".{self.target.name}.partial-units")

    @property
    def claims(self) -> Path:
        """The folder of the claims of units in hand."""
        return self.work / "claims"

    def folder(self, unit: int) -> Path:
        """The folder of a finished unit."""
        return self.work / "units" / f"{unit:06d}"

    def part(self, unit: int, table: str) -> Path:
        """The file of one of the tables of a unit."""
        return table_folder(self.folder(unit), table) / f"part-{unit:05d}.parquet"

    def plan(self) -> Plan | None:
        """The plan that was made at the first start; None where there was none.

        Raises:
            StoreError: it cannot be read.
        """
        path = self.work / _PLAN
        try:
            return Plan.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValidationError as error:
            raise StoreError(
                f"{path}: is no plan of embeddings: {problems_of(error)}", hint=f"rm -r {self.work}"
            ) from error

    def begin(self, plan: Plan) -> Plan:
        """Make the folder with this plan, or take the plan that is there; returns the one that holds.

        Raises:
            OSError: the system refuses it.
        """
        for name in ("units", "claims", "ends", "parts", "errors"):
            (self.work / name).mkdir(parents=True, exist_ok=True)
        if self.plan() is None:
            new = self.work / owned_name(".plan")
            write_text(new, plan.model_dump_json(indent=1))
            try:
                # Of several first starts one makes the plan: a link is refused where there is one.
                os.link(new, self.work / _PLAN)
            except FileExistsError:
                pass
            except OSError:
                new.rename(self.work / _PLAN)
            new.unlink(missing_ok=True)
            sync_folder(self.work)
        return self.plan() or plan

    def done(self) -> set[int]:
        """The numbers of all finished units."""
        try:
            return {int(path.name) for path in (self.work / "units").iterdir() if path.name.isdigit()}
        except FileNotFoundError:
            return set()

    def is_done(self, unit: int) -> bool:
        """Whether a unit is finished."""
        return self.folder(unit).is_dir()

    def note(self, unit: int) -> UnitNote:
        """The note of a finished unit.

        Raises:
            StoreError: it cannot be read.
        """
        path = self.folder(unit) / NOTE_NAME
        try:
            return UnitNote.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise StoreError(f"{path}: damaged: it is no note of a unit", hint=self._again(unit)) from error

    def check(self, unit: int) -> UnitNote:
        """Compare the files of a finished unit with its note.

        Raises:
            StoreError: one is missing, or a byte has changed.
        """
        note = self.note(unit)
        for table, entry in note.files.items():
            path = self.part(unit, table)
            if not path.is_file() or path.stat().st_size != entry.size or file_hash(path) != entry.sha256:
                raise StoreError(f"{path}: damaged: its SHA-256 is not the noted one", hint=self._again(unit))
        return note

    def discard(self, unit: int) -> None:
        """Remove a finished unit, so that it is embedded again."""
        remove(self.folder(unit))

    def rows_of(self, source: int, plan: Plan) -> int | None:
        """How many rows a source has, by the plan or because some process has read it to its end; else None."""
        if (rows := plan.sources[source].rows) is not None:
            return rows
        try:
            return int((self.work / "ends" / str(source)).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def note_end(self, source: int, rows: int) -> None:
        """Note how many rows a source was found to have."""
        with suppress(FileNotFoundError):
            write_text(self.work / "ends" / str(source), str(rows))

    def note_error(self, part: str, message: str | None) -> None:
        """Note what ended a part of the work, or, with None, that it begins again."""
        path = self.work / "errors" / part.replace("/", "-of-")
        with suppress(OSError):
            if message is None:
                path.unlink(missing_ok=True)
            else:
                write_text(path, UnitError(part=part, message=message, time=time.time()).model_dump_json())

    def first_error(self) -> UnitError | None:
        """The earliest error that ended a part of the work, of the parts that have not begun again."""
        found = [_error(path) for path in (self.work / "errors").glob("[!.]*")]
        return min((error for error in found if error is not None), key=lambda error: error.time, default=None)

    def clear(self) -> None:
        """Remove everything, with one rename first: a process that comes late finds no place to write to."""
        going = self.work.with_name(owned_name(f"{self.work.name}.cleared"))
        try:
            self.work.rename(going)
        except FileNotFoundError:
            return
        shutil.rmtree(going, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed processes of this machine have left: unfinished units, claims and cleared places."""
        cleared = self.target.parent.glob(f"{self.work.name}.cleared.*")
        for path in (*(self.work / "units").glob(".*"), *self.claims.glob("[0-9]*"), *cleared):
            owner = owner_in(path.name.removeprefix(self.work.name))
            if owner is not None and owner.is_here and not owner.lives:
                with suppress(OSError):
                    remove(path)

    def _again(self, unit: int) -> str:
        return f"rm -r {self.folder(unit)}, and run the same line again"


def _error(path: Path) -> UnitError | None:
    try:
        return UnitError.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
