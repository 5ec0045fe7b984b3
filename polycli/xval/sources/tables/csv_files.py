"""Tables of text as they lie on disk: rows, with the byte at which each begins."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from polycli.errors import SourceError
from polycli.files.plain import reason_of
from polycli.files.streams import TextForm, open_text, suffix_of
from polycli.paths import files_below
from polycli.xval.recipe.sources import TableSection
from polycli.xval.sources.tables.layout import Layout, cells_of, is_blank, is_number, layout_of

_SKIPPED = 2**20


@dataclass(frozen=True)
class Place:
    """The position in a file at which a row begins."""

    #: Of the text without its byte-order mark, as UTF-8 where it was UTF-16 or UTF-32, unpacked.
    byte: int
    #: Lines before it.
    line: int


@dataclass(frozen=True)
class CsvFile:
    """A file whose header was read."""

    path: Path
    #: What messages and records call it: its name relative to the input.
    name: str
    header: tuple[str, ...]
    layout: Layout
    #: Where the rows begin.
    start: Place

    @property
    def seekable(self) -> bool:
        """Whether rows can be read from any place on without what stands before."""
        return self.layout.form.plain


def open_csv(path: Path, name: str, section: TableSection) -> CsvFile:
    """Read the header.

    Raises:
        SourceError: the file is empty or not text, or its header is missing, has a name twice or holds numbers.
    """
    layout = layout_of(path, name, section)
    header = [column.strip() for column in layout.header]
    header = [column or f"column_{index + 1}" for index, column in enumerate(header)]
    twice = sorted(column for column, count in Counter(header).items() if count > 1)
    if twice:
        raise SourceError(f"{name}: the header names {twice[0]!r} twice", hint="give each column its own name")
    if all(is_number(column) for column in header):
        raise SourceError(
            f"{name}: the first line holds numbers ({', '.join(header[:3])}), column names were expected",
            hint="add a line with a name for each column, or skip lines above it: --set table.skip=N",
        )
    reader = _Reader(path, name, layout, Place(0, 0))
    above = reader.rows(skip=layout.skip)
    for _ in range((not layout.header_is_comment) + (layout.units is not None)):
        next(above, None)
    return CsvFile(path, name, tuple(header), layout, reader.place)


def rows(file: CsvFile, start: Place | None = None, count: int | None = None) -> Iterator[tuple[Place, list[str]]]:
    """Yields the position of each row and its cells; empty lines are no rows.

    Raises:
        SourceError: a row has more or fewer cells than the header, or quotes or bytes are wrong; it names the line.
    """
    reader = _Reader(file.path, file.name, file.layout, start or file.start)
    read, width, trailing = 0, len(file.header), file.layout.trailing
    begin = reader.place
    for row in reader.rows():
        if trailing and len(row) == width + 1 and not row[-1].strip():
            row.pop()
        if len(row) == width and (width > 1 or row[0]):
            yield begin, row
            read += 1
            if read == count:
                return
        elif not is_blank(row):
            raise SourceError(
                f"{file.name}, line {begin.line + 1}: {len(row)} cells, the header has {width}",
                hint=f"cut at {file.layout.delimiter!r}: --set table.delimiter=X says otherwise; "
                "--set table.skip=N leaves lines above the header out",
            )
        begin = reader.place


class _Reader:
    """csv.reader over a binary file, which knows at which byte it is."""

    def __init__(self, path: Path, name: str, layout: Layout, start: Place) -> None:
        self._path, self._name, self._layout = path, name, layout
        #: Where the next row begins.
        self.place = start

    def rows(self, *, skip: int = 0) -> Iterator[list[str]]:
        """The rows from here on, empty ones too, but for the lines that are skipped."""
        try:
            yield from (row for row in cells_of(self._lines(skip), self._layout.delimiter))
        except csv.Error as error:
            lone = "new-line character" in str(error)  # what csv.reader calls a carriage return within a line
            reason = "a carriage return stands there without a line feed" if lone else str(error)
            raise SourceError(
                f"{self._name}, line {self.place.line}: this is not CSV: {reason}",
                hint="where lines end so, as on old Macs: tr '\\r' '\\n' < OLD > NEW" if lone else None,
            ) from error

    def _lines(self, skip: int) -> Iterator[str]:
        """csv.reader asks for exactly the lines of one row before it hands that row over."""
        comment, encoding = self._layout.comment, self._layout.encoding
        mark = None if comment is None else comment.encode(encoding)
        try:
            with open_text(self._path, self._layout.form) as file:
                go_to(file, self.place.byte, self._layout.form)
                for line in file:
                    self.place = Place(self.place.byte + len(line), self.place.line + 1)
                    if self.place.line <= skip or (mark is not None and line.lstrip().startswith(mark)):
                        continue
                    yield line.decode(encoding)
        except OSError as error:
            raise SourceError(f"{self._path}: cannot be read: {reason_of(error)}") from error
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{self._name}, line {self.place.line}: byte {error.object[error.start]:#04x} is not {encoding}",
                hint="--set table.encoding=latin-1, if that is what it is",
            ) from error


def go_to(file: IO[bytes], byte: int, form: TextForm) -> None:
    """Go on to a byte of what `open_text` gives, from its beginning."""
    if form.plain:
        file.seek(byte, os.SEEK_CUR)  # from behind the byte-order mark
        return
    left = byte
    while left and (data := file.read(min(left, _SKIPPED))):
        left -= len(data)


def names_of(paths: Sequence[Path], suffixes: Sequence[str]) -> list[tuple[Path, str]]:
    """The files that inputs name, folders looked through, each with its name relative to the input.

    Raises:
        SourceError: there are none.
    """
    found = []
    for path in paths:
        if path.is_dir():
            inside = [file for file in files_below(path) if suffix_of(file) in suffixes]
            found += [(file, file.relative_to(path).as_posix()) for file in inside]
        else:
            found.append((path, path.name))
    if not found:
        where = f"no such file is in {paths[0]}" if paths else "no --input was given"
        raise SourceError(f"{where}: files of {', '.join(suffixes)} were expected", hint="--input FILE or FOLDER")
    names = [name for _, name in found]
    if len(set(names)) < len(names):
        # Two inputs with files of one name: their paths as given tell them apart.
        found = [(file, file.as_posix()) for file, _ in found]
    return found
