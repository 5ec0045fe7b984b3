"""Embeddings: what their manifest says, wherever it lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polycli.errors import StoreError
from polycli.inspection.finding import Finding, byte_size, describe

#: The manifest of a folder, and the name under which the others carry it.
MANIFEST_NAME, METADATA_KEY = "_MANIFEST.json", "polycli"
_FORMAT = "polycli-embeddings"


def are_embeddings(manifest: object) -> bool:
    """Whether this is the manifest of embeddings."""
    return isinstance(manifest, Mapping) and manifest.get("format") == _FORMAT


def describe_embeddings(path: Path, manifest: Mapping[str, Any], *, verify: bool = False, **facts: object) -> Finding:
    """What the manifest says, and `facts` that the files themselves do.

    Raises:
        StoreError: `verify`, and a file of the folder is not what its manifest says.
    """
    files: Mapping[str, Any] = manifest.get("files") or {}
    if verify:
        _check(path, files)
    provenance = manifest.get("provenance") or manifest
    vectors: Mapping[str, Any] = manifest.get("vectors") or {}
    known = {
        "rows": manifest.get("rows"),
        "vectors": [f"{name} {entry['width']} {entry['dtype']}" for name, entry in vectors.items()],
        **facts,
        "checkpoint": provenance.get("checkpoint"),
        "of": sorted(manifest.get("store_hash") or {}),
        "options": manifest.get("options"),
        **(
            {"size": f"{byte_size(sum(entry['size'] for entry in files.values()))} in {len(files)} files"}
            if files
            else {}
        ),
        "verified": "every file has the hash that the manifest says" if verify and files else None,
    }
    family = manifest.get("family")
    return describe(path, f"embeddings of {family}" if family else "embeddings", known, dict(manifest))


def _check(path: Path, files: Mapping[str, Any]) -> None:
    from polycli.store.hashing import file_hash

    for name, entry in files.items():
        part = path / name
        if not part.is_file():
            raise StoreError(f"{part}: is missing", hint="embed again")
        if part.stat().st_size != entry["size"] or file_hash(part) != entry["sha256"]:
            raise StoreError(
                f"{part}: damaged: its content has not the hash that the manifest says", hint="embed again"
            )
