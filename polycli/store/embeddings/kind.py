"""Recognises embeddings among the outputs, by their endings and their manifests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from polycli.outputs import OutputKind
from polycli.store.embeddings.hats_layout import COLLECTION_FILES
from polycli.store.embeddings.manifest import FORMAT, MANIFEST_NAME, METADATA_KEY


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a folder, a zarr group or a Parquet file; empty where there is none that can be read.

    Example:
        >>> found = read_manifest(Path("galaxies.parquet"))
        >>> found["rows"], found["vectors"]
        (4, {'vector': {'width': 16, 'dtype': 'float32'}})
    """
    try:
        found = _manifest(path)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) and found.get("format") == FORMAT else {}


def _manifest(path: Path) -> object:
    if path.is_file():
        from pyarrow import parquet

        return json.loads((parquet.read_schema(path).metadata or {})[METADATA_KEY.encode()])
    if (path / MANIFEST_NAME).is_file():
        return json.loads((path / MANIFEST_NAME).read_text(encoding="utf-8"))
    attributes = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]
    # Before schema version 2, xVal's groups had it among their attributes.
    return attributes.get(METADATA_KEY, attributes)


EMBEDDINGS = OutputKind(
    "embeddings",
    ("", ".parquet", ".zarr", ".hats"),
    lambda path: bool(read_manifest(path)),
    parts=COLLECTION_FILES,
)
