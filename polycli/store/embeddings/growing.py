"""Reads the columns and the parts of embeddings to which rows are added."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polycli.store.embeddings.hats_before import hats_schema
from polycli.store.embeddings.kind import read_manifest
from polycli.store.embeddings.manifest import ROWS, table_file, table_folder
from polycli.store.embeddings.parts import link, parquet_writer, parts_of, tables_in
from polycli.store.embeddings.zarr_form import group_schema, write_part

if TYPE_CHECKING:
    import pyarrow as pa


def schemas_of(path: Path) -> dict[str, pa.Schema]:
    """The columns of embeddings by name of the table; rows that are added must have the same."""
    from pyarrow import parquet

    tables = (ROWS, *read_manifest(path)["tables"])
    if path.suffix == ".zarr":
        return {table: group_schema(path, table) for table in tables}
    if not path.is_dir():
        return {table: parquet.read_schema(table_file(path, table)).remove_metadata() for table in tables}
    parts = {table: parts_of(path, table)[0] for table in tables_in(path) if parts_of(path, table)}
    schemas = {table: parquet.read_schema(part).remove_metadata() for table, part in parts.items()}
    return {**schemas, ROWS: hats_schema(path)} if path.suffix == ".hats" else schemas


def keep_parts(path: Path, parts: Path) -> Mapping[str, Any]:
    """Put what embeddings hold into a folder of parts, without a change to them; returns their manifest.

    The rows of a HATS collection stay where they are, for `hats_form` joins them by the sky.
    """
    before = read_manifest(path)
    tables = (ROWS, *before["tables"])
    if path.suffix == ".zarr":
        for table in tables:
            write_part(path, table, table_folder(parts, table) / "part-00000.parquet")
    elif path.is_dir():
        for table in tables_in(path):
            for part in sorted(table_folder(path, table).glob("part-*.parquet")):
                link(part, table_folder(parts, table) / part.name)
    else:
        for table in tables:
            link(table_file(path, table), table_folder(parts, table) / "part-00000.parquet")
    return before


def write_empty_part(path: Path, part: Path) -> None:
    """Write a part without rows that has the columns of embeddings."""
    with parquet_writer(part, schemas_of(path)[ROWS]):
        pass
