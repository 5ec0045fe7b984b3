"""Builds a store beside its target, row by row, and publishes it whole with one rename.

    TARGET.partial-<fingerprint>/
        rows/<name of key>/     one finished row: <array>/c/... and staged.json, moved here by one rename
        writing/                rows that are being written; what a killed process left is of no use
        records/<name>.json     what the caller noted about a row when it was complete
        store/                  the tree that becomes TARGET

Different processes may stage different keys at the same time. Nothing here knows a family.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli import __version__
from polycli.errors import StoreError
from polycli.requests import Split
from polycli.store.hashing import combined_hash, file_hash
from polycli.store.layout import ArrayLayout
from polycli.store.manifest import (
    MANIFEST_NAME,
    SPLITS,
    ArrayInfo,
    FileEntry,
    LeftOut,
    Manifest,
    SourceFile,
    read_manifest,
)
from polycli.store.reader import Store, Window, open_store
from polycli.store.staging import (
    StagedRow,
    open_for_writing,
    sync_folder,
    sync_tree,
    write,
    write_error,
    write_piece,
    write_text,
)

__all__ = ["ArrayLayout", "StagedRow", "StoreBuilder", "is_published"]


def is_published(target: Path, fingerprint: str) -> bool:
    """Whether `target` is a store that a build with this fingerprint has published."""
    return (target / MANIFEST_NAME).is_file() and read_manifest(target).fingerprint == fingerprint


class StoreBuilder:
    """Stages rows in `TARGET.partial-<fingerprint>` and publishes them as `TARGET`.

    The same fingerprint goes on where a killed build was. Instances hold no open files and can be pickled; processes
    that stage should be spawned, not forked, because tensorstore's threads do not survive a fork.
    """

    def __init__(self, target: Path, *, fingerprint: str) -> None:
        """Prepare to build `target`.

        Raises:
            StoreError: something else than this build's own result stands at `target`.
        """
        self.target = target.absolute()
        self.fingerprint = fingerprint
        self.work = self.target.with_name(f"{self.target.name}.partial-{fingerprint[:16]}")
        self._refuse_other_target()

    def record(self, key: str) -> dict[str, Any] | None:
        """What `finish` was given for this key, in this or an earlier process; None where it is not complete."""
        try:
            document = json.loads(self._record_path(key).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        record: dict[str, Any] = document["record"]
        return record

    def stage(self, key: str, array: ArrayLayout, blocks: Iterable[NDArray[Any]]) -> StagedRow:
        """Stream one row, or a run of rows, of one array to disk; see `staging.write_piece` for blocks and errors.

        What an earlier, unfinished try left under this key and array is replaced.
        """
        writing = self.work / "writing" / f"{_folder_name(key)}.{uuid.uuid4().hex}"
        try:
            writing.mkdir(parents=True)
            staged = write_piece(writing / array.name, array, blocks)
            sync_tree(writing)
            self._adopt(key, array.name, writing / array.name, staged)
        except OSError as error:
            raise write_error(self.target, error) from error
        finally:
            shutil.rmtree(writing, ignore_errors=True)
        return staged

    def finish(self, key: str, record: Mapping[str, Any]) -> None:
        """Note that this key is complete: its arrays are staged, or it was rejected. Call it last."""
        path = self._record_path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps({"key": key, "record": dict(record)}, ensure_ascii=False))
        except OSError as error:
            raise write_error(self.target, error) from error

    def publish(
        self,
        rows: Sequence[str],
        arrays: Mapping[str, NDArray[Any]],
        *,
        family: str,
        name: str,
        row_ids: Sequence[str],
        row_splits: Sequence[Split],
        split_rule: str,
        statistics: Mapping[str, Mapping[str, Mapping[str, float]]],
        dims: Mapping[str, Sequence[str]] | None = None,
        sources: Sequence[SourceFile] = (),
        rejected: Sequence[LeftOut] = (),
        flagged: Sequence[LeftOut] = (),
        about: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Path:
        """Make the store of the staged rows, in this order, and rename it to the target; returns the target.

        `arrays` are small whole arrays, `dims` their axis names; a uint8 array `split` is added. Staged keys that are
        not in `rows` are dropped. Killed at any instant, the target is absent or whole, and a second call goes on.

        Raises:
            StoreError: another store stands at the target, a row is not staged, or rows differ in shape.
            PolycliError: the disk is full, or what was written does not read back.
        """
        if is_published(self.target, self.fingerprint):
            shutil.rmtree(self.work, ignore_errors=True)
            return self.target
        self._refuse_other_target()
        with self._publishing():
            tree = self.work / "store"
            self._take_back()
            staged = [self._staged(key) for key in rows]
            layouts, shapes = _joined_shapes(rows, staged)
            hashes = _row_hashes(staged)
            if not len(hashes) == len(row_ids) == len(row_splits):
                raise ValueError(f"{len(hashes)} rows, {len(row_ids)} ids and {len(row_splits)} splits")
            write_text(self.work / "plan.json", json.dumps(list(rows)))
            files = self._move_rows(tree, rows, staged)
            infos = {label: _create_array(tree, layouts[label], shapes[label]) for label in layouts}
            whole = {"split": np.array([SPLITS.index(split) for split in row_splits], np.uint8), **arrays}
            names = {"split": [next(iter(layouts.values())).dims[0]], **(dims or {})}
            for label, values in whole.items():
                infos[label] = _write_whole(tree, label, values, names.get(label))
            write_text(tree / "zarr.json", json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}))
            manifest = Manifest(
                family=family,
                name=name,
                version=__version__,
                fingerprint=self.fingerprint,
                rows=len(hashes),
                row_ids=tuple(row_ids),
                row_hashes=tuple(hashes),
                row_splits=tuple(row_splits),
                splits={split: list(row_splits).count(split) for split in SPLITS},
                split_rule=split_rule,
                arrays=infos,
                statistics={a: {f: dict(s) for f, s in fields.items()} for a, fields in statistics.items()},
                sources=tuple(sources),
                rejected=tuple(rejected),
                flagged=tuple(flagged),
                about=dict(about or {}),
                options=dict(options or {}),
                files=dict(sorted({**files, **_hash_others(tree, files)}.items())),
            )
            self._seal(tree, manifest)
        shutil.rmtree(self.work, ignore_errors=True)
        return self.target

    def _seal(self, tree: Path, manifest: Manifest) -> None:
        """Write the manifest, check the tree as a reader would, and rename it to the target."""
        # What lies inside the folders of staged rows was synced when they were staged.
        for folder in (tree, *(tree / label for label in manifest.arrays), *tree.glob("*/c")):
            sync_folder(folder)
        write_text(tree / MANIFEST_NAME, manifest.to_json())
        _check_readable(open_store(tree, family=manifest.family, verify="sizes"))
        try:
            tree.rename(self.target)
        except OSError as error:
            raise StoreError(f"{self.target}: cannot publish the store here: {error}") from error
        sync_folder(self.target.parent)

    def _refuse_other_target(self) -> None:
        if not self.target.exists():
            return
        if not self.target.is_dir() or not is_published(self.target, self.fingerprint):
            raise StoreError(
                f"{self.target}: already exists, prepared from other input or with other options",
                hint=f"choose another output, or remove it: rm -r {self.target}",
            )

    def _record_path(self, key: str) -> Path:
        return self.work / "records" / f"{_folder_name(key)}.json"

    def _row_folder(self, key: str) -> Path:
        return self.work / "rows" / _folder_name(key)

    def _adopt(self, key: str, label: str, finished: Path, staged: StagedRow) -> None:
        """Move a finished array of a row into place, with its description."""
        folder = self._row_folder(key)
        folder.mkdir(parents=True, exist_ok=True)
        (finished / "staged.json").write_text(staged.model_dump_json(), encoding="utf-8")
        with (finished / "staged.json").open("rb") as file:
            os.fsync(file.fileno())
        sync_folder(finished)
        if (folder / label).exists():
            (folder / label).rename(finished.with_name(f"replaced-{uuid.uuid4().hex}"))
        finished.rename(folder / label)
        sync_folder(folder)

    def _staged(self, key: str) -> dict[str, StagedRow]:
        folder = self._row_folder(key)
        staged = {
            path.parent.name: StagedRow.model_validate_json(path.read_text(encoding="utf-8"))
            for path in sorted(folder.glob("*/staged.json"))
        }
        if not staged:
            raise StoreError(f"{self.work}: row {key!r} is not staged", hint="run the same prepare line again")
        return staged

    @contextmanager
    def _publishing(self) -> Iterator[None]:
        """Hold the right to publish: two processes that finalize at once must not move the same rows."""
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            with (self.work / "lock").open("w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise StoreError(f"{self.target}: another process is publishing this store now") from None
                except OSError as error:
                    # Some network file systems have no locks; there it is the user who must finalize only once.
                    if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                        raise
                yield
        except OSError as error:
            raise write_error(self.target, error) from error

    def _move_rows(self, tree: Path, rows: Sequence[str], staged: list[dict[str, StagedRow]]) -> dict[str, FileEntry]:
        """Rename every row's shard folders to their place in the arrays; returns their files as staging hashed them."""
        files: dict[str, FileEntry] = {}
        for key, label, source, place, entries in self._moves(rows, staged):
            destination = tree / label / "c" / place
            destination.parent.mkdir(parents=True, exist_ok=True)
            (self._row_folder(key) / label / "c" / source).rename(destination)
            files.update({f"{label}/c/{place}{rest}": entry for rest, entry in entries.items()})
        return files

    def _take_back(self) -> None:
        """Undo what a publish that was killed had moved, so that every publish starts from the same state."""
        tree = self.work / "store"
        plan = self.work / "plan.json"
        if plan.exists():
            rows = json.loads(plan.read_text(encoding="utf-8"))
            for key, label, source, place, _ in self._moves(rows, [self._staged(key) for key in rows]):
                moved = tree / label / "c" / place
                if moved.exists():
                    moved.rename(self._row_folder(key) / label / "c" / source)
            plan.unlink()
        shutil.rmtree(tree, ignore_errors=True)

    def _moves(
        self, rows: Sequence[str], staged: list[dict[str, StagedRow]]
    ) -> Iterator[tuple[str, str, str, str, dict[str, FileEntry]]]:
        """(key, array, shard number in the row, shard number in the store, its files) for every folder to move."""
        first: dict[str, int] = {}
        for key, arrays in zip(rows, staged, strict=True):
            for label, piece in arrays.items():
                shards = -(-piece.shape[0] // piece.layout.shard[0])
                start = first.get(label, 0)
                for shard in range(shards):
                    prefix = f"c/{shard}"
                    entries = {
                        path[len(prefix) :]: entry
                        for path, entry in piece.files.items()
                        if path == prefix or path.startswith(f"{prefix}/")
                    }
                    yield key, label, str(shard), str(start + shard), entries
                first[label] = start + shards


def _folder_name(key: str) -> str:
    """A file name for any key."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _joined_shapes(
    rows: Sequence[str], staged: list[dict[str, StagedRow]]
) -> tuple[dict[str, ArrayLayout], dict[str, tuple[int, ...]]]:
    """Layout and shape of every staged array over all rows, which must agree but for the number of rows."""
    if not rows:
        raise StoreError("there are no rows to publish", hint="see what was rejected, and why")
    layouts = {label: piece.layout for label, piece in staged[0].items()}
    shapes = {label: (0, *piece.shape[1:]) for label, piece in staged[0].items()}
    for number, (key, arrays) in enumerate(zip(rows, staged, strict=True)):
        if arrays.keys() != layouts.keys():
            raise StoreError(f"row {key!r} has arrays {sorted(arrays)}, row {rows[0]!r} has {sorted(layouts)}")
        for label, piece in arrays.items():
            if piece.layout != layouts[label] or piece.shape[1:] != shapes[label][1:]:
                raise StoreError(
                    f"array {label!r} is {piece.shape[1:]} in row {key!r}, {shapes[label][1:]} was expected "
                    f"from row {rows[0]!r}",
                    hint="prepare rows of different shape into different stores",
                )
            if number < len(rows) - 1 and piece.shape[0] % piece.layout.shard[0]:
                raise ValueError(f"piece {key!r} has {piece.shape[0]} rows, which do not fill its shards")
            shapes[label] = (shapes[label][0] + piece.shape[0], *shapes[label][1:])
    if len({shape[0] for shape in shapes.values()}) > 1:
        raise StoreError(f"the arrays differ in their number of rows: {shapes}")
    return layouts, shapes


def _row_hashes(staged: list[dict[str, StagedRow]]) -> list[str]:
    return [
        combined_hash(list(hashes))
        for arrays in staged
        for hashes in zip(*(piece.hashes for piece in arrays.values()), strict=True)
    ]


def _create_array(tree: Path, layout: ArrayLayout, shape: tuple[int, ...]) -> ArrayInfo:
    """Write the zarr.json of one array."""
    folder = tree / layout.name
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "zarr.json", json.dumps(layout.zarr_metadata(shape), indent=1))
    return ArrayInfo(shape=shape, dtype=layout.dtype, dims=layout.dims, chunk=layout.chunk, shard=layout.shard)


def _write_whole(tree: Path, label: str, values: NDArray[Any], dims: Sequence[str] | None) -> ArrayInfo:
    """Write one small array with its metadata."""
    names = tuple(dims) if dims else tuple(f"{label}_{axis}" for axis in range(values.ndim))
    layout = ArrayLayout.whole(label, names, values.shape, values.dtype.name)
    info = _create_array(tree, layout, values.shape)
    if values.size:
        write(open_for_writing(tree / label, layout, values.shape), (...,), values)
        sync_tree(tree / label)
    return info


def _hash_others(tree: Path, known: Mapping[str, FileEntry]) -> dict[str, FileEntry]:
    """Size and hash of every file that was not hashed when it was staged."""
    paths = {path.relative_to(tree).as_posix(): path for path in tree.rglob("*") if path.is_file()}
    others = [(name, path) for name, path in paths.items() if name not in known]
    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(file_hash, (path for _, path in others)))
    return {
        name: FileEntry(size=path.stat().st_size, sha256=digest)
        for (name, path), digest in zip(others, hashes, strict=True)
    }


def _check_readable(store: Store) -> None:
    """Read both ends of every array through the reader, so that no store is published that cannot be opened."""
    for label, info in store.manifest.arrays.items():
        if 0 in info.shape:
            continue
        rows = (0, info.shape[0] - 1)
        if len(info.shape) == 1:
            store.read_rows(label, rows)
        else:
            store.read_windows(label, [Window(row, start, 1) for row in rows for start in (0, info.shape[1] - 1)])
