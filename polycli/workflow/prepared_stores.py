"""The output of `prepare --json`, the same for all families: `{"stores": [...]}`, one entry for each store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from polycli.json_records import INLINE

#: What only one family says of a store that would be made: a record, or None.
Facts = TypeVar("Facts")


@dataclass(frozen=True, kw_only=True)
class PreparedStore:
    """A store that is there now."""

    path: Path
    name: str
    #: Whether this command has made it; else it was there, with equal content.
    new: bool
    #: How many rows there are, under what rows are called.
    rows: Mapping[str, int] = field(metadata=INLINE)
    #: Rows by split.
    splits: Mapping[str, int]
    #: How many rows were left out.
    rejected: int
    #: What only this family says: a record or a mapping.
    more: object = field(metadata=INLINE)
    store_hash: str


@dataclass(frozen=True, kw_only=True)
class PreparedStores:
    """The document of a prepare that is done."""

    stores: Sequence[PreparedStore]


@dataclass(frozen=True, kw_only=True)
class DraftedStore(Generic[Facts]):
    """A store that would be made, as far as can be told without reading everything."""

    path: Path
    name: str
    rows: int
    files: int
    #: Before compression.
    bytes: int
    #: For one process.
    seconds: float
    more: Facts


@dataclass(frozen=True, kw_only=True)
class DryRun(Generic[Facts]):
    """All stores that would be made, by so many processes."""

    workers: int
    drafts: Sequence[DraftedStore[Facts]]

    def minutes(self, draft: DraftedStore[Facts]) -> float:
        """How long the making of one store takes."""
        return draft.seconds / self.workers / 60

    def document(self, rows_are: str) -> DryRunDocument:
        """Returns the dry run as JSON has it; `rows_are` is what the rows are called."""
        stores = [
            DraftedEntry(
                name=draft.name,
                path=draft.path,
                rows={rows_are: draft.rows},
                files=draft.files,
                bytes=draft.bytes,
                minutes=self.minutes(draft),
                more={} if draft.more is None else draft.more,
            )
            for draft in self.drafts
        ]
        return DryRunDocument(
            dry_run=True,
            workers=self.workers,
            stores=stores,
            rows={rows_are: sum(draft.rows for draft in self.drafts)},
            files=sum(store.files for store in stores),
            bytes=sum(store.bytes for store in stores),
            minutes=sum(store.minutes for store in stores),
        )


@dataclass(frozen=True, kw_only=True)
class DraftedEntry:
    """The entry of a store in the document of a dry run."""

    name: str
    path: Path
    rows: Mapping[str, int] = field(metadata=INLINE)
    files: int
    #: Before compression.
    bytes: int
    #: With all processes.
    minutes: float
    more: object = field(metadata=INLINE)


@dataclass(frozen=True, kw_only=True)
class DryRunDocument:
    """The document of a dry run: the stores, and what they come to together."""

    dry_run: bool
    workers: int
    stores: Sequence[DraftedEntry]
    rows: Mapping[str, int] = field(metadata=INLINE)
    files: int
    bytes: int
    minutes: float


@dataclass(frozen=True, kw_only=True)
class StagedStore:
    """How much of a store one part has staged, under what a part counts."""

    path: Path
    staged: Mapping[str, int] = field(metadata=INLINE)


@dataclass(frozen=True, kw_only=True)
class StagedPart:
    """The document of one part of a job array."""

    #: Its index, and how many parts there are.
    part: tuple[int, int]
    staged: Mapping[str, int] = field(metadata=INLINE)
    stores: Sequence[StagedStore]


def size_of(count: int) -> str:
    """`12.3 MB` or `4.5 GB`, as sentences give sizes."""
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"


def duration_of(minutes: float) -> str:
    """`3 s`, `12 min` or `4.5 h`; an estimate deserves no more digits."""
    if minutes < 1:
        return f"{max(1, round(60 * minutes))} s"
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
