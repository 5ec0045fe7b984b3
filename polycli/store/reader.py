"""Opens stores, checks that they are whole, and reads windows of rows with many reads in flight."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from polycli.errors import StoreError
from polycli.paths import plain_path
from polycli.requests import Split
from polycli.store.columns import Ragged, offsets_of
from polycli.store.hashing import hashes_of
from polycli.store.manifest import AGAIN_HINT, MANIFEST_NAME, SPLITS, ArrayInfo, Manifest, read_manifest
from polycli.store.verify import check_files, refuse_what_is_no_store

Verify = Literal["auto", "full", "sizes"]
#: `verify="auto"` hashes every file of stores up to this size.
AUTO_VERIFY_BYTES = 8 * 2**30
#: Windows are drawn at random from far more data than memory holds, so a cache would only cost.
CONTEXT: dict[str, object] = {"cache_pool": {"total_bytes_limit": 0}}
#: Ragged arrays up to this size are read once and kept by each process.
KEPT_BYTES = 64 * 2**20
#: What tensorstore raises for metadata and chunks that it cannot make sense of, or that claim what no memory holds.
_UNREADABLE = (
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)
#: Single numbers so many rows apart are read at once: what lies between them costs less than another read.
NEAR_ROWS = 1024
_SHARD_IN_MESSAGE = re.compile(r'local file "([^"]+)"')


class Window(NamedTuple):
    """`length` frames of one row from `start` on, every `stride`-th."""

    row: int
    start: int
    length: int
    stride: int = 1

    @property
    def last(self) -> int:
        """The number of the last frame."""
        return self.start + (self.length - 1) * self.stride

    @property
    def frames(self) -> slice:
        """The frames as a slice of the row."""
        return slice(self.start, self.last + 1, self.stride)


class Store:
    """An opened store. Thread-safe; arrays open on first use; pickling carries path, manifest and name alone.

    Processes that read should be spawned, not forked: tensorstore's threads do not survive a fork.
    """

    def __init__(self, path: Path, manifest: Manifest, *, name: str | None = None) -> None:
        self.path = path
        self.manifest = manifest
        #: What the dataset is called: the manifest's name, unless stores of one name had to be told apart.
        self.name = manifest.name if name is None else name
        self._arrays: dict[str, ts.TensorStore] = {}
        self._kept: dict[str, NDArray[Any]] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "manifest": self.manifest, "name": self.name}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # a fresh, unopened store

    def __repr__(self) -> str:
        return f"Store({self.name!r}, {self.manifest.rows} rows, {str(self.path)!r})"

    def named(self, name: str) -> Store:
        """The same store, called by another name."""
        return self if name == self.name else Store(self.path, self.manifest, name=name)

    def rows(self, split: Split | None = None) -> NDArray[np.int64]:
        """Numbers of all rows, or of those of a split.

        A store too small to have validation rows of its own (the manifest's `split_rule` says so) lends its test rows.
        """
        if split is None:
            return np.arange(self.manifest.rows, dtype=np.int64)
        if split == "validation" and not self.manifest.splits.get(split):
            split = "test"
        if self.manifest.row_splits:
            return np.flatnonzero(np.array(self.manifest.row_splits) == split).astype(np.int64)
        return np.flatnonzero(self._keep("split") == SPLITS.index(split)).astype(np.int64)

    def split_names(self, rows: Sequence[int] | NDArray[np.int64]) -> list[str]:
        """The splits that rows are in."""
        if self.manifest.row_splits:
            return [self.manifest.row_splits[row] for row in rows]
        return [SPLITS[number] for number in self._keep("split")[np.asarray(rows, dtype=np.int64)]]

    def row_ids(self, rows: Sequence[int] | NDArray[np.int64] | None = None) -> list[str]:
        """The ids of all rows, or of some."""
        if not self.manifest.row_ids:
            return self.read_strings("row_id", rows)
        return [self.manifest.row_ids[row] for row in (range(self.manifest.rows) if rows is None else rows)]

    def row_hashes(self) -> NDArray[np.uint8]:
        """The content hash of every row, (rows, 16) bytes."""
        return hashes_of(self.manifest.row_hashes) if self.manifest.row_hashes else self._keep("row_hash")

    def read(self, array: str) -> NDArray[Any]:
        """The whole of a small array."""
        opened = self._open(array)
        values = np.empty(opened.shape, dtype=opened.dtype.numpy_dtype)
        self._fill(array, [opened], [values], None)
        return values

    def read_rows(
        self, array: str, rows: Sequence[int] | NDArray[np.int64], out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Whole rows as one array, (row, ...), all read at once; errors as for `read_windows`."""
        opened = self._open(array)
        total, *rest = opened.shape
        wrong = [row for row in rows if not 0 <= row < total]
        if wrong:
            raise ValueError(f"{self.path}: array {array!r} has rows 0 to {total - 1}, {wrong} were asked for")
        out = _destination(out, (len(rows), *rest), opened)
        if rest:
            self._fill(array, [opened[int(row)] for row in rows], _places(out), None)
        else:
            self._fill_values(array, opened, np.asarray(rows, dtype=np.int64), out)
        return out

    def read_ragged(self, array: str, rows: Sequence[int] | NDArray[np.int64] | None = None) -> Ragged:
        """Rows of different length, all or some in the order asked for, all read at once; errors as `read_rows`.

        The offsets of the array are read once and kept: 8 bytes a row. So is all of a small array, as short rows in a
        random order cost far more to find on disk than to copy.
        """
        offsets = self._checked_offsets(array)
        if rows is None:
            return Ragged(self.read(array), offsets)
        numbers = np.asarray(rows, dtype=np.int64).reshape(-1)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(offsets) - 1:
            raise ValueError(f"{self.path}: array {array!r} has rows 0 to {len(offsets) - 2}, {rows} were asked for")
        lengths = offsets[numbers + 1] - offsets[numbers]
        found = offsets_of(lengths)
        opened = self._open(array)
        if opened.size * opened.dtype.numpy_dtype.itemsize <= KEPT_BYTES:
            source = np.repeat(offsets[numbers] - found[:-1], lengths) + np.arange(found[-1])
            return Ragged(self._keep(array)[source], found)
        values = np.empty((int(found[-1]), *opened.shape[1:]), dtype=opened.dtype.numpy_dtype)
        # Rows that follow each other in the store are one read.
        breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
        views, places = [], []
        for first, last in zip([0, *breaks], [*breaks, len(numbers)], strict=True):
            start, end = int(found[first]), int(found[last])
            if end > start:
                begin = int(offsets[numbers[first]])
                views.append(opened[begin : begin + end - start])
                places.append(values[start:end])
        self._fill(array, views, places, None)
        return Ragged(values, found)

    def read_strings(self, array: str, rows: Sequence[int] | NDArray[np.int64] | None = None) -> list[str]:
        """Texts, which are stored as rows of UTF-8 bytes; all or some."""
        return self.read_ragged(array, rows).strings()

    def read_windows(self, array: str, windows: Sequence[Window], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The windows as one array, (window, frame, ...), all read at once; straight into `out` where it is given.

        Raises:
            ValueError: the windows differ in length, reach outside the array, or do not fit `out`.
            StoreError: a chunk is missing or damaged; the message names the array and the shard file.
        """
        opened = self._open(array)
        out = _destination(out, self._checked_shape(array, windows), opened)
        self._fill(array, [opened[window.row, window.frames] for window in windows], _places(out), windows)
        return out

    def _checked_shape(self, array: str, windows: Sequence[Window]) -> tuple[int, ...]:
        """Shape of the batch, after a look at every window."""
        rows, frames, *rest = self.manifest.arrays[array].shape
        length = windows[0].length if windows else 0
        for window in windows:
            if window.length != length or window.length < 1 or window.stride < 1:
                raise ValueError(f"{window}: all windows of one read are of one positive length, here {length}")
            if not 0 <= window.row < rows or window.start < 0 or window.last >= frames:
                raise ValueError(f"{self.path}: {window} reaches outside array {array!r} of shape {(rows, frames)}")
        return (len(windows), length, *rest)

    def _keep(self, array: str) -> NDArray[Any]:
        """The whole of an array that every later read needs; read-only."""
        with self._lock:
            kept = self._kept.get(array)
        if kept is None:
            kept = self.read(array)
            kept.flags.writeable = False
            with self._lock:
                self._kept[array] = kept
        return kept

    def _checked_offsets(self, array: str) -> NDArray[Any]:
        """Returns the offsets of a ragged array's rows, which are checked before anything is cut by them."""
        name = f"{array}_offsets"
        known = name in self._kept
        offsets = self._keep(name)
        if known:
            return offsets
        length = self._open(array).shape[0]
        sound = offsets.shape == (self.manifest.rows + 1,) and offsets.dtype.kind in "iu"
        if not sound or offsets[0] != 0 or offsets[-1] != length or (np.diff(offsets.astype(np.int64)) < 0).any():
            del self._kept[name]
            raise StoreError(
                f"{self.path}: array {name!r} does not cut {length} values of {array!r} into {self.manifest.rows} rows",
                hint=AGAIN_HINT,
            )
        return offsets

    def _open(self, array: str) -> ts.TensorStore:
        with self._lock:
            if array not in self._arrays:
                self._arrays[array] = self._opened(array)
            return self._arrays[array]

    def _opened(self, array: str) -> ts.TensorStore:
        if array not in self.manifest.arrays:
            raise StoreError(f"{self.path}: has no array {array!r}; there are {', '.join(self.manifest.arrays)}")
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": f"{(self.path / array).absolute()}/"},
            # Without this a missing chunk reads as the fill value.
            "fill_missing_data_reads": False,
            "context": CONTEXT,
        }
        try:
            opened = ts.open(spec, read=True, open=True).result()
        except _UNREADABLE as error:
            raise self._damage(array, error, None) from error
        info = self.manifest.arrays[array]
        layout = opened.chunk_layout
        found = (opened.dtype.name, tuple(opened.shape), layout.read_chunk.shape, layout.write_chunk.shape)
        if found != (info.dtype, info.shape, info.chunk, info.shard):
            raise StoreError(
                f"{self.path}: array {array!r} is {found[0]} {found[1]} in chunks of {found[2]} and shards of "
                f"{found[3]}, its manifest says {info.dtype} {info.shape}, {info.chunk} and {info.shard}",
                hint=AGAIN_HINT,
            )
        return opened

    def _fill_values(self, array: str, opened: ts.TensorStore, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read single numbers: a read for each stretch of rows that lie near each other, not for each row."""
        order, where = np.unique(rows, return_inverse=True)
        breaks = np.flatnonzero(np.diff(order) > NEAR_ROWS) + 1
        stretches = [part for part in np.split(order, breaks) if len(part)]
        found = [np.empty(int(part[-1] - part[0]) + 1, dtype=out.dtype) for part in stretches]
        self._fill(array, [opened[int(part[0]) : int(part[-1]) + 1] for part in stretches], found, None)
        if stretches:
            wanted = [values[part - part[0]] for part, values in zip(stretches, found, strict=True)]
            out[:] = np.concatenate(wanted)[where]

    def _fill(
        self,
        array: str,
        views: Sequence[ts.TensorStore],
        places: Sequence[NDArray[Any]],
        windows: Sequence[Window] | None,
    ) -> None:
        """Read every view into its place, all at once; `windows` are what the views show, where they are windows."""
        # Chunks are decoded straight into place: a read into an array of its own costs twice the processor time.
        futures = [
            ts.array(place).write(view.translate_to[0] if view.rank else view)
            for view, place in zip(views, places, strict=True)
        ]
        failure: StoreError | None = None
        # Every read is waited for, so that none still writes into the caller's memory when an error is raised.
        for number, future in enumerate(futures):
            try:
                future.result()
            except _UNREADABLE as error:
                failure = failure or self._damage(array, error, windows[number] if windows else None)
        if failure is not None:
            raise failure

    def _damage(self, array: str, error: Exception, window: Window | None) -> StoreError:
        """The sentence for a read that failed, with the shard file that it concerns."""
        text = str(error) or type(error).__name__
        found = _SHARD_IN_MESSAGE.search(text)
        root = f"{self.path.absolute()}{os.sep}"
        if found:
            shard = found.group(1).removeprefix(root)
        else:
            shard = ", ".join(_shards_of(array, self.manifest.arrays[array], window)) if window else f"{array}/c/..."
        state = "is missing" if text.startswith("NOT_FOUND") else "is damaged"
        return StoreError(
            f"{self.path}: array {array!r}: {shard} {state}: {text.rsplit(': ', 1)[-1]}",
            hint=AGAIN_HINT,
        )


def _destination(out: NDArray[Any] | None, shape: tuple[int, ...], array: ts.TensorStore) -> NDArray[Any]:
    """`out` if it fits, or a new array."""
    dtype = array.dtype.numpy_dtype
    if out is None:
        return np.empty(shape, dtype=dtype)
    if out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        raise ValueError(f"out is {out.dtype} {out.shape}, a writeable {dtype} {shape} is needed")
    return out


def _places(out: NDArray[Any]) -> list[NDArray[Any]]:
    """Views of the entries along the first axis, arrays even where they are single numbers."""
    return [out[number, ...] for number in range(len(out))]


def _shards_of(array: str, info: ArrayInfo, window: Window) -> list[str]:
    """Folders of the shards that a window touches."""
    shards = range(window.start // info.shard[1], window.last // info.shard[1] + 1)
    return [f"{array}/c/{window.row // info.shard[0]}/{shard}" for shard in shards]


def open_store(path: Path, *, family: str | None = None, verify: Verify = "sizes") -> Store:
    """Open the store at `path` after checking that it is whole.

    `verify`: `sizes` looks at the presence and size of every file, `full` also hashes them, `auto` is `full` for
    stores up to 8 GiB. Whatever is chosen, every chunk that is read later is checked against its own checksum.

    Raises:
        StoreError: not a store, of another family, from a newer polycli, or a file is missing or damaged (named).
    """
    path = plain_path(path)
    refuse_what_is_no_store(path)
    manifest = read_manifest(path)
    if family is not None and manifest.family != family:
        raise StoreError(
            f"{path}: a store of the family {manifest.family}, {family} was expected",
            hint=f"make one: polycli prepare {family} --source NAME --input FILES --output STORE",
        )
    total = sum(entry.size for entry in manifest.files.values())
    try:
        check_files(path, manifest, hashes=verify == "full" or (verify == "auto" and total <= AUTO_VERIFY_BYTES))
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error}", hint=AGAIN_HINT) from error
    return Store(path, manifest)


def find_stores(paths: Sequence[Path], *, family: str) -> list[Path]:
    """The stores that `paths` name, each once: a path is a store, or a folder with stores of this family in it.

    Raises:
        StoreError: a path is neither, or there are no paths.
    """
    hint = f"make one: polycli prepare {family} --source NAME --input FILES --output STORES"
    if not paths:
        raise StoreError("no data was given", hint=hint)
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir() and not (path / MANIFEST_NAME).is_file():
            manifests = sorted(path.glob(f"*/{MANIFEST_NAME}"))
            inside = [file.parent for file in manifests if ".partial-" not in file.parent.name]
            inside = [store for store in inside if read_manifest(store).family == family]
            if inside:
                found.update(dict.fromkeys(inside))
                continue
            if not any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray")):
                raise StoreError(f"{path}: holds no {family} store", hint=hint)
        refuse_what_is_no_store(path)
        found.setdefault(path)
    return list(found)
