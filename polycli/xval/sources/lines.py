"""Files of one record a line, cut into blocks of whole lines."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from polycli.errors import SourceError
from polycli.files.plain import open_plain, reason_of
from polycli.paths import files_below

#: A block holds the lines that begin within so many bytes: a second or so of work for one process.
BLOCK_BYTES = 4 * 2**20
#: What is read of it at once where it need not be in memory as a whole.
PIECE_BYTES = 2**20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class LineRange:
    """Whole lines of a file: `size` bytes from `start` on, whose first line has the number `first`, from 1 on."""

    path: Path
    name: str
    start: int
    size: int
    first: int
    #: How many lines are wanted, at most.
    most: int

    @property
    def key(self) -> str:
        """A name for the lines that is unique within the source."""
        return f"{self.name}@{self.start}"

    def text(self) -> str:
        """All of it, decoded.

        Raises:
            SourceError: it cannot be read, or is not UTF-8; line and column of the first wrong byte are named.
        """
        try:
            with open_plain(self.path) as file:
                file.seek(self.start)
                data = file.read(self.size)
        except OSError as error:
            raise SourceError(f"{self.name}: cannot be read: {reason_of(error)}") from error
        if self.start == 0:
            data = data.removeprefix(_BOM)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + self.first
            column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
            raise SourceError(
                f"{self.name}, line {line}, column {column}: the byte 0x{data[error.start]:02x} is not UTF-8",
                hint="convert the file: iconv -f latin1 -t utf-8",
            ) from error

    def pieces(self) -> Iterator[str]:
        """The text as `text` has it, a piece at a time.

        Raises:
            SourceError: as for `text`.
        """
        decoder = codecs.getincrementaldecoder("utf-8-sig" if self.start == 0 else "utf-8")()
        left = self.size
        try:
            with open_plain(self.path) as file:
                file.seek(self.start)
                while left > 0 and (data := file.read(min(left, PIECE_BYTES))):
                    left -= len(data)
                    yield decoder.decode(data)
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            self.text()  # It says at which line and column.
            raise
        except OSError as error:
            raise SourceError(f"{self.name}: cannot be read: {reason_of(error)}") from error

    def lines(self, text: str) -> Iterator[tuple[int, str]]:
        """Numbers and texts of the lines, without their ends."""
        # Not splitlines: texts may hold other characters that some take for the end of a line.
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        return zip(range(self.first, self.first + self.most), lines, strict=False)


@dataclass(frozen=True)
class LinesBlock:
    """Some lines of one file, each a record."""

    lines: LineRange

    @property
    def key(self) -> str:
        """A name for the block that is unique within the source."""
        return self.lines.key

    @property
    def source(self) -> str:
        """The name of the file."""
        return self.lines.name

    @property
    def size(self) -> int:
        """The size of the block in bytes."""
        return self.lines.size


def cut_lines(path: Path, name: str, limit: int | None = None) -> list[LineRange]:
    """The blocks of a file; `limit` keeps at most so many lines.

    Raises:
        SourceError: the file is empty, or cannot be read.
    """
    ranges: list[LineRange] = []
    start, number, wanted = 0, 1, limit if limit is not None else 2**62
    try:
        with open_plain(path) as file:
            while wanted > 0 and (data := file.read(BLOCK_BYTES)):
                # What is left of the last line belongs to the block in which the line begins.
                data += file.readline() if not data.endswith(b"\n") else b""
                count = data.count(b"\n") + (not data.endswith(b"\n"))
                ranges.append(LineRange(path, name, start, len(data), number, min(count, wanted)))
                start, number, wanted = start + len(data), number + count, wanted - count
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {reason_of(error)}") from error
    if not ranges:
        raise SourceError(f"{path}: the file is empty", hint="leave it out, or write its records again")
    return ranges


def find_files(inputs: Sequence[Path], suffixes: Sequence[str], *, what: str) -> list[tuple[Path, str]]:
    """The files that the inputs name, with names relative to them; folders are searched for the suffixes.

    Raises:
        SourceError: there are none, or a folder holds none.
    """
    if not inputs:
        raise SourceError(f"--source {what} reads files, and there is no --input", hint="--input FILE_OR_FOLDER")
    found: dict[Path, str] = {}
    for path in inputs:
        if not path.is_dir():
            found.setdefault(path, path.name)
            continue
        inside = [file for file in files_below(path) if file.suffix.lower() in suffixes]
        if not inside:
            raise SourceError(f"{path}: there is no file with the suffix {' or '.join(suffixes)} in this folder")
        for file in inside:
            found.setdefault(file, file.relative_to(path).as_posix())
    return _told_apart(found)


def _told_apart(found: dict[Path, str]) -> list[tuple[Path, str]]:
    """Files of equal names in different folders keep their folder's name, or, if need be, their whole path."""
    names = Counter(found.values())
    longer = {path: f"{path.parent.name}/{name}" for path, name in found.items()}
    same = Counter(longer.values())
    result = []
    for path, name in found.items():
        if names[name] == 1:
            result.append((path, name))
        else:
            result.append((path, longer[path] if same[longer[path]] == 1 else path.as_posix().lstrip("/")))
    return result
