"""The description of a store, MANIFEST.json: written last, and a store without it is not read."""

from __future__ import annotations

import json
import math
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from polycli.errors import StoreError, problems_of
from polycli.files.documents import read_json
from polycli.names import problem_of_name, shortened_name
from polycli.requests import Split
from polycli.store.hashing import ROW_HASH_DIGITS, canonical_hash

MANIFEST_NAME = "MANIFEST.json"
CHECKSUM_KEY = "manifest_sha256"
PREPARE_HINT = "make one: polycli prepare FAMILY --source NAME --input FILES --output STORE"
AGAIN_HINT = "copy the store again, or prepare it again"
#: 1, of earlier versions, has no hashes of parts and does not say whose the ids are.
SCHEMA_VERSION = 2
_SHORT_HASH_DIGITS = 16
#: The code of a split in a store's `split` array is its place here.
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


#: A length along an axis, and one of a chunk: zarr's libraries count in 64 bits with a sign.
Length = Annotated[int, Field(ge=0, lt=2**62)]
ChunkLength = Annotated[int, Field(ge=1, lt=2**62)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RowHash = Annotated[str, Field(pattern=rf"^[0-9a-f]{{{ROW_HASH_DIGITS}}}$")]


class ArrayInfo(_Record):
    """One array of the store; the first axis is the row axis (trajectory, record, object)."""

    shape: tuple[Length, ...]
    dtype: str
    dims: tuple[str, ...]
    chunk: tuple[ChunkLength, ...]
    shard: tuple[ChunkLength, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers once they are unpacked."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @model_validator(mode="after")
    def _check_axes(self) -> Self:
        try:
            of_numbers = np.dtype(self.dtype).kind in "biuf"
        except (TypeError, ValueError):
            of_numbers = False
        if not of_numbers:
            raise ValueError(f"dtype is {shortened_name(repr(self.dtype))}, a type of numbers was expected")
        if not len(self.shape) == len(self.dims) == len(self.chunk) == len(self.shard):
            raise ValueError(f"shape {self.shape}, dims, chunk {self.chunk} and shard {self.shard} differ in length")
        return self


class SourceFile(_Record):
    """A file that rows came from."""

    name: str
    size: Length
    sha256: str


class LeftOut(_Record):
    """A row that was rejected or flagged, and why."""

    source: str
    id: str
    reason: str


class FileEntry(_Record):
    """One file of the store, relative to it."""

    size: Length
    sha256: Sha256


class Manifest(_Record):
    """Everything a reader must know before it touches an array."""

    format: Literal["polycli-store"] = "polycli-store"
    schema_version: Literal[1, 2] = 2
    family: str
    name: str
    version: str
    #: Names what was asked for: a build with the same fingerprint continues, or finds itself already published.
    fingerprint: str
    rows: Length
    #: Of stores of many small rows, these three are empty, and the arrays `row_id`, `row_hash` and `split` hold them.
    row_ids: tuple[str, ...]
    #: Hash of the content of each row as it stands in the store, hex, 32 digits.
    row_hashes: tuple[RowHash, ...]
    row_splits: tuple[Split, ...]
    #: Whether the ids are the user's own, by which a row is known again in another store, or were made by a source.
    row_ids_given: bool = False
    splits: dict[Split, Length]
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

    @model_validator(mode="after")
    def _check_rows(self) -> Self:
        if problem := problem_of_name(self.name):
            raise ValueError(f"the store's name {shortened_name(repr(self.name))} {problem}")
        arrays = {
            "row_ids": ("row_id_offsets", (self.rows + 1,)),
            "row_hashes": ("row_hash", (self.rows, ROW_HASH_DIGITS // 2)),
            "row_splits": ("split", (self.rows,)),
        }
        for key, (array, shape) in arrays.items():
            found = len(getattr(self, key))
            if found not in (0, self.rows):
                raise ValueError(f"{key} has {found} entries, the store {self.rows} rows")
            if found == 0 and self.rows:
                self._check_array(array, shape)
        return self

    def _check_array(self, name: str, shape: tuple[int, ...]) -> None:
        if name not in self.arrays or self.arrays[name].shape != shape:
            found = self.arrays[name].shape if name in self.arrays else "missing"
            raise ValueError(f"array {name!r} is {found}, {shape} was expected from its rows")

    @property
    def store_hash(self) -> str:
        """SHA-256 over the names, sizes and hashes of all files and the row hashes: equal stores, equal hashes."""
        return canonical_hash({"files": {k: v.sha256 for k, v in self.files.items()}, "rows": self.row_hashes})

    @property
    def described(self) -> dict[str, str]:
        """A short hash of each thing that is said of the numbers, which `store_hash` leaves out: scaling, dt, units.

        A store that is prepared again with other settings may hold equal numbers that mean something else.
        """
        said = {**self.about, "statistics": self.statistics}
        return {name: canonical_hash(value)[:_SHORT_HASH_DIGITS] for name, value in sorted(said.items())}

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
        document = read_json(path, StoreError, what="the manifest", hint=AGAIN_HINT)
    except FileNotFoundError:
        raise StoreError(f"{store}: not a store, there is no {MANIFEST_NAME} in it", hint=PREPARE_HINT) from None
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
