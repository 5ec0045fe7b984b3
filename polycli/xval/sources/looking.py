"""A look at a file of records, for `polycli inspect`: what `prepare xval` would make of it, and would decide."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from polycli.console import counted
from polycli.errors import PolycliError
from polycli.xval.data.source import Block
from polycli.xval.recipe.sources import TableSection
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.records.keypaths import TOP, child_path
from polycli.xval.records.units import unit_of
from polycli.xval.records.values import FreeText, NumberLiteral, Value
from polycli.xval.sources.json import JsonSource
from polycli.xval.sources.table import TableSource, look

#: Records that are read.
MOST_RECORDS = 10_000
#: Key paths that are listed, and texts of each.
_SHOWN, _EXAMPLES = 40, 3
_LONGEST = 24
#: Endings of files that may be tables, or no data at all.
_PERHAPS = (".txt", ".dat")


@dataclass
class _Seen:
    """The values at one key path."""

    numbers: int = 0
    low: float = math.inf
    high: float = -math.inf
    gaps: int = 0
    texts: Counter[str] = field(default_factory=Counter)
    others: int = 0

    def sentence(self, unit: str | None) -> str:
        """`number in kg, 0.5 to 9.1, 3 gaps`."""
        parts = []
        if self.numbers:
            numbers = counted(self.numbers, "number", "numbers")
            parts += [f"{numbers}{f' in {unit}' if unit else ''}, {self.low:g} to {self.high:g}"]
        if self.texts:
            shown = ", ".join(repr(text[:_LONGEST]) for text, _ in self.texts.most_common(_EXAMPLES))
            texts = counted(self.texts.total(), "text", "texts")
            parts += [f"{texts}, {len(self.texts)} different, such as {shown}"]
        if self.others:
            parts += [f"{self.others} times true or false"]
        return ", ".join([*parts, *([counted(self.gaps, "gap", "gaps")] if self.gaps else [])]) or "nothing"


class _Summary:
    """A RecordWriter that keeps a summary."""

    def __init__(self) -> None:
        self.seen: dict[str, _Seen] = {}
        self.records = 0
        self.rejected: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()

    def add(self, value: Value, *, id: str, group: str | None = None) -> None:  # noqa: A002, ARG002  # as RecordWriter
        self.records += 1
        self._walk(value, TOP)

    def reject(self, *, id: str, reason: str) -> None:  # noqa: A002, ARG002
        self.rejected[reason] += 1

    def count(self, what: str, n: int = 1) -> None:
        self.notes[what] += n

    def characters(self, n: int) -> None:
        """Ignores the count of characters, which prepare alone needs."""

    def _walk(self, value: Value, path: str) -> None:
        if isinstance(value, Mapping):
            for key, member in value.items():
                self._walk(member, child_path(path, key))
            return
        if isinstance(value, Sequence) and not isinstance(value, str):
            for member in value:
                self._walk(member, path)
            return
        seen = self.seen.setdefault(path, _Seen())
        if value is None or (isinstance(value, float) and math.isnan(value)):
            seen.gaps += 1
        elif isinstance(value, bool):
            seen.others += 1
        elif isinstance(value, int | float):
            seen.numbers += 1
            seen.low, seen.high = min(seen.low, value), max(seen.high, value)
        else:
            seen.texts[value.text if isinstance(value, FreeText | NumberLiteral) else str(value)] += 1


def look_at(path: Path) -> dict[str, object]:
    """Describes what `prepare xval` would make of a table or of JSON, by names of facts; empty where it is neither.

    The first ten thousand records are read.
    """
    try:
        return _looked_at(path)
    except PolycliError as error:
        if path.suffix.lower() in _PERHAPS:
            return {}
        hint = f"; {error.hint}" if error.hint else ""
        return {"prepare xval": f"refuses it: {error.message}{hint}"}


def _looked_at(path: Path) -> dict[str, object]:
    blocks: Sequence[Block]
    units: Mapping[str, str] = {}
    if JsonSource().accepts(path):
        source = "json"
        opened = JsonSource().open([path], PrepareRecipe(family="xval", verb="prepare"), MOST_RECORDS)
        blocks, reports = opened.blocks, list[str]()
    elif TableSource().accepts(path) or path.suffix.lower() in _PERHAPS:
        source = "table"
        blocks, about, reports = look([(path, path.name)], TableSection(numbers="optional"), MOST_RECORDS)
        units = about.units
    else:
        return {}
    summary = _Summary()
    for block in blocks:
        block.load(summary)
    first = "the first " if summary.records == MOST_RECORDS else ""
    if not any(seen.numbers for seen in summary.seen.values()):
        if path.suffix.lower() in _PERHAPS:
            return {}  # Plain text, it seems.
        if source == "table":
            reports = ["nothing in it is a number, so prepare refuses it: --set table.numbers=optional", *reports]
    records = counted(summary.records, "record", "records")
    facts: dict[str, object] = {"prepare xval": f"--source {source}, {first}{records}"}
    for key, seen in list(summary.seen.items())[:_SHOWN]:
        facts[f"at {key}"] = seen.sentence(unit_of(key, units))
    if len(summary.seen) > _SHOWN:
        facts["and"] = f"{len(summary.seen) - _SHOWN} more key paths"
    said = [*reports, *(f"{what}: {count}" for what, count in summary.notes.items())]
    said += [f"left out: {counted(count, 'record', 'records')}, {reason}" for reason, count in summary.rejected.items()]
    for number, report in enumerate(said, start=1):
        facts[f"decided {number}"] = report
    return facts
