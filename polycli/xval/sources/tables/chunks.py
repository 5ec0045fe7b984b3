"""Rows of tables of text, many at once: the same rows as `csv_files.rows` gives, read some megabytes at a time.

What is not plain (comments, white space as delimiter, empty lines between rows, rows of another length, bytes that are
wrong) is read row by row from there on, which also says what is wrong and in which line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import chain, islice

from polycli.errors import SourceError
from polycli.files.streams import open_text
from polycli.xval.sources.tables.csv_files import CsvFile, Place, go_to, rows
from polycli.xval.sources.tables.layout import WHITESPACE

#: Rows of a chunk, and of a block of a store.
CHUNK_ROWS = 8192
_PIECE = 2**22


def row_chunks(
    file: CsvFile, start: Place | None = None, count: int | None = None, *, size: int = CHUNK_ROWS
) -> Iterator[tuple[Place, list[list[str]]]]:
    """Yields the position of the first row of each chunk, and its `size` rows or less, all as long as the header.

    Raises:
        SourceError: a row has more or fewer cells than the header, or quotes or bytes are wrong; it names the line.
    """
    place, left = start or file.start, count
    quick = _Quick(file, place)
    if is_plain(file):
        for found in quick.chunks(left, size):
            yield place, found
            place = quick.place
            left = None if left is None else left - len(found)
        if quick.done or left == 0:
            return
    slow = rows(file, place, left)
    while chunk := list(islice(slow, size)):
        yield chunk[0][0], [row for _, row in chunk]


def is_plain(file: CsvFile) -> bool:
    """Whether each line of a file is a row of cells, or the rest of one that has line feeds."""
    layout = file.layout
    # A row of one cell may be empty, or a blank line.
    return layout.comment is None and layout.delimiter != WHITESPACE and not layout.trailing and len(file.header) > 1


class _Quick:
    """csv.reader over text that is decoded some megabytes at a time; gives up where something is not plain."""

    def __init__(self, file: CsvFile, place: Place) -> None:
        self._file, self._first = file, place
        #: Behind the last row that was given.
        self.place = place
        #: Whether the end was reached.
        self.done = False
        self._text = io.StringIO()
        self._byte = self._next_byte = place.byte

    def chunks(self, count: int | None, size: int) -> Iterator[list[list[str]]]:
        """Chunks of rows, until the count, the end, or what is not plain."""
        width, left = len(self._file.header), count
        lines = chain.from_iterable(self._pieces())
        reader = csv.reader(lines, delimiter=self._file.layout.delimiter, strict=True, skipinitialspace=True)
        while left is None or left:
            wanted = size if left is None else min(size, left)
            try:
                found = list(islice(reader, wanted))
            except (csv.Error, OSError, SourceError, UnicodeDecodeError):
                return
            ended = len(found) < wanted
            while ended and found and not found[-1]:
                found.pop()
            if any(len(row) != width for row in found):
                return
            self.place = Place(self._byte + self._read(), self._first.line + reader.line_num)
            if found:
                yield found
            if ended:
                self.done = True
                return
            left = None if left is None else left - len(found)

    def _pieces(self) -> Iterator[Iterator[str]]:
        layout = self._file.layout
        with open_text(self._file.path, layout.form) as file:
            go_to(file, self._first.byte, layout.form)
            while data := file.read(_PIECE):
                data += file.readline()
                self._byte, self._next_byte = self._next_byte, self._next_byte + len(data)
                self._text = io.StringIO(data.decode(layout.encoding))
                yield self._text

    def _read(self) -> int:
        """Bytes of the present piece that were read."""
        place = self._text.tell()
        whole = self._text.getvalue()
        return place if whole.isascii() else len(whole[:place].encode(self._file.layout.encoding))
