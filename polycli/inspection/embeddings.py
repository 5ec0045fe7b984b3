"""Embeddings: what their manifest says, wherever it lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polycli.inspection.finding import Finding, byte_size, describe
from polycli.store.embeddings.manifest import FORMAT


def are_embeddings(manifest: object) -> bool:
    """Whether this is the manifest of embeddings."""
    return isinstance(manifest, Mapping) and manifest.get("format") == FORMAT


def describe_embeddings(path: Path, manifest: Mapping[str, Any], **facts: object) -> Finding:
    """Describes embeddings by their manifest, and by `facts` from the files themselves."""
    files: Mapping[str, Any] = manifest.get("files") or {}
    provenance = manifest.get("provenance") or manifest
    tables: Mapping[str, Any] = manifest.get("tables") or {}
    known = {
        "rows": manifest.get("rows"),
        "vectors": _vectors(manifest),
        **{name: f"{table['rows']} rows: {', '.join(_vectors(table))}" for name, table in tables.items()},
        **facts,
        "checkpoint": provenance.get("checkpoint"),
        "of": sorted(manifest.get("store_hash") or {}) or manifest.get("data"),
        "options": manifest.get("options"),
        **(
            {"size": f"{byte_size(sum(entry['size'] for entry in files.values()))} in {len(files)} files"}
            if files and "size" not in facts
            else {}
        ),
    }
    kind = f"embeddings of {family}" if (family := manifest.get("family")) else "embeddings"
    return describe(path, f"{table} of {kind}" if (table := manifest.get("table")) else kind, known, dict(manifest))


def _vectors(table: Mapping[str, Any]) -> list[str]:
    return [f"{name} {entry['width']} {entry['dtype']}" for name, entry in (table.get("vectors") or {}).items()]
