"""Documents of what polycli writes: equal where the content is, without times, versions and this machine's paths."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import yaml
from pyarrow import parquet
from safetensors import safe_open

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
Hide: TypeAlias = Mapping[str, str]

#: Left out of every document: time makes it vary.
TIMED = {"speed"}
#: Kept without a value: the version, and hashes and sizes of what holds it.
VERSIONED = {"version", "manifest_sha256", "model_hash"}
MANIFESTS = {"MANIFEST.json", "_MANIFEST.json"}
#: Files of which only the name counts: locks, logs with their times, figures with their library's version.
NAMED_ONLY = {"", ".html", ".png", ".txt"}


def documents_of(output: Path, name: str, hide: Hide) -> Iterator[tuple[str, Json]]:
    """Yield a name and a document for each store, table and file at or under `output`.

    The strings that `hide` names (folders of this run) are replaced wherever they stand.
    """
    others: list[Json] = []
    for path in sorted(_wholes(output)):
        label = str(path.relative_to(output)) if path != output else path.name
        if path.suffix in NAMED_ONLY and not path.is_dir():
            others.append(label)
        else:
            yield f"{name}/{label}", _folder(path, hide) if path.is_dir() else _file(path, hide)
    if others:
        yield f"{name}/other-files", others


def parsed(text: str, hide: Hide) -> Json:
    """A JSON text as a document."""
    return _plain(json.loads(text), hide)


def as_text(document: Json) -> str:
    """The text that is hashed; floats keep all their digits."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def hash_of(document: Json) -> str:
    """SHA-256 of the document's text."""
    return hashlib.sha256(as_text(document).encode()).hexdigest()


def _wholes(path: Path) -> Iterator[Path]:
    """The files under `path`, a zarr group counting as one."""
    if path.is_file() or (path / "zarr.json").is_file():
        yield path
    else:
        for child in path.iterdir():
            yield from _wholes(child)


def _folder(group: Path, hide: Hide) -> Json:
    """A zarr group, or a store, which is one: JSON by its content, chunks by their bytes."""
    files = (path for path in sorted(group.rglob("*")) if path.is_file())
    return {str(path.relative_to(group)): _file(path, hide) for path in files}


def _file(path: Path, hide: Hide) -> Json:
    match path.suffix:
        case ".json":
            document = parsed(path.read_text(encoding="utf-8"), hide)
            return _without_file_hashes(document) if path.name in MANIFESTS else document
        case ".jsonl":
            return [parsed(line, hide) for line in path.read_text(encoding="utf-8").splitlines()]
        case ".yaml":
            return _plain(yaml.safe_load(path.read_text(encoding="utf-8")), hide)
        case ".csv":
            return list[Json](path.read_text(encoding="utf-8").splitlines())
        case ".safetensors":
            return _tensors(path, hide)
        case ".parquet":
            return _table(path, hide)
        case _:
            return hashlib.sha256(path.read_bytes()).hexdigest()


def _without_file_hashes(manifest: Json) -> Json:
    """A store's manifest as it is. Other manifests name files that hold the version, so of those the names alone."""
    if not isinstance(manifest, dict) or manifest.get("format") == "polycli-store":
        return manifest
    files = manifest.get("files")
    return manifest | {"files": list[Json](sorted(files)) if isinstance(files, dict) else files}


def _tensors(path: Path, hide: Hide) -> Json:
    with safe_open(path, framework="numpy") as file:
        tensors: dict[str, Json] = {name: _array(file.get_tensor(name)) for name in sorted(file.keys())}
        return {"metadata": _plain(_read_json(file.metadata() or {}), hide), "tensors": tensors}


def _table(path: Path, hide: Hide) -> Json:
    """Types and values by column: how rows are grouped and compressed is the library's own affair."""
    table = parquet.read_table(path)
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    columns: dict[str, Json] = {
        name: {"type": str(table.schema.field(name).type), "values": _plain(column.to_pylist(), hide)}
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return {"metadata": _plain(_read_json(metadata), hide), "order": table.column_names, "columns": columns}


def _read_json(metadata: Mapping[str, str]) -> dict[str, object]:
    """Metadata whose values are texts; those that are JSON are read, so that versions in them are seen."""
    read: dict[str, object] = {}
    for key, value in metadata.items():
        try:
            read[key] = json.loads(value)
        except ValueError:
            read[key] = value
    return read


def _array(values: np.ndarray) -> Json:
    """Type, shape and hash, and the first values for whoever looks at a difference."""
    content = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    first: list[Json] = [float(value) for value in values.reshape(-1)[:4]]
    return {"dtype": str(values.dtype), "shape": [*values.shape], "sha256": content, "first": first}


def _plain(value: object, hide: Hide) -> Json:
    """`value` without times, versions and hidden folders."""
    if isinstance(value, Mapping):
        kept = {str(key): item for key, item in value.items() if key not in TIMED}
        return {_hidden(key, hide): "..." if key in VERSIONED else _plain(item, hide) for key, item in kept.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, hide) for item in value]
    if isinstance(value, bool | int | float | None):
        return value
    return _hidden(str(value), hide)


def _hidden(text: str, hide: Hide) -> str:
    for folder, name in hide.items():
        text = text.replace(folder, name)
    return text
