"""`--source text`: free text whose numbers a grammar finds; a record for each line, paragraph or file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from polycli.errors import SourceError
from polycli.files.plain import check_plain
from polycli.xval.data.source import Block, Opened, RecordWriter
from polycli.xval.recipe.sources import TextSection
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.records.values import FreeText
from polycli.xval.sources.tables.csv_files import names_of

SUFFIXES = (".txt", ".md", ".text")
BLOCK_BYTES = 2**20
BLOCK_FILES = 64
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class Lines:
    """The lines that begin within some bytes of a file; each is a record."""

    path: Path
    source: str
    start: int
    size: int
    encoding: str
    #: Records of it that are wanted.
    limit: int | None = None

    @property
    def key(self) -> str:
        """A name for the block that is unique within the source."""
        return f"{self.source}@{self.start}"

    def load(self, writer: RecordWriter) -> None:
        """Read and write them; their ids say at which byte they begin."""
        for place, text in islice(self.records(), self.limit):
            writer.characters(len(text))
            writer.add(FreeText(text), id=f"{self.source}@{place}")

    def records(self) -> Iterator[tuple[int, str]]:
        """First byte and text of each line that is not empty."""
        with self.path.open("rb") as file:
            place = self.start
            if place:
                # A line that began before this block belongs to the one before.
                file.seek(place - 1)
                place += len(file.readline()) - 1
            while place < self.start + self.size:
                line = file.readline()
                if not line:
                    break
                text = _decoded(line, self.encoding, self.path, self.source, place)
                if text.strip():
                    yield place, text.rstrip("\r\n")
                place += len(line)


@dataclass(frozen=True)
class Wholes:
    """Some files, each of which is one record or, in paragraphs, several."""

    files: tuple[tuple[Path, str], ...]
    size: int
    section: TextSection
    limit: int | None = None

    @property
    def key(self) -> str:
        """A name for the block that is unique within the source."""
        return f"{self.source} and {len(self.files) - 1} more"

    @property
    def source(self) -> str:
        """The name of the first file."""
        return self.files[0][1]

    def load(self, writer: RecordWriter) -> None:
        """Reads the files and writes each as a record."""
        for name, text in islice(self.records(), self.limit):
            writer.characters(len(text))
            writer.add(FreeText(text), id=name)

    def records(self) -> Iterator[tuple[str, str]]:
        """Name and text of each record."""
        for path, name in self.files:
            text = _decoded(path.read_bytes(), self.section.encoding, path, name, 0)
            if self.section.record == "file":
                yield name, text
                continue
            paragraphs = [part.strip("\r\n") for part in text.replace("\r\n", "\n").split("\n\n") if part.strip()]
            for number, part in enumerate(paragraphs):
                yield f"{name}#{number + 1}", part


class TextSource:
    """The source `text`, as its section of the recipe describes it."""

    def accepts(self, path: Path) -> bool:
        """Text files by their names; what lies beside data to explain it, README.md say, is none."""
        return path.suffix.lower() in (".txt", ".text")

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Opened:
        """Cut files into stretches of lines, or take them whole.

        Raises:
            SourceError: an input is missing or empty.
        """
        section = recipe.text
        named = names_of(inputs, SUFFIXES)
        for path, name in named:
            if check_plain(path) == 0:
                raise SourceError(f"{name}: the file is empty, text was expected")
        cut: Sequence[Lines | Wholes] = list(
            _line_blocks(named, section) if section.record == "line" else _whole_blocks(named, section)
        )
        blocks: tuple[Block, ...] = tuple(cut if limit is None else _limited(cut, limit))
        return Opened(
            blocks=blocks,
            files=tuple(path for path, _ in named),
            file_names=tuple(name for _, name in named),
            options=section.model_dump(mode="json"),
        )


def _line_blocks(named: Sequence[tuple[Path, str]], section: TextSection) -> Iterator[Lines]:
    for path, name in named:
        size = path.stat().st_size
        for start in range(0, size, BLOCK_BYTES):
            yield Lines(path, name, start, min(BLOCK_BYTES, size - start), section.encoding)


def _whole_blocks(named: Sequence[tuple[Path, str]], section: TextSection) -> Iterator[Wholes]:
    for start in range(0, len(named), BLOCK_FILES):
        files = tuple(named[start : start + BLOCK_FILES])
        yield Wholes(files, sum(path.stat().st_size for path, _ in files), section)


def _limited(blocks: Sequence[Lines | Wholes], limit: int) -> Iterator[Lines | Wholes]:
    """The blocks that the first `limit` records stand in."""
    for block in blocks:
        found = sum(1 for _ in islice(block.records(), limit))
        yield replace(block, limit=min(found, limit))
        limit -= found
        if limit <= 0:
            return


def _decoded(data: bytes, encoding: str, path: Path, name: str, first_byte: int) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        with path.open("rb") as file:
            line = file.read(first_byte + error.start).count(b"\n") + 1
        raise SourceError(
            f"{name}, line {line}: byte {data[error.start]:#04x} is not {encoding}",
            hint="--set text.encoding=latin-1, if that is what it is",
        ) from error
    return text.removeprefix(_BYTE_ORDER_MARK) if first_byte == 0 else text
