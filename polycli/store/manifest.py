"""What a store says about itself: MANIFEST.json, written last, without which a store is not read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

MANIFEST_NAME = "MANIFEST.json"
SCHEMA_VERSION = 1
Split = Literal["train", "validation", "test"]
#: The code of a split in a store's `split` array is its place here.
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArrayInfo(_Record):
    """One array of the store; the first axis is the row axis (trajectory, record, object)."""

    shape: tuple[int, ...]
    dtype: str
    dims: tuple[str, ...]
    chunk: tuple[int, ...]
    shard: tuple[int, ...]


class SourceFile(_Record):
    """A file that rows came from."""

    name: str
    size: int
    sha256: str


class LeftOut(_Record):
    """A row that was rejected or flagged, and why."""

    source: str
    id: str
    reason: str


class FileEntry(_Record):
    """One file of the store, relative to it."""

    size: int
    sha256: str


class Manifest(_Record):
    """Everything a reader must know before it touches an array."""

    format: Literal["polycli-store"] = "polycli-store"
    schema_version: Literal[1] = 1
    family: str
    name: str
    version: str
    rows: int
    row_ids: tuple[str, ...]
    #: Hash of the content of each row as it stands in the store, hex, 32 digits.
    row_hashes: tuple[str, ...]
    row_splits: tuple[Split, ...]
    splits: dict[Split, int]
    split_rule: str
    arrays: dict[str, ArrayInfo]
    #: By array, field and statistic (mean, std, rms, ...), in float64, from the training split alone.
    statistics: dict[str, dict[str, dict[str, float]]]
    sources: tuple[SourceFile, ...]
    rejected: tuple[LeftOut, ...]
    flagged: tuple[LeftOut, ...]
    #: What the family adds; validated by the family.
    about: dict[str, Any]
    #: What was asked of prepare: limits, strides, options of the source.
    options: dict[str, Any]
    files: dict[str, FileEntry]

    @property
    def store_hash(self) -> str:
        """SHA-256 over the names, sizes and hashes of all files and the row hashes: equal stores, equal hashes."""
        from polycli.store.hashing import canonical_hash

        return canonical_hash({"files": {k: v.sha256 for k, v in self.files.items()}, "rows": self.row_hashes})
