"""Cells of tables of text, column by column and many rows at once: the cells of the rows that `row_chunks` gives.

Arrow cuts the lines where nothing in them needs a second thought: quotes that stand around whole cells, line feeds with
or without a carriage return before each. All else is read by `row_chunks` from there on.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from polycli.errors import SourceError
from polycli.files.streams import open_text
from polycli.xval.records.texts import Texts, as_texts, bytes_of
from polycli.xval.sources.tables import chunks
from polycli.xval.sources.tables.chunks import CHUNK_ROWS, row_chunks
from polycli.xval.sources.tables.csv_files import CsvFile, Place, go_to

_PIECE = 2**22
#: Bytes of rows that wait for their end: quotes that are not plain may let all that follows look like one cell.
_LONGEST = 2**26
_QUOTE, _LINE = ord('"'), ord("\n")
#: Encodings of one byte for each character, those of ASCII among them.
_BYTEWISE = ("ascii", "iso8859-", "cp125")


def cell_chunks(
    file: CsvFile,
    start: Place | None = None,
    count: int | None = None,
    *,
    size: int = CHUNK_ROWS,
    stop: int | None = None,
) -> Iterator[tuple[Place, list[Texts]]]:
    """Yields the position of the first row of each chunk, and the cells of its `size` rows or less by column.

    `stop` is the byte behind the last row that is wanted, where it is known: nothing behind it is read.

    Raises:
        SourceError: a row has more or fewer cells than the header, or quotes or bytes are wrong; it names the line.
    """
    place, left = start or file.start, count
    if chunks.is_plain(file) and _Lines.can_cut(file):
        lines = _Lines(file, place, stop)
        for columns in lines.chunks(left, size):
            yield place, columns
            place = lines.place
            left = None if left is None else left - len(columns[0])
        if lines.done or left == 0:
            return
    for found, rows in row_chunks(file, place, left, size=size):
        yield found, [as_texts(cells) for cells in zip(*rows, strict=True)]


class _Lines:
    """Whole lines of a file, cut by Arrow; gives up where something is not plain."""

    def __init__(self, file: CsvFile, start: Place, stop: int | None) -> None:
        self._file, self._start, self._stop = file, start, stop
        #: Behind the last row that was given.
        self.place = start
        #: Whether the end was reached.
        self.done = False

    @staticmethod
    def can_cut(file: CsvFile) -> bool:
        """Whether delimiters and line feeds are bytes that stand for nothing else."""
        name, delimiter = codecs.lookup(file.layout.encoding).name, file.layout.delimiter
        single = len(delimiter) == 1 and delimiter.isascii() and delimiter not in ' "'
        return single and (name == "utf-8" or name.startswith(_BYTEWISE))

    def chunks(self, count: int | None, size: int) -> Iterator[list[Texts]]:
        """Chunks of rows, until the count, the end, or what is not plain."""
        left, rest = count, b""
        try:
            with open_text(self._file.path, self._file.layout.form) as stream:
                go_to(stream, self._start.byte, self._file.layout.form)
                for data in self._pieces(stream):
                    piece = rest + data if data else _closed(rest)
                    ends, begin, used = _row_ends(piece), 0, 0
                    while used < len(ends) and left != 0:
                        wanted = min(size, size if left is None else left)
                        rows = min(wanted, len(ends) - used)
                        if rows < wanted and data:
                            break
                        end = int(ends[used + rows - 1]) + 1
                        columns = self._cut(piece[begin:end])
                        if columns is None or len(columns[0]) != rows:
                            return
                        lines = piece.count(b"\n", begin, end)
                        self.place = Place(self.place.byte + end - begin, self.place.line + lines)
                        begin, used, left = end, used + rows, None if left is None else left - rows
                        yield columns
                    rest = piece[begin:]
                    if left == 0 or len(rest) > _LONGEST:
                        return
                self.done = not rest
        except (OSError, SourceError):
            return

    def _pieces(self, stream: IO[bytes]) -> Iterator[bytes]:
        """Yields the bytes from the start to the stop, and, last, none."""
        place = self._start.byte
        while True:
            data = stream.read(_PIECE if self._stop is None else min(_PIECE, self._stop - place))
            place += len(data)
            yield data
            if not data:
                return

    def _cut(self, data: bytes) -> list[Texts] | None:
        """The cells of whole rows by column; None where they are not plain."""
        layout = self._file.layout
        delimiter = layout.delimiter.encode()
        quoted, spaced = b'"' in data, _cells_begin_with_spaces(data, delimiter)
        if b"\0" in data or data.count(b"\r") != data.count(b"\r\n"):
            return None
        if quoted and (spaced or not _quotes_are_plain(data, delimiter)):
            return None
        try:
            if not data.isascii() and codecs.lookup(layout.encoding).name != "utf-8":
                data = data.decode(layout.encoding).encode()
            table = self._read(data, quoted=quoted)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None
        columns = [pc.utf8_ltrim(column, characters=" ") if spaced else column for column in table.itercolumns()]
        whole = [pa.concat_arrays(column.chunks) for column in columns]
        limit = csv.field_size_limit()
        return None if any(bytes_of(column)[0].max(initial=0) > limit for column in whole) else whole

    def _read(self, data: bytes, *, quoted: bool) -> pa.Table:
        names = [str(place) for place in range(len(self._file.header))]
        return pa.csv.read_csv(
            pa.BufferReader(data),
            pa.csv.ReadOptions(use_threads=False, column_names=names, block_size=len(data) + 1),
            pa.csv.ParseOptions(
                delimiter=self._file.layout.delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted,
                ignore_empty_lines=True,  # There are then fewer rows than lines.
            ),
            pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False),
        )


def _closed(rest: bytes) -> bytes:
    """The end of a file without empty lines, its last row with a line feed."""
    filled = rest.rstrip(b"\r\n")
    return filled + b"\n" if filled else b""


def _row_ends(data: bytes) -> NDArray[np.int64]:
    """The places of line feeds that are not within quotes, as far as quotes stand around whole cells."""
    characters = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(characters == _LINE)
    return _outside(ends, characters)


def _outside(places: NDArray[np.int64], characters: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Those of the places that are not within quotes."""
    quotes = np.flatnonzero(characters == _QUOTE)
    inside = np.searchsorted(quotes, places) % 2 == 1
    return np.asarray(places[~inside], dtype=np.int64)


def _cells_begin_with_spaces(data: bytes, delimiter: bytes) -> bool:
    """Whether spaces stand before a cell, which are no part of it."""
    if data.startswith(b" "):
        return True
    if delimiter + b" " not in data and b"\n " not in data:
        return False
    characters = np.frombuffer(data, dtype=np.uint8)
    borders = (characters[:-1] == ord(delimiter)) | (characters[:-1] == _LINE)
    return bool(len(_outside(np.flatnonzero(borders & (characters[1:] == ord(" "))), characters)))


def _quotes_are_plain(data: bytes, delimiter: bytes) -> bool:
    """Whether quotes stand around whole cells, and doubled within them."""
    characters = np.frombuffer(data, dtype=np.uint8)
    quotes = np.flatnonzero(characters == _QUOTE)
    if len(quotes) % 2:
        return False
    before = np.concatenate([[_LINE], characters])[quotes[::2]]
    behind = characters[quotes[1::2] + 1]
    borders = [_LINE, _QUOTE, ord(delimiter)]
    return bool(np.isin(before, borders).all() and np.isin(behind, [*borders, ord("\r")]).all())
