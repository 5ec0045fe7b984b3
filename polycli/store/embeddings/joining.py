"""Joins the parts of all units into what users read: a folder of Parquet, Parquet files, a zarr group, or HATS."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from polycli.requests import JsonDocument
from polycli.store.embeddings.manifest import (
    MANIFEST_NAME,
    METADATA_KEY,
    PARQUET_SEAL_KEY,
    ROWS,
    SEAL_KEY,
    EmbeddingsHeader,
    TableFacts,
    manifest,
    table_file,
    vectors_of,
)
from polycli.store.embeddings.parts import (
    blocks_of,
    parquet_writer,
    parts_of,
    row_count,
    schema_of,
    tables_in,
)
from polycli.store.embeddings.zarr_form import fill_group, zarr_group
from polycli.store.hashing import file_hash
from polycli.store.sealing import entries_of, new_seal, seal
from polycli.store.staging import sync_tree, write_text

#: Rows of a row group in single Parquet files.
_GROUP_ROWS = 8192


def join(folder: Path, new: Path, header: EmbeddingsHeader, *, before: Path | None = None) -> JsonDocument:
    """Make of the parts in `folder` the embeddings `new`, whose suffix says the form; returns the manifest.

    `before` is a HATS collection of which the new one shall hold the rows too; other forms have them in `folder`. The
    tables beside the rows of single Parquet files come beside `new`. The parts are gone or changed afterwards.
    """
    tables = {name: parts_of(folder, name) for name in tables_in(folder)}
    if new.suffix == ".hats":
        from polycli.store.embeddings.hats_form import as_hats

        document = as_hats(new, header, tables, _facts(tables), before)
    else:
        form = {".parquet": _as_files, ".zarr": _as_zarr}.get(new.suffix, _as_folder)
        document = form(folder, new, header, tables)
    sync_tree(new.parent)
    return document


def _as_folder(folder: Path, new: Path, header: EmbeddingsHeader, tables: Mapping[str, Sequence[Path]]) -> JsonDocument:
    """The parts stay as they are, and a manifest with their hashes comes beside them."""
    files = {part.relative_to(folder).as_posix(): _entry(part) for parts in tables.values() for part in parts}
    document = manifest(header, _facts(tables), files)
    token = new_seal()
    write_text(folder / MANIFEST_NAME, json.dumps({**document, SEAL_KEY: token}, indent=1) + "\n")
    seal(folder / MANIFEST_NAME, token)
    folder.rename(new)
    return document


def _as_files(_: Path, new: Path, header: EmbeddingsHeader, tables: Mapping[str, Sequence[Path]]) -> JsonDocument:
    """One file for each table. That of the rows comes last, as its manifest has the others' hashes."""
    facts = _facts(tables)
    files: dict[str, JsonDocument] = {}
    for name in sorted(set(tables) - {ROWS}):
        file = table_file(new, name)
        _write_file(file, tables[name], {**manifest(header, facts), "table": name})
        files[file.name] = _entry(file)
    document = manifest(header, facts, files)
    _write_file(new, tables[ROWS], document)
    return document


def _write_file(file: Path, parts: Sequence[Path], document: JsonDocument) -> None:
    schema = schema_of(parts)
    token = new_seal()
    with parquet_writer(file, schema.with_metadata({METADATA_KEY: json.dumps(document)})) as writer:
        for table in blocks_of(parts, _GROUP_ROWS):
            writer.write_table(table.replace_schema_metadata(writer.schema.metadata))
        # Into the footer alone: what the schema holds is kept a second time, packed, where no seal could be put.
        writer.add_key_value_metadata({PARQUET_SEAL_KEY: token})
    seal(file, token)


def _as_zarr(_: Path, new: Path, header: EmbeddingsHeader, tables: Mapping[str, Sequence[Path]]) -> JsonDocument:
    """A group; the tables beside the rows are groups in it."""
    facts = _facts(tables)
    root = zarr_group(new)
    for name, parts in tables.items():
        group = root if name == ROWS else root.create_group(name)
        fill_group(group, parts, facts[name].rows, taken=[*tables] if name == ROWS else ())
    files = {name: entry.model_dump() for name, entry in entries_of(new, without=new / "zarr.json").items()}
    document, token = manifest(header, facts, files), new_seal()
    root.attrs[METADATA_KEY] = {**document, SEAL_KEY: token}
    seal(new / "zarr.json", token)
    return document


def _facts(tables: Mapping[str, Sequence[Path]]) -> dict[str, TableFacts]:
    return {
        name: TableFacts(sum(map(row_count, parts)), vectors_of(schema_of(parts))) for name, parts in tables.items()
    }


def _entry(file: Path) -> JsonDocument:
    return {"rows": row_count(file), "size": file.stat().st_size, "sha256": file_hash(file)}
