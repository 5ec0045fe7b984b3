"""Checks that embeddings are, byte for byte, what was written: by their seals, and by the hashes in their manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polycli.errors import StoreError
from polycli.store.embeddings.manifest import FORMAT, MANIFEST_NAME, METADATA_KEY, PARQUET_SEAL_KEY, SEAL_KEY
from polycli.store.hashing import file_hash
from polycli.store.sealing import check_seal

AGAIN = "embed again"
_FIRST_SEALED_VERSION = 2


def check_embeddings(path: Path) -> bool:
    """Read all files of the embeddings at `path`, a folder, a zarr group or a Parquet file, and compare their hashes.

    Returns:
        Whether there were hashes; embeddings of earlier versions have none, and were read to their end.

    Raises:
        StoreError: a file is missing or was changed.
    """
    if path.is_file():
        return _check_parquet(path)
    place = path / MANIFEST_NAME
    if not place.is_file():
        place = path / "zarr.json"
    try:
        document = json.loads(place.read_text(encoding="utf-8"))
        manifest = document if place.name == MANIFEST_NAME else document["attributes"][METADATA_KEY]
        sealed = manifest["format"] == FORMAT and _check_seal(place, manifest, manifest.get(SEAL_KEY))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{place}: damaged: it holds no manifest that can be read", hint=AGAIN) from error
    files = manifest.get("files") or {}
    _check_files(path, files)
    if not sealed and not files:
        _read_zarr(path)
    return sealed or bool(files)


def _check_parquet(path: Path) -> bool:
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            metadata = file.metadata.metadata or {}
            manifest = json.loads(metadata.get(METADATA_KEY.encode(), b"{}"))
            seal = metadata.get(PARQUET_SEAL_KEY.encode())
            sealed = _check_seal(path, manifest, None if seal is None else seal.decode())
            if not sealed:
                for _ in file.iter_batches():
                    pass
    except (ArrowException, OSError, ValueError) as error:
        raise StoreError(f"{path}: damaged: {error}", hint=AGAIN) from error
    _check_files(path.parent, manifest.get("files") or {})
    return sealed


def _check_seal(file: Path, manifest: Mapping[str, Any], seal: str | None) -> bool:
    """Whether the file has a seal; if it has one, it holds."""
    if seal is not None:
        check_seal(file, seal, hint=AGAIN)
    elif manifest.get("schema_version", 1) >= _FIRST_SEALED_VERSION:
        raise StoreError(f"{file}: damaged: the hash of its content is not in it", hint=AGAIN)
    return seal is not None


def _check_files(folder: Path, files: Mapping[str, Any]) -> None:
    for name, entry in files.items():
        file = folder / name
        if not file.is_file():
            raise StoreError(f"{file}: is missing", hint=AGAIN)
        if file.stat().st_size != entry["size"] or file_hash(file) != entry["sha256"]:
            raise StoreError(f"{file}: damaged: its SHA-256 does not match the manifest", hint=AGAIN)


def _read_zarr(path: Path) -> None:
    import zarr

    try:
        for _, array in zarr.open_group(path, mode="r").arrays():
            array[...]
    except (OSError, ValueError, RuntimeError) as error:
        raise StoreError(f"{path}: damaged: {error}", hint=AGAIN) from error
