"""CSV as it lies on disk: the delimiter found by looking, rows with the byte at which each begins."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from polycli.errors import SourceError
from polycli.files.plain import open_plain, reason_of
from polycli.paths import files_below
from polycli.xval.recipe.sources import TableSection

DELIMITERS = (",", ";", "\t", "|")
#: Rows that are looked at to find the delimiter.
_LOOKED_AT = 50
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class CsvFile:
    """A file whose header was read."""

    path: Path
    #: What messages and records call it: its name relative to the input.
    name: str
    header: tuple[str, ...]
    delimiter: str
    encoding: str
    #: Byte, and number of the line, at which the rows begin.
    start: int
    start_line: int


@dataclass(frozen=True)
class Place:
    """The position in a file at which a row begins."""

    byte: int
    #: Lines before it.
    line: int


def open_csv(path: Path, name: str, section: TableSection) -> CsvFile:
    """Read the header.

    Raises:
        SourceError: the file is empty or not text, or its header is missing, has a name twice or holds numbers.
    """
    delimiter = section.delimiter or _delimiter(path, name, section.encoding)
    reader = _Reader(path, name, delimiter, section.encoding, Place(0, 0))
    header = next(reader.rows(), None)
    if header is None:
        raise SourceError(f"{name}: the file is empty, a line of column names was expected")
    if not header:
        raise SourceError(f"{name}: the first line is empty, a line of column names was expected")
    header = [column.strip() for column in header]
    header[0] = header[0].removeprefix(_BYTE_ORDER_MARK).strip().strip('"')
    header = [column or f"column_{index + 1}" for index, column in enumerate(header)]
    twice = sorted(column for column, count in Counter(header).items() if count > 1)
    if twice:
        raise SourceError(f"{name}: the header names {twice[0]!r} twice", hint="give each column its own name")
    if all(_is_number(column) for column in header):
        raise SourceError(
            f"{name}: the first line holds numbers ({', '.join(header[:3])}), column names were expected",
            hint="add a line with a name for each column",
        )
    return CsvFile(path, name, tuple(header), delimiter, section.encoding, reader.place.byte, reader.place.line)


def rows(file: CsvFile, start: Place | None = None, count: int | None = None) -> Iterator[tuple[Place, list[str]]]:
    """Yields the position of each row and its cells; empty lines are no rows.

    Raises:
        SourceError: a row has more or fewer cells than the header, or quotes or bytes are wrong; it names the line.
    """
    reader = _Reader(file.path, file.name, file.delimiter, file.encoding, start or Place(file.start, file.start_line))
    read = 0
    begin = reader.place
    for row in reader.rows():
        if row:
            if len(row) != len(file.header):
                raise SourceError(
                    f"{file.name}, line {begin.line + 1}: {len(row)} cells, the header has {len(file.header)}"
                )
            yield begin, row
            read += 1
            if read == count:
                return
        begin = reader.place


class _Reader:
    """csv.reader over a binary file, which knows at which byte it is."""

    def __init__(self, path: Path, name: str, delimiter: str, encoding: str, start: Place) -> None:
        self._path, self._name, self._delimiter, self._encoding = path, name, delimiter, encoding
        #: Where the next row begins.
        self.place = start

    def rows(self) -> Iterator[list[str]]:
        reader = csv.reader(self._lines(), delimiter=self._delimiter, strict=True, skipinitialspace=True)
        try:
            yield from reader
        except csv.Error as error:
            raise SourceError(f"{self._name}, line {self.place.line}: this is not CSV: {error}") from error

    def _lines(self) -> Iterator[str]:
        """csv.reader asks for exactly the lines of one row before it hands that row over."""
        try:
            with open_plain(self._path) as file:
                file.seek(self.place.byte)
                for line in file:
                    self.place = Place(self.place.byte + len(line), self.place.line + 1)
                    yield line.decode(self._encoding)
        except OSError as error:
            raise SourceError(f"{self._path}: cannot be read: {reason_of(error)}") from error
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{self._name}, line {self.place.line}: byte {error.object[error.start]:#04x} is not {self._encoding}",
                hint="--set table.encoding=latin-1, if that is what it is",
            ) from error


def _delimiter(path: Path, name: str, encoding: str) -> str:
    """The one that cuts the first rows into most cells, equally many in each."""
    widths = {}
    for delimiter in DELIMITERS:
        found = set()
        try:
            for index, row in enumerate(_Reader(path, name, delimiter, encoding, Place(0, 0)).rows()):
                if row:
                    found.add(len(row))
                if index == _LOOKED_AT:
                    break
        except SourceError:
            continue  # Quotes that are wrong under this delimiter say that it is another one.
        if len(found) == 1 and found != {1}:
            widths[delimiter] = found.pop()
    # Where rows differ under every delimiter, reading them says which line is wrong.
    return max(widths, key=lambda delimiter: widths[delimiter]) if widths else _most_common(path, encoding)


def _most_common(path: Path, encoding: str) -> str:
    with open_plain(path) as file:
        first = file.readline().decode(encoding, "replace")
    return max(DELIMITERS, key=first.count)


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def names_of(paths: Sequence[Path], suffixes: Sequence[str]) -> list[tuple[Path, str]]:
    """The files that inputs name, folders looked through, each with its name relative to the input.

    Raises:
        SourceError: there are none.
    """
    found = []
    for path in paths:
        if path.is_dir():
            inside = [file for file in files_below(path) if file.suffix.lower() in suffixes]
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
