"""A measurement that documentation quotes: its figures and tables, with command, date, machine and versions.

The command that measures writes it as JSON; a table in `docs/` that quotes it stands between two marks and is written
from the file, so that a figure in the documentation is never typed:

    <!-- measured: results/NAME.json -->
    <!-- end -->
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from polycli import __version__
from polycli.errors import UserError, problems_of
from polycli.report.table import Table, as_markdown

_MARKED = re.compile(r"(<!-- measured: (?P<file>[\w./-]+) -->\n)(?P<text>.*?)(<!-- end -->)", re.DOTALL)
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Machine(_Record):
    """The machine on which something was measured, without a host's name or a path."""

    processor: str
    cores: int
    accelerators: tuple[str, ...]
    system: str
    #: Processes that wanted to run, averaged over the minute before the end: above `cores`, times say little.
    load: float | None

    @classmethod
    def here(cls) -> Machine:
        """Describes this machine as it is now."""
        return cls(
            processor=_processor(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            accelerators=_accelerators(),
            system=f"{platform.system()} {platform.machine()}",
            load=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        )


class MeasuredTable(_Record):
    """A table as people read it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    labels: int = 1


class Measurement(_Record):
    """One file under `docs/results`, or `measurement.json` of a study."""

    format: Literal["polycli-measurement"] = "polycli-measurement"
    schema_version: Literal[1] = 1
    #: The line that measures it again.
    command: str
    #: YYYY-MM-DD, UTC.
    date: str
    machine: Machine
    versions: dict[str, str]
    #: The numbers, unrounded, by names that the command chooses.
    figures: dict[str, object]
    tables: tuple[MeasuredTable, ...]

    @classmethod
    def of(cls, command: str, figures: Mapping[str, Any], tables: Sequence[Table]) -> Measurement:
        """Builds the record of what was measured here and now."""
        return cls(
            command=command,
            date=datetime.now(UTC).date().isoformat(),
            machine=Machine.here(),
            versions=_versions(),
            figures=dict(figures),
            tables=tuple(
                MeasuredTable(
                    title=table.title,
                    columns=tuple(table.columns),
                    rows=tuple(map(tuple, table.rows)),
                    caption=table.caption,
                    labels=table.labels,
                )
                for table in tables
            ),
        )

    @classmethod
    def read(cls, path: Path) -> Measurement:
        """A file that has the text of one.

        Raises:
            UserError: it is absent, or no measurement.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise UserError(f"{path}: not a measurement: {problems_of(error)}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read: {error}") from error

    def text(self) -> str:
        """Returns JSON with one figure a line, so that a new measurement shows as a difference of its figures."""
        return self.model_dump_json(indent=1) + "\n"

    def markdown(self) -> str:
        """The tables, and a line that says where the figures are from."""
        machine = self.machine
        where = ", ".join([machine.processor, *machine.accelerators, f"{machine.cores} cores"])
        load = "" if machine.load is None else f" at a load of {machine.load:g}"
        versions = ", ".join(
            f"{name} {self.versions[name]}" for name in ("polycli", "python", "torch") if name in self.versions
        )
        tables = [
            as_markdown(Table(table.title, table.columns, table.rows, table.caption, table.labels))
            for table in self.tables
        ]
        # The page has headings of its own; these are of the level below.
        texts = [text.replace("## ", "### ", 1) for text in tables]
        return "\n\n".join([*texts, f"`{self.command}`, {self.date}: {where}{load}; {versions}."]) + "\n"


def fill_page(page: Path) -> str:
    """The text of a page with every marked table as its file has it; files are named from the page's folder.

    Raises:
        UserError: a file is absent, or no measurement.
    """

    def filled(found: re.Match[str]) -> str:
        return found[1] + Measurement.read(page.parent / found["file"]).markdown() + found[4]

    return _MARKED.sub(filled, page.read_text(encoding="utf-8"))


def quoted_files(page: Path) -> list[Path]:
    """The files of the marked tables of a page."""
    return [page.parent / found["file"] for found in _MARKED.finditer(page.read_text(encoding="utf-8"))]


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return (found[1] if found else platform.processor()) or "an unnamed processor"


def _accelerators() -> tuple[str, ...]:
    """Names of the GPUs, where torch was imported; it is not for a measurement of what needs none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ()
    return tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))


def _versions() -> dict[str, str]:
    """Returns the versions of polycli, of Python, and of everything that polycli requires."""
    try:
        requirements = metadata.requires("polycli") or []
    except metadata.PackageNotFoundError:
        requirements = []
    names = [_REQUIREMENT.match(line) for line in requirements if "extra ==" not in line]
    found = {"polycli": __version__, "python": platform.python_version()}
    for name in sorted(match[0] for match in names if match is not None):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
