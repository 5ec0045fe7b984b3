"""What a store says about itself: MANIFEST.json, written last, without which a store is not read."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from polycli.errors import StoreError, problems_of
from polycli.requests import Split
from polycli.store.hashing import canonical_hash

MANIFEST_NAME = "MANIFEST.json"
CHECKSUM_KEY = "manifest_sha256"
PREPARE_HINT = "make one: polycli prepare FAMILY --source NAME --input FILES --output STORE"
AGAIN_HINT = "copy the store again, or prepare it again"
SCHEMA_VERSION = 1
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
    #: Names what was asked for: a build with the same fingerprint continues, or finds itself already published.
    fingerprint: str
    rows: int
    #: Of stores of many small rows, these three are empty, and the arrays `row_id`, `row_hash` and `split` hold them.
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
        return canonical_hash({"files": {k: v.sha256 for k, v in self.files.items()}, "rows": self.row_hashes})

    def to_json(self) -> str:
        """The text of the file, which carries a checksum of itself: a flipped digit in a statistic must not pass."""
        document = self.model_dump(mode="json")
        return json.dumps({**document, CHECKSUM_KEY: canonical_hash(document)}, indent=1, ensure_ascii=False) + "\n"


def read_manifest(store: Path) -> Manifest:
    """The manifest of the store at `store`, checked by itself: nothing else of the store is looked at.

    Raises:
        StoreError: the file is absent, unreadable, altered, from a newer polycli, or names files outside the store.
    """
    path = store / MANIFEST_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{store}: not a store, there is no {MANIFEST_NAME} in it", hint=PREPARE_HINT) from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: the manifest cannot be read: {error}", hint=AGAIN_HINT) from error
    if not isinstance(document, dict) or document.get("format") != "polycli-store":
        raise StoreError(f"{path}: this is not the manifest of a polycli store", hint=PREPARE_HINT)
    found = document.get("schema_version")
    if isinstance(found, int) and found > SCHEMA_VERSION:
        raise StoreError(
            f"{store}: written by a newer polycli ({document.get('version')}): store schema version {found}, "
            f"this polycli reads up to {SCHEMA_VERSION}",
            hint="update polycli, or prepare the store again",
        )
    if document.pop(CHECKSUM_KEY, None) != canonical_hash(document):
        raise StoreError(f"{path}: the manifest was altered: its checksum does not fit its content", hint=AGAIN_HINT)
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        raise StoreError(
            f"{path}: the manifest does not fit its schema: {problems_of(error)}", hint=AGAIN_HINT
        ) from error
    _check_paths(path, manifest)
    return manifest


def _check_paths(path: Path, manifest: Manifest) -> None:
    for name in (*manifest.files, *manifest.arrays):
        parts = PurePosixPath(name).parts
        if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\\" in name or "\0" in name:
            raise StoreError(f"{path}: names {name!r}, which is not inside the store")
