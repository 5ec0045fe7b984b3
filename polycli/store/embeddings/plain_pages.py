"""Vectors of Parquet files that lie there as plain numbers, read as they lie: pyarrow decodes lists number by number.

A column of vectors is written without compression and without a dictionary, so each of its pages is a short header,
the levels that say where lists begin and what is unknown, and then nothing but the numbers. Only the headers are
parsed here (Thrift's compact protocol, as parquet-format describes it); what is stored otherwise is left to pyarrow.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polycli.files.mapped import Writable, mapped_bytes

if TYPE_CHECKING:
    from pyarrow import parquet

#: So many vectors that are not wanted are passed over in less time than another piece takes to begin.
_FEW_BETWEEN = 192
#: Bytes that are read to find a header; one with statistics has about a hundred.
_HEADER_BYTES = 4096
_DATA_PAGE = 0
_PLAIN = 0
#: Types of Thrift's compact protocol.
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 7, 8, 12
#: Fields of a page header, and of what it says of a data page.
_TYPE, _SIZE, _DATA = 1, 3, 5
_VALUES, _ENCODING = 1, 2


@dataclass(frozen=True)
class PlainColumn:
    """The places of the numbers of a column of vectors in one row group of a file."""

    file: Path
    width: int
    dtype: np.dtype[Any]
    #: Of each page: its first number among those of the row group, and the byte at which that lies.
    firsts: tuple[int, ...]
    offsets: tuple[int, ...]
    #: How many numbers there are.
    values: int

    def read(self, first: int, end: int) -> NDArray[Any]:
        """(end - first, width) the vectors from one row to before another, counted in the row group.

        Raises:
            EOFError: the file is shorter than it was.
        """
        vectors = np.empty((end - first, self.width), self.dtype)
        into = vectors.reshape(-1).view(np.uint8).data
        value, last, done, size = first * self.width, end * self.width, 0, self.dtype.itemsize
        page = bisect_right(self.firsts, value) - 1
        with self.file.open("rb", buffering=0) as file:
            while value < last:
                next_page = self.firsts[page + 1] if page + 1 < len(self.firsts) else self.values
                count = min(last, next_page) - value
                offset = self.offsets[page] + (value - self.firsts[page]) * size
                _read_into(file.fileno(), into[done : done + count * size], offset)
                value, done, page = value + count, done + count * size, page + 1
        return vectors

    def read_rows(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """(n, width) the vectors of some rows, counted in the row group.

        Raises:
            EOFError: the file is shorter than it was.
        """
        vectors, view = np.empty((len(rows), self.width), self.dtype), self.views()
        for place, row in enumerate(rows.tolist()):
            vectors[place] = view(row, row + 1)[0]
        return vectors

    def runs(self) -> Iterator[tuple[int, int]]:
        """First row and end of the rows that lie whole in one page, and each row that lies in two by itself."""
        edges = [0]
        for value in self.firsts[1:]:
            edges += [value // self.width, -(-value // self.width)]
        for first, end in pairwise([*edges, self.values // self.width]):
            if end > first:
                yield first, end

    def views(self) -> Callable[[int, int], NDArray[Any]]:
        """Returns what gives the vectors of rows of one run as they lie in the file, which must not be written to.

        Where the system does not map files, they are read, and so are rows that lie in two pages.

        Raises:
            EOFError: the file is shorter than it was.
        """
        size = self.dtype.itemsize
        content = mapped_bytes(self.file, self.offsets[-1] + (self.values - self.firsts[-1]) * size)

        def view(first: int, end: int) -> NDArray[Any]:
            page = bisect_right(self.firsts, first * self.width) - 1
            next_page = self.firsts[page + 1] if page + 1 < len(self.firsts) else self.values
            if content is None or end * self.width > next_page:
                return self.read(first, end)
            begin = self.offsets[page] + (first * self.width - self.firsts[page]) * size
            found = np.frombuffer(content, self.dtype, (end - first) * self.width, begin)
            return np.asarray(Writable(found)).reshape(-1, self.width)

        return view


def pieces_of(
    runs: Iterable[tuple[int, int]], rows: int, chosen: NDArray[np.bool_] | None
) -> Iterator[tuple[int, int]]:
    """Cut runs of rows into pieces of at most so many, and leave out where many rows in a row are not chosen.

    Yields:
        The first row and the end of each piece.
    """
    spans = None if chosen is None else _spans(chosen)
    for begin, stop in runs:
        for first, end in [(begin, stop)] if spans is None else _inside(spans, begin, stop):
            for start in range(first, end, rows):
                yield start, min(start + rows, end)


def _spans(chosen: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """First rows and ends of spans that hold all chosen rows, and few others between them."""
    there = np.flatnonzero(chosen)
    if not len(there):
        return [], []
    breaks = np.flatnonzero(np.diff(there) > _FEW_BETWEEN)
    firsts, lasts = [there[0], *there[breaks + 1]], [*there[breaks], there[-1]]
    return [int(row) for row in firsts], [int(row) + 1 for row in lasts]


def _inside(spans: tuple[list[int], list[int]], begin: int, stop: int) -> Iterator[tuple[int, int]]:
    """The parts of spans that lie between two rows."""
    firsts, ends = spans
    for place in range(bisect_right(ends, begin), bisect_left(firsts, stop)):
        yield max(firsts[place], begin), min(ends[place], stop)


def plain_column(file: Path, metadata: parquet.FileMetaData, group: int, column: str) -> PlainColumn | None:
    """Find the numbers of a column in a row group; None where they do not lie there plainly.

    Args:
        file: the Parquet file.
        metadata: what it says of itself.
        group: the number of the row group.
        column: the name of a column of fixed-size lists of float16 or float32.
    """
    about = metadata.row_group(group)
    path = f"{column}.list.element"
    chunk = next((about.column(i) for i in range(about.num_columns) if about.column(i).path_in_schema == path), None)
    dtypes: dict[str, np.dtype[Any]] = {"FIXED_LEN_BYTE_ARRAY": np.dtype(np.float16), "FLOAT": np.dtype(np.float32)}
    plain = chunk is not None and chunk.compression == "UNCOMPRESSED" and not chunk.has_dictionary_page
    if chunk is None or not plain or chunk.physical_type not in dtypes or not about.num_rows:
        return None
    values = chunk.num_values
    kind = dtypes[chunk.physical_type]
    with file.open("rb") as opened:
        pages = _pages(opened.fileno(), chunk.data_page_offset, values, kind.itemsize)
    if pages is None or values % about.num_rows:
        return None
    return PlainColumn(file, values // about.num_rows, kind, *pages, values)


def _pages(descriptor: int, offset: int, values: int, size: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """First numbers and bytes of all pages; None where one of them is not plain, or lacks a number."""
    firsts, offsets, first = [], [], 0
    while first < values:
        try:
            header, length = _struct(os.pread(descriptor, _HEADER_BYTES, offset), 0)
            count, encoding, page_size = header[_DATA][_VALUES], header[_DATA][_ENCODING], header[_SIZE]
            start, levels = offset + length, 0
            for _ in range(2):
                levels += 4 + int.from_bytes(os.pread(descriptor, 4, start + levels), "little")
        except (IndexError, KeyError, TypeError, RecursionError, OverflowError):
            return None
        end = start + page_size
        # Where a number or a vector is unknown, the levels count it and the numbers lack it.
        if header[_TYPE] != _DATA_PAGE or encoding != _PLAIN or levels + count * size != page_size or count <= 0:
            return None
        firsts.append(first)
        offsets.append(end - count * size)
        first, offset = first + count, end
    return tuple(firsts), tuple(offsets)


def _read_into(descriptor: int, into: memoryview, offset: int) -> None:
    done = 0
    while done < len(into):
        count = os.preadv(descriptor, [into[done:]], offset + done)
        if not count:
            raise EOFError(f"the file ends at byte {offset + done}, and its vectors go on")
        done += count


def _struct(data: bytes, place: int) -> tuple[dict[int, Any], int]:
    """A Thrift struct as a mapping of field numbers, and the place behind it."""
    fields: dict[int, Any] = {}
    number = 0
    while (head := data[place]) != 0:
        place += 1
        kind = head & 0x0F
        if head >> 4:
            number += head >> 4
        else:
            zigzag, place = _varint(data, place)
            number = (zigzag >> 1) ^ -(zigzag & 1)
        fields[number], place = _value(data, place, kind)
    return fields, place + 1


def _value(data: bytes, place: int, kind: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, place
    if kind == _BYTE:
        return data[place], place + 1
    if kind == _DOUBLE:
        return None, place + 8
    if kind == _BINARY:
        length, place = _varint(data, place)
        return None, place + length
    if kind == _STRUCT:
        return _struct(data, place)
    # Integers; page headers have no lists, sets or maps, and what would come of one is refused as not plain.
    zigzag, place = _varint(data, place)
    return (zigzag >> 1) ^ -(zigzag & 1), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
