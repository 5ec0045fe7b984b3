"""A table as a zarr group: one array per column, with the checksums that stores have."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polycli.store.embeddings.parts import blocks_of, schema_of

if TYPE_CHECKING:
    import pyarrow as pa
    import zarr

_CHUNK_ROWS = 4096
#: What an array's attributes say where the column has a name that no array can have, or that another array has.
COLUMN_ATTRIBUTE = "column"


def zarr_group(path: Path) -> zarr.Group:
    """Creates a new group at `path`."""
    import zarr

    return zarr.create_group(store=path)


def fill_group(group: zarr.Group, parts: Sequence[Path], rows: int, *, taken: Collection[str] = ()) -> None:
    """Write the columns of a table; `taken` are names in the group that no array may have.

    Numbers stay as they are; integers and booleans that are not known everywhere get an array `<name>_null`; texts
    become variable-length strings, empty where unknown.
    """
    schema = schema_of(parts)
    names: dict[tuple[str, bool], str] = {}
    for column in schema.names:
        names[column, False] = _array_name(column, {*names.values(), *taken})
    arrays: dict[tuple[str, bool], zarr.Array[Any]] = {}
    start = 0
    # The empty table last, for a table without rows has columns too.
    for table in (*blocks_of(parts, _CHUNK_ROWS), schema.empty_table()):
        for column, is_null, values in _arrays(table):
            key = column, is_null
            if key not in arrays:
                if key not in names:
                    names[key] = _array_name(f"{column}_null", {*names.values(), *taken})
                arrays[key] = _create(group, names[key], column, rows, values)
            if len(values):
                arrays[key][start : start + len(values)] = values
        start += len(table)


def _arrays(table: pa.Table) -> Iterator[tuple[str, bool, NDArray[Any]]]:
    """Yields each column's name, whether it marks unknown values, and its values or those marks."""
    import pyarrow as pa

    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_fixed_size_list(kind):
            flat = column.combine_chunks().flatten()
            yield name, False, flat.to_numpy(zero_copy_only=False).reshape(-1, kind.list_size)
        elif pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
            texts = ["" if value is None else value for value in column.to_pylist()]
            yield name, False, np.array(texts, dtype=object)
        elif column.null_count and not pa.types.is_floating(kind):
            yield name, True, column.is_null().to_numpy()
            yield name, False, column.fill_null(False if pa.types.is_boolean(kind) else 0).to_numpy()
        else:
            yield name, False, column.to_numpy()


def _array_name(column: str, taken: Collection[str]) -> str:
    """A name that zarr allows and that is free: slashes would make groups, and two underscores are zarr's own."""
    clean = column.replace("/", "_").replace("\\", "_")
    if not clean.strip(".") or clean.startswith("__") or clean == "zarr.json":
        clean = f"column_{clean.strip('._')}"
    name, number = clean, 2
    while name in taken:
        name, number = f"{clean}_{number}", number + 1
    return name


def _create(group: zarr.Group, name: str, column: str, rows: int, values: NDArray[Any]) -> zarr.Array[Any]:
    from zarr.codecs import BloscCodec, Crc32cCodec

    is_text = values.dtype == object
    return group.create_array(
        name,
        shape=(rows, *values.shape[1:]),
        dtype="str" if is_text else values.dtype,
        chunks=(_CHUNK_ROWS, *values.shape[1:]),
        # As in stores: a flipped bit is found, and a chunk of zeros is written rather than left out.
        compressors=[BloscCodec(cname="lz4", typesize=1 if is_text else values.dtype.itemsize), Crc32cCodec()],
        config={"write_empty_chunks": True},
        attributes={} if name in {column, f"{column}_null"} else {COLUMN_ATTRIBUTE: column},
    )
