"""The plan of embeddings: which rows of which data, by which model, cut into which units of work.

It is written at the first start and holds for all that follow, whatever machine, number of processes or part they have:
a unit is a range of rows of one store or of one stream of files, and the same rows make the same unit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt

from polycli.store.embeddings.manifest import EmbeddingsHeader

#: Into about so many units few rows are cut, so that several processes have something to do.
_FEW_UNITS = 32
#: Rows of a unit that is not told otherwise. A GPU embeds them in half a minute, two cores in some minutes, and the
#: 1e8 objects of a survey make 6,000 files.
_UNIT_ROWS = 16_384
#: The same of files that are read as they come, of which nobody knows how many rows they have.
_STREAM_ROWS = 1024


class SourcePlan(BaseModel):
    """The rows of one store, or of some files, and how they are cut."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    #: A hash of what the rows are: equal where the same rows would be read.
    identity: str
    #: None where the rows come from files, and nobody knows how many before they are read.
    rows: NonNegativeInt | None
    #: Rows of a forward pass.
    batch_rows: PositiveInt
    #: Rows of a unit, a multiple of the above: no batch belongs to two units.
    unit_rows: PositiveInt

    @property
    def units(self) -> int | None:
        """The number of units, where the number of rows is known."""
        return None if self.rows is None else -(-self.rows // self.unit_rows)


@dataclass(frozen=True)
class Unit:
    """A range of rows of one source."""

    #: Among the units of all sources.
    number: int
    #: The index of its first row in its source, and of the row behind its last one.
    first: int
    end: int


class Plan(BaseModel):
    """The contents of plan.json: everything that decides the content of embeddings, and the manifest's header."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["polycli-embedding-plan"] = "polycli-embedding-plan"
    schema_version: Literal[1] = 1
    family: str
    model_hash: str
    #: By name the settings that change the content.
    settings: dict[str, Any]
    sources: tuple[SourcePlan, ...]
    #: The first so many sources are in the embeddings that this plan adds to.
    kept: NonNegativeInt = 0
    header: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides what the rows are; how they are cut into units is no part of it."""
        said = self.model_dump(mode="json", include={"family", "model_hash", "settings"})
        sources = [source.model_dump(mode="json", exclude={"unit_rows"}) for source in self.sources]
        return hashlib.sha256(json.dumps([said, sources], sort_keys=True).encode()).hexdigest()

    @property
    def manifest_header(self) -> EmbeddingsHeader:
        """The manifest's header as the first start wrote it, so that it does not depend on who publishes."""
        return EmbeddingsHeader(**self.header)

    @property
    def rows(self) -> int | None:
        """The rows that are to be embedded, where that is known."""
        counts = [source.rows for source in self.sources[self.kept :]]
        return None if None in counts else sum(count for count in counts if count is not None)

    def first_unit(self, source: int) -> int:
        """The number of a source's first unit.

        Raises:
            ValueError: a source before it has an unknown number of rows; only the last one may have.
        """
        counts = [before.units for before in self.sources[:source]]
        if None in counts:
            raise ValueError(f"{self.sources[source].name}: the data before it have an unknown number of rows")
        return sum(count for count in counts if count is not None)

    def units_of(self, source: int) -> Iterator[Unit]:
        """The units of a source whose number of rows is known, in order."""
        plan = self.sources[source]
        first = self.first_unit(source)
        rows = plan.rows or 0
        for index in range(plan.units or 0):
            begin = index * plan.unit_rows
            yield Unit(first + index, begin, min(begin + plan.unit_rows, rows))

    def other(self, other: Plan) -> str | None:
        """A sentence's part that names the first thing in which another plan differs; None where it makes the same."""
        if self.fingerprint == other.fingerprint:
            return None
        pairs: list[tuple[str, object, object]] = [
            ("family", self.family, other.family),
            ("model", self.model_hash[:12], other.model_hash[:12]),
        ]
        names = sorted({*self.settings, *other.settings})
        pairs += [(name, self.settings.get(name), other.settings.get(name)) for name in names]
        pairs.append(("data", _named(self), _named(other)))
        differing = next((pair for pair in pairs if pair[1] != pair[2]), ("data", "the same names", "other content"))
        return "{} {}, and here {}".format(*differing)


def unit_rows(rows: int | None, batch_rows: int, wanted: int | None) -> int:
    """The rows of a unit: those that are wanted or a sensible number, and always a whole number of batches."""
    if wanted is None:
        wanted = _STREAM_ROWS if rows is None else min(-(-rows // _FEW_UNITS), _UNIT_ROWS)
    return max(1, -(-wanted // batch_rows)) * batch_rows


def data_identity(*parts: object) -> str:
    """A hash of what some rows are read from, such as a store's hash and a split."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _named(plan: Plan) -> Mapping[str, int | None]:
    return {source.name: source.rows for source in plan.sources}
