"""Is a directory a store, and is it whole: every file there, of its size, and, when asked, of its hash."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from polycli.errors import StoreError
from polycli.files.plain import ALWAYS_ALLOWED, kind_of, open_plain, reason_of
from polycli.store.hashing import file_hash
from polycli.store.layout import shard_files
from polycli.store.manifest import AGAIN_HINT, MANIFEST_NAME, PREPARE_HINT, ArrayInfo, Manifest

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: How many times larger than its files an array can be: blosc-lz4 packs constant numbers 255 times.
_MOST_PACKED = 300
_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray")


def refuse_what_is_no_store(path: Path) -> None:
    """Return if there is a manifest at `path`.

    Raises:
        StoreError: there is none; the sentence says what there is instead.
    """
    if path.is_dir():
        if (path / MANIFEST_NAME).is_file():
            return
        if ".partial-" in path.name:
            raise StoreError(f"{path}: an unfinished prepare", hint="run the same prepare line again to finish it")
        if any((path / name).is_file() for name in _ZARR_FILES):
            raise StoreError(
                f"{path}: a zarr that polycli did not prepare: no {MANIFEST_NAME} in it", hint=PREPARE_HINT
            )
        raise StoreError(f"{path}: not a store, there is no {MANIFEST_NAME} in it", hint=PREPARE_HINT)
    if not path.exists():
        raise StoreError(f"{path}: no such store", hint=PREPARE_HINT)
    raise StoreError(f"{path}: {_kind_of_file(path)}, not a store, which is a folder", hint=PREPARE_HINT)


def _kind_of_file(path: Path) -> str:
    try:
        if not path.is_file():
            return kind_of(path.stat().st_mode)
        with open_plain(path) as file:
            start = file.read(len(_HDF5_SIGNATURE))
    except OSError as error:
        return f"a file that cannot be read ({reason_of(error)})"
    return "an HDF5 file" if start == _HDF5_SIGNATURE else "a file"


def check_files(path: Path, manifest: Manifest, *, hashes: bool) -> None:
    """Compare the files of the store at `path` with its manifest: names and sizes always, all hashes if asked.

    The zarr.json files, which say how to decode all others, are hashed in any case.

    Raises:
        StoreError: a file is missing, a link, of another size, or altered; the first is named, all are counted.
    """
    for name, info in manifest.arrays.items():
        _refuse_too_few(path, name, info, len(manifest.files))
        for expected in shard_files(name, info.shape, info.shard):
            if expected not in manifest.files:
                raise StoreError(f"{path}: array {name!r}: the manifest lacks the chunk {expected}", hint=AGAIN_HINT)
    found = dict(_files_under(path))
    problems = []
    for name, entry in manifest.files.items():
        status = found.get(name)
        if status is None:
            problems.append(f"the chunk {name} is missing" if "/c/" in name else f"{name} is missing")
        elif not stat.S_ISREG(status.st_mode):
            problems.append(f"{name} is a link or no plain file, which no store contains")
        elif status.st_size != entry.size:
            problems.append(f"{name} has {status.st_size} bytes, {entry.size} were written")
    _raise_first(path, problems)
    for name, info in manifest.arrays.items():
        _refuse_claims(path, name, info, manifest)
    with ThreadPoolExecutor() as pool:  # hashlib lets other threads run while it hashes
        names = [name for name in manifest.files if hashes or name.endswith("zarr.json")]
        digests = pool.map(lambda name: file_hash(path / name), names)
        problems = [
            f"{name} is damaged: its hash is {digest[:12]}..., {manifest.files[name].sha256[:12]}... was written"
            for name, digest in zip(names, digests, strict=True)
            if digest != manifest.files[name].sha256
        ]
    _raise_first(path, problems)


def _refuse_too_few(path: Path, name: str, info: ArrayInfo, files: int) -> None:
    """Counted before they are listed: a shape can ask for more files than anybody could name."""
    wanted = math.prod(-(-length // part) for length, part in zip(info.shape, info.shard, strict=True))
    if wanted > files:
        raise StoreError(
            f"{path}: array {name!r} of shape {info.shape} has {wanted} chunks, the manifest names {files} files",
            hint=AGAIN_HINT,
        )


def _refuse_claims(path: Path, name: str, info: ArrayInfo, manifest: Manifest) -> None:
    """An array, and a chunk of it, can be larger than its files only as far as numbers can be packed."""
    packed = sum(entry.size for file, entry in manifest.files.items() if file.startswith(f"{name}/"))
    chunk = math.prod(info.chunk) * np.dtype(info.dtype).itemsize
    if max(info.nbytes, chunk) > max(ALWAYS_ALLOWED, _MOST_PACKED * packed):
        raise StoreError(
            f"{path}: array {name!r} of shape {info.shape} in chunks of {info.chunk} claims "
            f"{max(info.nbytes, chunk):,} bytes, in files of {packed:,}",
            hint=AGAIN_HINT,
        )


def _raise_first(path: Path, problems: list[str]) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more files)" if len(problems) > 1 else ""
        raise StoreError(f"{path}: {problems[0]}{more}", hint=AGAIN_HINT)


def _files_under(root: Path, prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Name, relative to the store, and status of everything but plain folders; links are not followed."""
    with os.scandir(root) as entries:
        for entry in entries:
            name = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from _files_under(Path(entry.path), f"{name}/")
            else:
                yield name, entry.stat(follow_symlinks=False)
