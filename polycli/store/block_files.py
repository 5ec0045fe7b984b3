"""One staged block on disk: a plain .npy file for each column, and block.json, all synced before the block is moved.

A ragged column is two files, `<column>.npy` and `<column>.offsets.npy`. No file is pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from polycli.errors import StoreError, problems_of
from polycli.requests import JsonDocument
from polycli.store.columns import Column, Ragged
from polycli.store.hashing import file_hash
from polycli.store.manifest import FileEntry
from polycli.store.staging import sync_all, sync_folder

_DESCRIPTION = "block.json"
_AGAIN = "remove this folder and run the same prepare line again"


class _Description(BaseModel):
    """The contents of block.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    rows: int
    #: Where its rows come from, for the manifest's list of what was left out.
    source: str
    #: By column: whether its rows differ in length.
    columns: dict[str, bool]
    #: What the caller noted when the block was complete.
    record: dict[str, object]
    files: dict[str, FileEntry]


class Block:
    """A finished block; its columns are memory-mapped when they are asked for."""

    def __init__(self, folder: Path, description: _Description) -> None:
        self._folder = folder
        self._description = description

    @property
    def rows(self) -> int:
        """The number of rows that it has."""
        return self._description.rows

    @property
    def source(self) -> str:
        """The origin of its rows: a file, or the name of a generator."""
        return self._description.source

    @property
    def record(self) -> JsonDocument:
        """The record that the caller kept about the block."""
        return self._description.record

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(self._description.columns)

    def column(self, name: str) -> Column:
        """One column of all its rows.

        Raises:
            StoreError: it has no such column, or a file is missing or cut short.
        """
        if name not in self._description.columns:
            raise StoreError(f"{self._folder}: the block has no column {name!r}; it has {', '.join(self.names)}")
        values = self._load(f"{name}.npy")
        ragged = self._description.columns[name]
        return Ragged(values, np.array(self._load(f"{name}.offsets.npy"))) if ragged else values

    def check(self, name: str) -> None:
        """Compare the files of a column with the hashes that they were staged with.

        Raises:
            StoreError: one is missing or altered.
        """
        for file in [file for file in self._description.files if file in (f"{name}.npy", f"{name}.offsets.npy")]:
            path = self._folder / file
            if not path.is_file() or file_hash(path) != self._description.files[file].sha256:
                raise StoreError(f"{path}: is missing or was altered after it was staged", hint=_AGAIN)

    def _load(self, file: str) -> NDArray[Any]:
        path = self._folder / file
        try:
            if path.stat().st_size != self._description.files[file].size:
                raise StoreError(f"{path}: is not of the size that it was staged with", hint=_AGAIN)
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read: {error}", hint=_AGAIN) from error
        return array


def write_block(
    folder: Path, key: str, columns: Mapping[str, Column], *, rows: int, source: str, record: JsonDocument
) -> None:
    """Write a block into `folder`, which is made, and sync it; the caller moves it into place.

    Raises:
        OSError: the disk is full or refuses the write.
    """
    folder.mkdir(parents=True)
    for name, column in columns.items():
        _save(folder / f"{name}.npy", column.values if isinstance(column, Ragged) else column)
        if isinstance(column, Ragged):
            _save(folder / f"{name}.offsets.npy", column.offsets)
    description = _Description(
        key=key,
        rows=rows,
        source=source,
        columns={name: isinstance(column, Ragged) for name, column in columns.items()},
        record=dict(record),
        files={
            path.name: FileEntry(size=path.stat().st_size, sha256=file_hash(path))
            for path in sorted(folder.glob("*.npy"))
        },
    )
    (folder / _DESCRIPTION).write_text(description.model_dump_json(), encoding="utf-8")
    sync_all([*folder.iterdir()])
    sync_folder(folder)


def read_block(folder: Path) -> Block | None:
    """The finished block at `folder`; None where there is none.

    Raises:
        StoreError: its description cannot be read, or a file has another size than it was staged with.
    """
    path = folder / _DESCRIPTION
    try:
        description = _Description.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise StoreError(f"{path}: not a description of a block: {problems_of(error)}", hint=_AGAIN) from error
    return Block(folder, description)


def _save(path: Path, values: NDArray[Any]) -> None:
    values = np.ascontiguousarray(values)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(values))
        # numpy's own way of writing does not say why a write came to an end, a full disk say.
        file.write(values.reshape(-1).view(np.uint8).data)
