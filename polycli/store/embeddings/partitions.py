"""Published embeddings as partitions, whatever their form: ranges of rows of which any column can be read by itself.

    EMBEDDINGS, .parquet   a partition is a row group of a file
    .hats                  the same, of a pair of files: the objects' and their vectors', which have equal rows
    .zarr                  a partition is a range of rows

Catalogues in HATS that others wrote are read too, where one of their columns holds vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from polycli.errors import StoreError
from polycli.store.embeddings.plain_pages import PlainColumn, pieces_of, plain_column
from polycli.store.embeddings.zarr_form import COLUMN_ATTRIBUTE, MARKS_ATTRIBUTE

if TYPE_CHECKING:
    import pyarrow as pa
    import zarr
    from pyarrow import parquet

#: Rows of a partition of a zarr group: some of its chunks.
ZARR_ROWS = 16_384
Result = TypeVar("Result")
#: Rows are read one by one where fewer than one of so many are wanted.
_FEW = 16
#: Rows of a block of which no more than the first few may be looked at.
_FEW_ROWS = 256
#: So many columns are read by several threads.
_MANY_COLUMNS = 8
#: Of the last so many row groups that were asked for a few columns these are kept: of numbers, 64 MiB.
_KEPT, _KEPT_COLUMNS, _KEPT_ROWS = 128, 2, 2**15
#: Lowest and highest value of a column in a partition.
Range = tuple[Any, Any]


@dataclass(frozen=True)
class VectorColumn:
    """A column of vectors."""

    name: str
    width: int
    #: float16 or float32.
    dtype: str


class Partition(Protocol):
    """Some rows of embeddings that follow each other."""

    @property
    def first(self) -> int:
        """The index of the first row among all."""
        ...

    @property
    def rows(self) -> int:
        """The number of rows."""
        ...

    def read(self, columns: Sequence[str]) -> pa.Table:
        """These columns, which hold no vectors, of all rows."""
        ...

    def vectors(self, column: str, first: int, end: int) -> NDArray[Any]:
        """(end - first, width) the vectors from one row to before another, counted in the partition."""
        ...

    def pieces(self, column: str, rows: int, chosen: NDArray[np.bool_] | None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Vectors of at most so many rows at a time, each with its first row; without long gaps between chosen ones.

        They are to be looked at only: some are the file itself.
        """
        ...

    def vectors_at(self, column: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """(n, width) the vectors of some rows, counted in the partition."""
        ...

    def range_of(self, column: str) -> Range | None:
        """The lowest and the highest value of a column, where the file says them."""
        ...

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files whose content changes when that of the partition does."""
        ...


@dataclass(frozen=True, eq=False)
class ParquetFile:
    """A Parquet file, which is opened for every read: a survey has more files than a process may hold open."""

    path: Path
    metadata: parquet.FileMetaData = field(repr=False)
    schema: pa.Schema = field(repr=False)

    @classmethod
    def of(cls, path: Path) -> ParquetFile:
        """Read what the file says of itself.

        Raises:
            StoreError: it is missing or damaged.
        """
        from pyarrow import parquet

        metadata = reading(path, lambda: parquet.read_metadata(path))
        return cls(path, metadata, metadata.schema.to_arrow_schema())

    def read(self, group: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of a row group; a few of a small one are kept, for the next question is often about them too."""
        few = len(columns) <= _KEPT_COLUMNS and self.metadata.row_group(group).num_rows <= _KEPT_ROWS
        if not few:
            return self.decode(group, columns)
        changed = reading(self.path, self.path.stat).st_mtime_ns
        return _kept(self, group, tuple(columns), changed)

    def decode(self, group: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of a row group, from the file."""
        from pyarrow import parquet

        def read() -> pa.Table:
            with parquet.ParquetFile(self.path, metadata=self.metadata) as file:
                # A few columns of one row group are read sooner than threads are woken for them.
                return file.read_row_group(group, columns=list(columns), use_threads=len(columns) > _MANY_COLUMNS)

        return reading(self.path, read)

    def blocks(self, group: int, column: str) -> Iterator[pa.Array]:
        """The values of a column of a row group, some rows at a time."""
        from pyarrow import parquet

        with reading(self.path, lambda: parquet.ParquetFile(self.path, metadata=self.metadata)) as file:
            batches = file.iter_batches(_FEW_ROWS, row_groups=[group], columns=[column])
            while (batch := reading(self.path, lambda: next(batches, None))) is not None:
                yield batch.column(0)

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The number of each column of single values among those of the file, by its name."""
        schema = self.metadata.schema
        return {schema.column(index).path: index for index in range(len(schema))}


@dataclass(frozen=True)
class RowGroups:
    """The same rows in one or two files: one row group of each, with different columns."""

    first: int
    rows: int
    #: By file the number of the row group.
    groups: tuple[tuple[ParquetFile, int], ...] = field(repr=False)
    #: How wide vectors are, by column; the same for all row groups of some files.
    widths: dict[str, int] = field(default_factory=dict, repr=False, compare=False)
    #: What is known of columns of vectors by now.
    _plain: dict[str, PlainColumn | None] = field(default_factory=dict, repr=False, compare=False)
    #: The lowest and the highest value of columns that were asked for.
    _ranges: dict[str, Range | None] = field(default_factory=dict, repr=False, compare=False)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """These columns of all rows, in this order."""
        import pyarrow as pa

        found: dict[str, pa.ChunkedArray] = {}
        for file, group in self.groups:
            wanted = [name for name in columns if name in file.schema.names and name not in found]
            if wanted:
                table = file.read(group, wanted)
                found |= dict(zip(table.column_names, table.columns, strict=True))
        return pa.table({name: found[name] for name in columns}) if columns else pa.table({})

    def vectors(self, column: str, first: int, end: int) -> NDArray[Any]:
        """(end - first, width) the vectors of some rows, counted in the row group."""
        plain, (file, group) = self._plain_column(column), self._place_of(column)
        if plain is not None:
            return reading(file.path, lambda: plain.read(first, end))
        changed = reading(file.path, file.path.stat).st_mtime_ns
        return _decoded(file.path, group, column, self.widths.get(column), changed)[first:end]

    def pieces(self, column: str, rows: int, chosen: NDArray[np.bool_] | None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Vectors of at most so many rows at a time, as they lie in the file where they lie there plainly."""
        plain, (file, _) = self._plain_column(column), self._place_of(column)
        runs = [(0, self.rows)] if plain is None else plain.runs()
        view = partial(self.vectors, column) if plain is None else reading(file.path, plain.views)
        for first, end in pieces_of(runs, rows, chosen):
            yield first, reading(file.path, partial(view, first, end))

    def _place_of(self, column: str) -> tuple[ParquetFile, int]:
        return next(pair for pair in self.groups if column in pair[0].schema.names)

    def _plain_column(self, column: str) -> PlainColumn | None:
        import pyarrow as pa

        if column not in self._plain:
            file, group = self._place_of(column)
            # Of lists of any length the pages do not say where one ends.
            is_plain = pa.types.is_fixed_size_list(file.schema.field(column).type)
            self._plain[column] = plain_column(file.path, file.metadata, group, column) if is_plain else None
        return self._plain[column]

    def vectors_at(self, column: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """(n, width) the vectors of some rows: one by one where they are few and lie plainly."""
        first, end = (int(rows.min()), int(rows.max()) + 1) if len(rows) else (0, 0)
        plain, (file, _) = self._plain_column(column), self._place_of(column)
        if plain is None or len(rows) * _FEW >= end - first:
            return self.vectors(column, first, end)[rows - first]
        return reading(file.path, lambda: plain.read_rows(rows))

    @property
    def paths(self) -> tuple[Path, ...]:
        """The Parquet files of the rows."""
        return tuple(file.path for file, _ in self.groups)

    def range_of(self, column: str) -> Range | None:
        """The lowest and the highest value of a column, where the file says them."""
        if column not in self._ranges:
            self._ranges[column] = self._range(column)
        return self._ranges[column]

    def _range(self, column: str) -> Range | None:
        for file, group in self.groups:
            if column in file.places:
                found = file.metadata.row_group(group).column(file.places[column]).statistics
                return None if found is None or not found.has_min_max else (found.min, found.max)
        return None


@dataclass(frozen=True)
class ZarrRows:
    """Some rows of a zarr group."""

    path: Path
    first: int
    rows: int
    #: By column.
    arrays: Mapping[str, zarr.Array[Any]] = field(repr=False)
    #: Of columns with unknown values: which ones these are.
    marks: Mapping[str, zarr.Array[Any]] = field(repr=False)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """These columns of all rows; where an array marks unknown values, they are null."""
        import pyarrow as pa

        found = {}
        for name in columns:
            values = self._values(self.arrays[name], 0, self.rows)
            marks = self._values(self.marks[name], 0, self.rows) if name in self.marks else None
            is_text = values.dtype.kind in "OUT"
            found[name] = pa.array(
                values.astype(object) if is_text else values,
                pa.string() if is_text else None,
                mask=None if marks is None else marks.astype(np.bool_),
            )
        return pa.table(found)

    def vectors(self, column: str, first: int, end: int) -> NDArray[Any]:
        """(end - first, width) the vectors of some rows, counted in the partition."""
        return self._values(self.arrays[column], first, end)

    def pieces(self, column: str, rows: int, chosen: NDArray[np.bool_] | None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Vectors of at most so many rows at a time."""
        for first, end in pieces_of([(0, self.rows)], rows, chosen):
            yield first, self.vectors(column, first, end)

    def vectors_at(self, column: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """(n, width) the vectors of some rows, counted in the partition."""
        first, end = (int(rows.min()), int(rows.max()) + 1) if len(rows) else (0, 0)
        return self._values(self.arrays[column], first, end)[rows - first]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file of the group, whose manifest has the hashes of all others."""
        return (self.path / "zarr.json",)

    def range_of(self, column: str) -> Range | None:  # noqa: ARG002
        """Always None: a zarr array does not say it."""
        return None

    def _values(self, array: zarr.Array[Any], first: int, end: int) -> NDArray[Any]:
        return reading(self.path, lambda: np.asarray(array[self.first + first : self.first + end]))


def partitions_of(files: Iterable[tuple[Path, ...]]) -> list[RowGroups]:
    """The row groups of files in order; those of a tuple have the same rows with different columns.

    Raises:
        StoreError: a file is missing or damaged, or the files of a tuple have different rows.
    """
    found: list[RowGroups] = []
    widths: dict[str, int] = {}
    first = 0
    for paths in files:
        opened = [ParquetFile.of(path) for path in paths]
        counts = [
            [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
            for file in opened
        ]
        if any(count != counts[0] for count in counts):
            raise StoreError(
                f"{paths[1]}: has row groups of {counts[1]} rows, and {paths[0]} of {counts[0]}",
                hint="polycli inspect PATH --verify",
            )
        for group, rows in enumerate(counts[0]):
            found.append(RowGroups(first, rows, tuple((file, group) for file in opened), widths))
            first += rows
    return found


def zarr_partitions(path: Path) -> list[ZarrRows]:
    """The rows of a zarr group in ranges.

    Raises:
        StoreError: it cannot be read.
    """
    import zarr

    group = reading(path, lambda: zarr.open_group(path, mode="r"))
    found = dict(group.arrays())
    marks = {str(array.attrs[MARKS_ATTRIBUTE]): name for name, array in found.items() if MARKS_ATTRIBUTE in array.attrs}
    # Earlier versions told marks by their names alone.
    names = [name.removesuffix("_null") for name in found if name.endswith("_null")] if not marks else []
    marks |= {name: f"{name}_null" for name in names if name in found and found[f"{name}_null"].dtype == np.bool_}
    columns = {name: array for name, array in found.items() if name not in marks.values()}
    arrays = {str(array.attrs.get(COLUMN_ATTRIBUTE, name)): array for name, array in columns.items()}
    known = {column: found[name] for column, name in marks.items()}
    rows = min((array.shape[0] for array in arrays.values()), default=0)
    return [ZarrRows(path, first, min(ZARR_ROWS, rows - first), arrays, known) for first in range(0, rows, ZARR_ROWS)]


@lru_cache(maxsize=_KEPT)
def _kept(file: ParquetFile, group: int, columns: tuple[str, ...], changed: int) -> pa.Table:  # noqa: ARG001
    """Some columns of a row group, unless the file has `changed`."""
    return file.decode(group, columns)


@lru_cache(maxsize=1)
def _decoded(path: Path, group: int, column: str, width: int | None, changed: int) -> NDArray[Any]:  # noqa: ARG001
    """(rows, width) the vectors of a row group: decoded once for all blocks of it, unless the file has `changed`."""
    from pyarrow import parquet

    def read() -> pa.ChunkedArray:
        with parquet.ParquetFile(path) as file:
            return file.read_row_group(group, columns=[column])[column]

    vectors = _stacked(f"{path}: column {column}", reading(path, read), width)
    vectors.setflags(write=False)
    return vectors


def _stacked(name: str, column: pa.ChunkedArray, width: int | None) -> NDArray[Any]:
    """(n, width) the vectors of a column of lists, NaN where there is none.

    Raises:
        StoreError: one has another length.
    """
    import pyarrow as pa
    from pyarrow import compute

    lists = pa.chunked_array(column.chunks, column.type).combine_chunks()
    known = lists.is_valid().to_numpy(zero_copy_only=False)
    there = lists.drop_null()
    lengths = compute.list_value_length(there).to_numpy(zero_copy_only=False)
    width = int(lengths[0]) if width is None and len(lengths) else width or 0
    if len(other := lengths[lengths != width]):
        raise StoreError(f"{name} has vectors of {width} numbers and of {other[0]}: one width was expected")
    flat = np.asarray(there.flatten().to_numpy(zero_copy_only=False)).reshape(len(there), width)
    vectors = np.full((len(lists), width), np.nan, flat.dtype)
    vectors[known] = flat
    return vectors


def reading(path: Path, read: Callable[[], Result]) -> Result:
    """The result of `read`.

    Raises:
        StoreError: the file is missing, damaged or shorter than it was.
    """
    from pyarrow import ArrowException

    try:
        return read()
    except (OSError, EOFError, ArrowException, ValueError, RuntimeError) as error:
        raise StoreError(f"{path}: cannot be read: {error}", hint="polycli inspect PATH --verify") from error
