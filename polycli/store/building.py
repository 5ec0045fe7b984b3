"""The place where a store is built beside its target, and the tree in it that becomes the store with one rename.

TARGET.partial-<fingerprint>/
    store/      the tree that becomes TARGET: arrays, zarr.json, MANIFEST.json written last
    lock        held by the one process that publishes
    ...         what the builder keeps of rows until then
"""

from __future__ import annotations

import fcntl
import json
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.errors import StoreError
from polycli.publishing import WITHOUT_LOCKS, take_lock
from polycli.store.hashing import file_hash
from polycli.store.layout import ArrayLayout
from polycli.store.manifest import MANIFEST_NAME, ArrayInfo, FileEntry, Manifest, read_manifest
from polycli.store.reader import Store, Window, open_store
from polycli.store.staging import open_for_writing, sync_folder, sync_tree, write, write_error, write_text


def is_published(target: Path, fingerprint: str) -> bool:
    """Whether `target` is a store that a build with this fingerprint has published."""
    return (target / MANIFEST_NAME).is_file() and read_manifest(target).fingerprint == fingerprint


@dataclass(frozen=True)
class BuildPlace:
    """The folder where the store `target` is built; the same fingerprint finds the same folder again."""

    target: Path
    fingerprint: str

    @property
    def work(self) -> Path:
        """The folder beside the target, on the same file system."""
        return self.target.with_name(f"{self.target.name}.partial-{self.fingerprint[:16]}")

    @property
    def tree(self) -> Path:
        """The folder that becomes the target."""
        return self.work / "store"

    def is_done(self) -> bool:
        """Whether this build has published its store."""
        return is_published(self.target, self.fingerprint)

    def refuse_other_target(self) -> None:
        """Return if nothing stands at the target, or this build's own result.

        Raises:
            StoreError: something else does.
        """
        if not self.target.exists():
            return
        if not (self.target / MANIFEST_NAME).is_file():
            raise StoreError(
                f"{self.target}: already exists, and is not a store that `prepare` made", hint="choose another output"
            )
        if not self.is_done():
            raise StoreError(
                f"{self.target}: already exists, prepared from other input or with other options",
                hint=f"choose another output, or remove it: rm -r {shlex.quote(str(self.target))}",
            )

    def clear(self) -> None:
        """Remove the place with everything in it."""
        shutil.rmtree(self.work, ignore_errors=True)

    @contextmanager
    def reserved(self, *, shared: bool = False) -> Iterator[None]:
        """Hold the right to build here: alone or, as one part of several, beside other parts.

        Raises:
            StoreError: another process has it.
            PolycliError: the disk is full or refuses a write.
        """
        try:
            lock = take_lock(self.work / "builders", shared=shared)
        except OSError as error:
            # Some network file systems have no locks; there it is the user who must not run a line twice at once.
            if error.errno not in WITHOUT_LOCKS:
                raise write_error(self.target, error) from error
            yield
            return
        if lock is None:
            raise StoreError(
                f"{self.target}: another process is preparing this store now", hint="wait until it is done"
            )
        with lock:
            yield

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Hold the right to publish: two processes that finalize at once must not move the same rows.

        Raises:
            StoreError: another process holds it.
            PolycliError: the disk is full or refuses a write.
        """
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            with (self.work / "lock").open("w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise StoreError(f"{self.target}: another process is publishing this store now") from None
                except OSError as error:
                    # Some network file systems have no locks; there it is the user who must finalize only once.
                    if error.errno not in WITHOUT_LOCKS:
                        raise
                yield
        except OSError as error:
            raise write_error(self.target, error) from error

    def seal(self, manifest: Manifest) -> None:
        """Write the manifest, check the tree as a reader would, and rename it to the target.

        Raises:
            StoreError: the tree does not read back, or something came to stand at the target.
        """
        # The files are synced already, and so are the folders that staging made.
        for folder in (self.tree, *(self.tree / label for label in manifest.arrays), *self.tree.glob("*/c")):
            sync_folder(folder)
        write_text(self.tree / MANIFEST_NAME, manifest.to_json())
        _check_readable(open_store(self.tree, family=manifest.family, verify="sizes"))
        self.refuse_other_target()
        try:
            self.tree.rename(self.target)
        except OSError as error:
            raise StoreError(f"{self.target}: cannot publish the store here: {error}") from error
        sync_folder(self.target.parent)


def write_group(tree: Path) -> None:
    """Write the zarr.json that makes a folder of arrays one zarr group."""
    write_text(tree / "zarr.json", json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}))


def create_array(tree: Path, layout: ArrayLayout, shape: tuple[int, ...]) -> ArrayInfo:
    """Write the zarr.json of one array."""
    folder = tree / layout.name
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "zarr.json", json.dumps(layout.zarr_metadata(shape), indent=1))
    return ArrayInfo(shape=shape, dtype=layout.dtype, dims=layout.dims, chunk=layout.chunk, shard=layout.shard)


def write_whole(tree: Path, label: str, values: NDArray[Any], dims: Sequence[str] | None) -> ArrayInfo:
    """Write one small array with its metadata."""
    names = tuple(dims) if dims else tuple(f"{label}_{axis}" for axis in range(values.ndim))
    layout = ArrayLayout.whole(label, names, values.shape, values.dtype.name)
    info = create_array(tree, layout, values.shape)
    if values.size:
        write(open_for_writing(tree / label, layout, values.shape), (...,), np.ascontiguousarray(values))
        sync_tree(tree / label, leaves=False)
    return info


def hash_others(tree: Path, known: Mapping[str, FileEntry]) -> dict[str, FileEntry]:
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
