"""The output of `prepare --json`, the same for all families: `{"stores": [...]}`, one entry for each store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polycli.requests import JsonDocument


@dataclass(frozen=True)
class PreparedStore:
    """A store that is there now."""

    path: Path
    name: str
    #: Whether this command has made it; else it was there, with equal content.
    new: bool
    rows: int
    #: Rows by split.
    splits: Mapping[str, int]
    #: How many rows were left out.
    rejected: int
    store_hash: str
    #: What only this family says.
    more: Mapping[str, Any] = field(default_factory=dict)

    def document(self, rows_are: str) -> JsonDocument:
        """Returns the entry as JSON has it; the number of rows stands under what rows are called."""
        return {
            "path": str(self.path),
            "name": self.name,
            "new": self.new,
            rows_are: self.rows,
            "splits": dict(self.splits),
            "rejected": self.rejected,
            **self.more,
            "store_hash": self.store_hash,
        }


@dataclass(frozen=True)
class DraftedStore:
    """A store that would be made, as far as can be told without reading everything."""

    path: Path
    name: str
    rows: int
    files: int
    #: Before compression.
    bytes: int
    #: For one process.
    seconds: float
    #: What only this family says.
    more: Mapping[str, Any] = field(default_factory=dict)

    def document(self, rows_are: str, workers: int) -> JsonDocument:
        """Returns the entry as JSON has it; the number of rows stands under what rows are called."""
        return {
            "name": self.name,
            "path": str(self.path),
            rows_are: self.rows,
            "files": self.files,
            "bytes": self.bytes,
            "minutes": self.seconds / workers / 60,
            **self.more,
        }


def dry_run_document(drafts: Sequence[DraftedStore], rows_are: str, workers: int) -> JsonDocument:
    """All stores that would be made, and what they come to together."""
    stores = [draft.document(rows_are, workers) for draft in drafts]
    totals = {key: sum(store[key] for store in stores) for key in (rows_are, "files", "bytes", "minutes")}
    return {"dry_run": True, "workers": workers, "stores": stores, **totals}


def size_of(count: int) -> str:
    """`12.3 MB` or `4.5 GB`, as sentences give sizes."""
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"


def duration_of(minutes: float) -> str:
    """`3 s`, `12 min` or `4.5 h`; an estimate deserves no more digits."""
    if minutes < 1:
        return f"{max(1, round(60 * minutes))} s"
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
