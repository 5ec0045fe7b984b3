"""Streams the frames of one row (a trajectory) to its shard files, reads them back, and says what was written.

Nothing of a row is synced while it is written: the builder does that for many rows at once, which takes a disk a small
part of the time that it takes for each. The files lie as those of a zarr array that holds this row alone, so that
publishing can rename them into place. How small rows of which a shard holds many are staged is in `blocks.py`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from polycli.errors import PolycliError, StoreError
from polycli.store.hashing import ContentHash, file_hash
from polycli.store.layout import ArrayLayout, shard_files
from polycli.store.manifest import FileEntry

#: More gain nothing on a local disk, and a network file system may mind them.
_SYNCS_AT_ONCE = 16


class StagedRow(BaseModel):
    """The result of staging one row; `shape` includes the row axis."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: tuple[int, ...]
    #: Content hash: of its values and its shape, 32 hex digits.
    hash: str
    layout: ArrayLayout
    #: Relative to the folder of the row.
    files: dict[str, FileEntry]


def write_row(folder: Path, layout: ArrayLayout, blocks: Iterable[NDArray[Any]]) -> StagedRow:
    """Write blocks of (frames, ...), in order, as shard files in `folder`/c. Memory: about three shards.

    Raises:
        StoreError: there are no blocks, or one has another shape or dtype than the layout and the first block.
        OSError: the disk is full or refuses the write.
    """
    writer = _ShardWriter(folder, layout)
    for block in blocks:
        writer.add(block)
    return writer.close()


class _ShardWriter:
    def __init__(self, folder: Path, layout: ArrayLayout) -> None:
        self._folder = folder
        self._layout = layout
        if len(layout.shard) < 2 or layout.shard[0] != 1:
            raise ValueError(f"{layout.name}: a row has shards of its own, {layout.shard} was given")
        self._shard_length = layout.shard[1]
        self._buffer: NDArray[Any] | None = None
        self._filled = 0
        self._written = 0
        self._hash = ContentHash()

    def add(self, block: NDArray[Any]) -> None:
        """Take the next block and write every shard that it fills."""
        block = self._checked(block)
        self._hash.update(block)
        while block.shape[0]:
            if self._buffer is None:
                self._buffer = np.empty((self._shard_length, *block.shape[1:]), dtype=self._layout.dtype)
            taken = block[: self._shard_length - self._filled]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            block = block[len(taken) :]
            if self._filled == self._shard_length:
                self._flush()

    def close(self) -> StagedRow:
        """Write what is left, and describe the whole row."""
        if self._buffer is None:
            raise StoreError(f"{self._folder}: array {self._layout.name!r} has no values to write")
        rest = self._buffer.shape[1:]
        if self._filled:
            self._flush()
        shape = (1, self._written, *rest)
        names = shard_files(self._layout.name, shape, self._layout.shard)
        files = [self._folder / name.removeprefix(f"{self._layout.name}/") for name in names]
        return StagedRow(
            shape=shape,
            hash=self._hash.hexdigest(),
            layout=self._layout,
            files={
                path.relative_to(self._folder).as_posix(): FileEntry(size=path.stat().st_size, sha256=file_hash(path))
                for path in files
            },
        )

    def _checked(self, block: NDArray[Any]) -> NDArray[Any]:
        dims = self._layout.dims[1:]
        fits = block.ndim == len(dims) and block.dtype == np.dtype(self._layout.dtype)
        expected = block.shape[1:] if self._buffer is None else self._buffer.shape[1:]
        if not fits or block.shape[1:] != expected:
            raise StoreError(
                f"array {self._layout.name!r}: a block is {block.dtype} {block.shape}, expected was "
                f"{self._layout.dtype} ({', '.join(dims)}) with {expected or 'any'} after the first axis"
            )
        return block

    def _flush(self) -> None:
        """Write the buffer as the next shard, and read it back."""
        assert self._buffer is not None  # noqa: S101  # for the type checker; both callers have filled it
        values = self._buffer[: self._filled]
        end = self._written + self._filled
        rest = values.shape[1:]
        array = open_for_writing(self._folder, self._layout, (1, end, *rest), synced=False)
        place = (0, slice(self._written, end))
        write(array, place, values)
        if not reads_back(array, place, values):
            raise PolycliError(f"{self._folder}: what was written reads back differently; is the disk or memory sound?")
        self._written, self._filled = end, 0


def open_for_writing(
    folder: Path, layout: ArrayLayout, shape: tuple[int, ...], *, synced: bool = True
) -> ts.TensorStore:
    """The array at `folder` with metadata taken from the layout; no zarr.json is read or written."""
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{folder.absolute()}/"},
        "metadata": layout.zarr_metadata(shape),
        # A chunk that is not there must always mean damage, so chunks of nothing but fill values are written too.
        "store_data_equal_to_fill_value": True,
        "fill_missing_data_reads": False,
        # Nothing is kept in memory that was written, so what is read back comes from the file.
        "context": {"cache_pool": {"total_bytes_limit": 0}, "file_io_sync": synced},
    }
    return ts.open(spec, open=True, assume_metadata=True).result()


def write(array: ts.TensorStore, place: tuple[Any, ...], values: NDArray[Any]) -> None:
    """Write and wait; tensorstore fsyncs the files of an array that was opened so, and reports what the system refused
    as ValueErrors.
    """
    try:
        array[place].write(values).result()
    except ValueError as error:
        raise OSError(str(error)) from error


def reads_back(array: ts.TensorStore, place: tuple[Any, ...], values: NDArray[Any]) -> bool:
    """Whether the file has these values, bit for bit, when it is read and unpacked again."""
    return np.array_equal(as_bytes(array[place].read().result()), as_bytes(values))


def write_error(target: Path, error: OSError) -> PolycliError:
    """Builds the error for a write that the system refused, on the way to the store `target`."""
    full = (errno.ENOSPC, errno.EDQUOT)
    if error.errno in full or any(os.strerror(number) in str(error) for number in full):
        return PolycliError(
            f"{target}: the disk is full",
            hint="free some space and run the same line again: finished rows are kept and nothing was published",
        )
    return PolycliError(f"{target}: cannot write: {error}", hint="finished rows are kept: run the same line again")


def sync_tree(root: Path, *, leaves: bool = True) -> None:
    """Fsync every directory under `root`, so that the names in them survive a power cut; files are synced already.

    Without `leaves`, those below the root that hold files alone are left out: tensorstore syncs them with each file.
    """
    for folder, inside, _ in os.walk(root):
        if leaves or inside or Path(folder) == root:
            sync_folder(Path(folder))


def sync_folder(folder: Path) -> None:
    """Fsync one directory, which makes the renames in it last."""
    _sync(folder)


def _sync_some(paths: Sequence[Path | str]) -> None:
    for path in paths:
        _sync(path)


def _sync(path: Path | str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_trees(roots: Iterable[Path]) -> None:
    """Fsync every file and directory in several trees: all files first, then all directories."""
    folders, files = list[str](), list[str]()
    for root in roots:
        for folder, _, names in os.walk(root):
            folders.append(folder)
            files += [os.path.join(folder, name) for name in names]  # noqa: PTH118  # Paths take longer.
    sync_all(files)
    sync_all(folders)


def sync_all(paths: Sequence[Path | str]) -> None:
    """Fsync many files or directories at once: a disk that waits for them together waits hardly longer than for one."""
    count = max(1, min(_SYNCS_AT_ONCE, len(paths)))
    with ThreadPoolExecutor(max_workers=count) as pool:
        for _ in pool.map(_sync_some, (paths[place::count] for place in range(count))):
            pass


def write_text(path: Path, text: str) -> None:
    """Write a small file so that it is there whole or not at all, and lasts."""
    write_texts(path.parent, {path.name: text})


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Write small files of one folder; each is there whole or not at all, and when this returns all last."""
    temporaries = {name: folder / f".{name}.{os.getpid()}.tmp" for name in texts}
    try:
        for name, text in texts.items():
            temporaries[name].write_text(text, encoding="utf-8")
        sync_all([*temporaries.values()])
        for name, temporary in temporaries.items():
            temporary.replace(folder / name)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
    sync_folder(folder)


def as_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of an array: by them NaNs are equal to themselves, and zeros of different sign are not."""
    return np.ascontiguousarray(values).view(np.uint8)
