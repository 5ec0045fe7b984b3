"""A table as a zarr group: one array per column, with the checksums that stores have."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polycli.errors import UserError
from polycli.store.embeddings.parts import blocks_of, parquet_writer, schema_of

if TYPE_CHECKING:
    import pyarrow as pa
    import zarr

_CHUNK_ROWS = 4096
_PART_ROWS = 4 * _CHUNK_ROWS
#: What an array's attributes say where the column has a name that no array can have, or that another array has.
COLUMN_ATTRIBUTE = "column"
#: What they say of an array of marks: the column of which it marks the unknown values.
MARKS_ATTRIBUTE = "unknown_of"


def zarr_group(path: Path) -> zarr.Group:
    """Creates a new group at `path`."""
    import zarr

    return zarr.create_group(store=path)


def fill_group(group: zarr.Group, parts: Sequence[Path], rows: int, *, taken: Collection[str] = ()) -> None:
    """Write the columns of a table; `taken` are names in the group that no array may have.

    Numbers stay as they are, texts become variable-length strings; integers, booleans and texts that are not known
    everywhere get an array `<name>_null`.
    """
    schema = schema_of(parts)
    names: dict[tuple[str, bool], str] = {}
    for column in schema.names:
        names[column, False] = _array_name(column, {*names.values(), *taken})
    arrays: dict[tuple[str, bool], zarr.Array[Any]] = {}
    start = 0
    # The empty table last, for a table without rows has columns too.
    for table in chain(blocks_of(parts, _CHUNK_ROWS), [schema.empty_table()]):
        for column, is_null, values in _arrays(table):
            key = column, is_null
            if key not in arrays:
                if key not in names:
                    names[key] = _array_name(f"{column}_null", {*names.values(), *taken})
                arrays[key] = _create(group, names[key], column, rows, values, is_null=is_null)
            if len(values):
                arrays[key][start : start + len(values)] = values
        start += len(table)


def group_schema(path: Path, table: str) -> pa.Schema:
    """The columns of a table as Parquet has them; texts that were of few values are plain ones."""
    import pyarrow as pa

    columns = _columns_of(path, table)
    return pa.schema([(name, _column_of(np.asarray(array[:0])).type) for name, (array, _) in columns.items()])


def write_part(path: Path, table: str, part: Path) -> None:
    """Write a table of a group to a Parquet file."""
    import pyarrow as pa

    columns = _columns_of(path, table)
    schema = group_schema(path, table)
    rows = next(iter(columns.values()))[0].shape[0]
    part.parent.mkdir(parents=True, exist_ok=True)
    with parquet_writer(part, schema) as writer:
        for first in range(0, rows, _PART_ROWS):
            some = slice(first, first + _PART_ROWS)
            values = [
                _column_of(np.asarray(array[some]), None if marks is None else np.asarray(marks[some]))
                for array, marks in columns.values()
            ]
            writer.write_table(pa.table(values, schema=schema))


def _columns_of(path: Path, table: str) -> dict[str, tuple[zarr.Array[Any], zarr.Array[Any] | None]]:
    """Returns by column its array, and the one that marks its unknown values, in the order of the arrays' names.

    Raises:
        UserError: an earlier version wrote it, and did not say which arrays are marks.
    """
    import zarr

    group = zarr.open_group(path / table if table else path, mode="r")
    arrays = dict(sorted(group.arrays()))
    marked = {name: array for name, array in arrays.items() if MARKS_ATTRIBUTE in array.attrs}
    marks = {str(array.attrs[MARKS_ATTRIBUTE]): name for name, array in marked.items()}
    names = {str(array.attrs.get(COLUMN_ATTRIBUTE, name)): name for name, array in arrays.items() if name not in marked}
    for column, name in names.items():
        if arrays[name].dtype == np.bool_ and column.endswith("_null") and column.removesuffix("_null") in names:
            raise UserError(
                f"{path}: may be of an earlier version, which did not say what {name} is: nothing can be added to it",
                hint="embed all data into another --output",
            )
    return {
        column: (arrays[name], arrays[marks[column]] if column in marks else None) for column, name in names.items()
    }


def _column_of(values: NDArray[Any], unknown: NDArray[Any] | None = None) -> pa.Array:
    """The values of an array as a column; two-dimensional ones as vectors."""
    import pyarrow as pa

    if values.ndim == 2:
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    if values.dtype.kind in "OUT":
        return pa.array(values.astype(object), pa.string(), mask=unknown)
    return pa.array(values, mask=unknown)


def _arrays(table: pa.Table) -> Iterator[tuple[str, bool, NDArray[Any]]]:
    """Yields each column's name, whether it marks unknown values, and its values or those marks."""
    import pyarrow as pa

    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_null(kind):
            # A column of which nothing is known has no type, and an array must have one.
            yield name, True, np.ones(len(column), np.bool_)
            yield name, False, np.zeros(len(column))
        elif pa.types.is_fixed_size_list(kind):
            flat = column.combine_chunks().flatten()
            yield name, False, flat.to_numpy(zero_copy_only=False).reshape(-1, kind.list_size)
        elif pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
            known = column.to_pylist()
            texts = ["" if value is None else value for value in known]
            if None in known:
                yield name, True, column.is_null().to_numpy()
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


def _create(
    group: zarr.Group, name: str, column: str, rows: int, values: NDArray[Any], *, is_null: bool
) -> zarr.Array[Any]:
    from zarr.codecs import BloscCodec, Crc32cCodec

    attributes: dict[str, Any] = (
        {MARKS_ATTRIBUTE: column} if is_null else {} if name == column else {COLUMN_ATTRIBUTE: column}
    )
    is_text = values.dtype == object
    return group.create_array(
        name,
        shape=(rows, *values.shape[1:]),
        dtype="str" if is_text else values.dtype,
        chunks=(_CHUNK_ROWS, *values.shape[1:]),
        # As in stores: a flipped bit is found, and a chunk of zeros is written rather than left out.
        compressors=[BloscCodec(cname="lz4", typesize=1 if is_text else values.dtype.itemsize), Crc32cCodec()],
        config={"write_empty_chunks": True},
        attributes=attributes,
    )
