"""`--source json`: JSON lines, and files that are one object or an array, parsed by structure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from polycli.errors import SourceError
from polycli.xval.data.source import Block, Opened, RecordWriter
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.records.values import TOO_DEEP, Value
from polycli.xval.sources.json_records import JsonForm, proposal
from polycli.xval.sources.json_text import DuplicateKeyError, decoder, may_exceed_float64, members_of
from polycli.xval.sources.lines import BLOCK_BYTES, LineRange, LinesBlock, cut_lines, find_files

_LINES = (".jsonl", ".ndjson")
_WHOLE = (".json",)


@dataclass(frozen=True)
class JsonLinesBlock(LinesBlock):
    """Some lines of one file, each a record."""

    form: JsonForm

    def load(self, writer: RecordWriter) -> None:
        """Parse and write them.

        Raises:
            SourceError: a line is not JSON, or not UTF-8.
        """
        text = self.lines.text()
        writer.characters(len(text))
        quick, careful = decoder(careful=False), decoder(careful=True)
        doubtful = may_exceed_float64(text)
        met = 0
        for number, line in self.lines.lines(text):
            if not line or line.isspace():
                writer.count("empty lines")
                continue
            reader = careful if doubtful and may_exceed_float64(line) else quick
            name = f"{self.source}:{number}"
            try:
                value = reader.decode(line)
            except DuplicateKeyError as error:
                writer.reject(id=name, reason=str(error))
            except json.JSONDecodeError as error:
                raise malformed(
                    self.source, number, error.colno, error.msg, hint=_other_form(self.source, line)
                ) from error
            except RecursionError:
                writer.reject(id=name, reason=TOO_DEEP)
            else:
                for record, member in self.form.records(name, value):
                    self.form.write(writer, member, record, met)
                    met += 1


@dataclass(frozen=True)
class JsonFilesBlock:
    """Some whole files: each an object, which is a record, or an array of records."""

    files: tuple[tuple[Path, str], ...]
    size: int
    form: JsonForm
    limit: int | None

    @property
    def key(self) -> str:
        """A name for the block that is unique within the source."""
        return self.source

    @property
    def source(self) -> str:
        """The name of the first file."""
        return self.files[0][1]

    def load(self, writer: RecordWriter) -> None:
        """Parse and write them.

        Raises:
            SourceError: a file is empty, not JSON, or not UTF-8.
        """
        left = self.limit
        for path, name in self.files:
            pieces = _told(writer, LineRange(path, name, 0, path.stat().st_size, 1, 1).pieces())
            begun = ""
            while not begun.strip():
                piece = next(pieces, None)
                if piece is None:
                    raise SourceError(f"{name}: the file is empty", hint="leave it out, or write its records again")
                begun += piece
            for met, (record, value) in enumerate(self._records(writer, name, begun, pieces)):
                if left is not None and left <= 0:
                    return
                self.form.write(writer, value, record, met)
                left = None if left is None else left - 1

    def _records(self, writer: RecordWriter, name: str, begun: str, rest: Iterator[str]) -> Iterable[tuple[str, Value]]:
        """Names and values of the records in one file, of which some has been read."""
        if begun.lstrip().startswith("["):
            return self._members(writer, name, chain([begun], rest))
        text = "".join([begun, *rest])
        try:
            value: Any = decoder(careful=may_exceed_float64(text)).decode(text)
        except DuplicateKeyError as error:
            writer.reject(id=name, reason=str(error))
            return []
        except json.JSONDecodeError as error:
            raise malformed(name, error.lineno, error.colno, error.msg, hint=_by_line(error)) from error
        except RecursionError:
            writer.reject(id=name, reason=TOO_DEEP)
            return []
        records = list(self.form.records(name, value))
        setting = proposal(value) if len(records) == 1 and records[0][1] is value else None
        if setting is not None:
            writer.count(f"files that are one record each, and may be many: --set {setting}")
        return records

    def _members(self, writer: RecordWriter, name: str, pieces: Iterable[str]) -> Iterator[tuple[str, Value]]:
        """The members of an array, one after the other: neither all of them nor all of its text are ever in memory."""
        index = 0
        try:
            for index, value in enumerate(members_of(pieces), start=1):
                if isinstance(value, DuplicateKeyError):
                    writer.reject(id=f"{name}:{index}", reason=str(value))
                else:
                    yield f"{name}:{index}", value
        except json.JSONDecodeError as error:
            raise malformed(name, error.lineno, error.colno, error.msg, hint=_by_line(error)) from error
        except RecursionError:
            writer.reject(id=f"{name}:{index + 1}", reason=f"{TOO_DEEP}, and what follows it was not read")
        if not index:
            writer.count("files with an empty array")


def _told(writer: RecordWriter, pieces: Iterator[str]) -> Iterator[str]:
    """The pieces of a text, whose characters are counted as they are read."""
    for piece in pieces:
        writer.characters(len(piece))
        yield piece


def _by_line(error: json.JSONDecodeError) -> str | None:
    """Suggests JSON lines where something follows the one value that a file may hold."""
    return "one record on each line? name the file .jsonl" if error.msg == "Extra data" else None


def _other_form(name: str, line: str) -> str | None:
    """Suggests what a file whose lines are no records may be instead."""
    if Path(name).suffix.lower() in (".csv", ".tsv"):
        return "tables are read with --source table"
    return "one record, or an array of them, over many lines? name the file .json" if line.strip() in "[{" else None


class JsonSource:
    """Files with the suffixes .jsonl and .ndjson are read by line, .json as a whole; others by line, if named."""

    def accepts(self, path: Path) -> bool:
        """Files whose names say JSON: the beginning of a file tells JSON lines and text in braces not apart."""
        return path.suffix.lower() in (*_LINES, *_WHOLE)

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Opened:
        """Cut the files into blocks of equal size.

        Raises:
            SourceError: there are no files, or one is empty or cannot be read.
        """
        files = find_files(inputs, (*_LINES, *_WHOLE), what="json")
        form = JsonForm(recipe.json_lines)
        blocks: list[Block] = []
        whole: list[tuple[Path, str, int]] = []
        left = limit
        for path, name in files:
            if path.suffix.lower() in _WHOLE:
                whole.append((path, name, path.stat().st_size))
                continue
            if left is None or left > 0:
                ranges = cut_lines(path, name, left)
                blocks += [JsonLinesBlock(lines, form) for lines in ranges]
                left = None if left is None else left - sum(lines.most for lines in ranges)
        blocks += _whole_blocks(whole, form, left)
        return Opened(
            blocks=tuple(blocks),
            files=tuple(path for path, _ in files),
            file_names=tuple(name for _, name in files),
            options=recipe.json_lines.model_dump(mode="json"),
        )


def _whole_blocks(files: Sequence[tuple[Path, str, int]], form: JsonForm, limit: int | None) -> list[Block]:
    """Files together until they make a block; a limit leaves one block, because no file says how much it holds."""
    groups: list[list[tuple[Path, str, int]]] = []
    filled = BLOCK_BYTES
    for file in files:
        if file[2] == 0:
            raise SourceError(f"{file[0]}: the file is empty", hint="leave it out, or write its records again")
        if filled >= BLOCK_BYTES and (limit is None or not groups):
            groups.append([])
            filled = 0
        groups[-1].append(file)
        filled += file[2]
    return [
        JsonFilesBlock(tuple((path, name) for path, name, _ in group), sum(size for *_, size in group), form, limit)
        for group in groups
    ]


def malformed(name: str, line: int, column: int, problem: str, *, hint: str | None = None) -> SourceError:
    """Builds the error for text that cannot be parsed."""
    return SourceError(f"{name}, line {line}, column {column}: malformed JSON: {problem}", hint=hint)
