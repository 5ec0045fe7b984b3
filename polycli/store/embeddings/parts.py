"""Parts: the rows of one unit of work, in one Parquet file for each table, appended block by block."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from polycli.store.embeddings.manifest import table_folder

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

#: By name of the table, `ROWS` for the one with a row for each row of the data.
Tables = Mapping[str, "pa.Table"]


class PartWriter:
    """Takes the tables of one unit; every call brings all tables, with the same columns."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self.name = folder, f"part-{number:05d}.parquet"
        self._writers: dict[str, parquet.ParquetWriter] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After a write that was refused, so is the end of the file, and the first refusal is the one to tell.
        with suppress(OSError) if kind is not None else nullcontext():
            self.close()

    def close(self) -> None:
        """Finish the files and make them last.

        Raises:
            OSError: the system refuses it.
        """
        for table, writer in self._writers.items():
            writer.close()
            sync(self._path(table))

    def write(self, tables: Tables) -> None:
        """Add a block of rows to each table."""
        for name, table in tables.items():
            if name not in self._writers:
                if len(set(table.column_names)) < len(table.column_names):
                    raise ValueError(f"two columns of one name: {table.column_names}")
                path = self._path(name)
                path.parent.mkdir(exist_ok=True)
                self._writers[name] = parquet_writer(path, table.schema)
            self._writers[name].write_table(table)

    def _path(self, table: str) -> Path:
        return table_folder(self._folder, table) / self.name


def parquet_writer(path: Path, schema: pa.Schema) -> parquet.ParquetWriter:
    """A file of these columns: vectors as they are, for nothing compresses them, all else packed."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = {
        column.name: f"{column.name}.list.element" if pa.types.is_fixed_size_list(column.type) else column.name
        for column in schema
    }
    others = [name for name, leaf in columns.items() if name == leaf]
    return parquet.ParquetWriter(
        path,
        schema,
        compression={leaf: "zstd" if name in others else "none" for name, leaf in columns.items()},
        use_dictionary=others,
        write_page_checksum=True,
    )


def with_vectors(table: pa.Table, vectors: Mapping[str, NDArray[Any]]) -> pa.Table:
    """The table and columns of (rows, width) vectors, by name."""
    import pyarrow as pa

    for name, values in vectors.items():
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        table = table.append_column(name, pa.FixedSizeListArray.from_arrays(flat, values.shape[1]))
    return table


def parts_of(folder: Path, table: str) -> list[Path]:
    """The parts of a table, in the order of their units."""
    return sorted(table_folder(folder, table).glob("part-*.parquet"), key=lambda part: int(part.stem.split("-")[1]))


def tables_in(folder: Path) -> list[str]:
    """The names of the tables that have parts in a folder."""
    beside = [path.name.removeprefix("_") for path in folder.glob("_*") if path.is_dir()]
    return ["", *sorted(beside)]


def moved_rows(part: Path, target: Path, column: str, by: int) -> None:
    """Copy a part with `by` added to the row indices in one of its columns."""
    import pyarrow as pa
    from pyarrow import compute, parquet

    with parquet.ParquetFile(part) as file, parquet_writer(target, file.schema_arrow) as writer:
        index = file.schema_arrow.get_field_index(column)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            moved = compute.add(table[column], pa.scalar(by, table[column].type))
            writer.write_table(table.set_column(index, table.schema.field(index), moved))
    sync(target)


def link(file: Path, target: Path) -> None:
    """Give a file, which no one changes any more, a second name; where the file system has no links, copy it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, target)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        shutil.copyfile(file, target)


def row_count(part: Path) -> int:
    """Counts the rows of a Parquet file."""
    from pyarrow import parquet

    return int(parquet.read_metadata(part).num_rows)


def schema_of(parts: Sequence[Path]) -> pa.Schema:
    """The columns, which all parts of a table share."""
    from pyarrow import parquet

    return parquet.read_schema(parts[0])


def blocks_of(parts: Sequence[Path], rows: int) -> Iterator[pa.Table]:
    """All rows of the parts in order, `rows` at a time, whatever the parts are cut into."""
    import pyarrow as pa
    from pyarrow import parquet

    waiting: list[pa.Table] = []
    for part in parts:
        with parquet.ParquetFile(part) as file:
            for group in range(file.num_row_groups):
                waiting.append(file.read_row_group(group, use_threads=False))
                while sum(map(len, waiting)) >= rows:
                    whole = pa.concat_tables(waiting)
                    yield whole.slice(0, rows)
                    waiting = [whole.slice(rows)]
    if sum(map(len, waiting)):
        yield pa.concat_tables(waiting)


def sync(file: Path) -> None:
    """Make the content of a file last."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
