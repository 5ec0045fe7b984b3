"""`--source python-lines`: one Python literal a line, the format of the original project; nothing is ever run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polycli.errors import SourceError
from polycli.xval.data.source import Opened, RecordWriter
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.sources.json_records import JsonForm
from polycli.xval.sources.json_text import DuplicateKeyError
from polycli.xval.sources.lines import LinesBlock, cut_lines, find_files
from polycli.xval.sources.python_literals import LiteralError, read_literal

_SUFFIXES = (".txt", ".py", ".lines")
#: Bytes in which a file that is not empty begins to say something.
_START = 4096


@dataclass(frozen=True)
class PythonLinesBlock(LinesBlock):
    """Some lines of one file, each a record."""

    form: JsonForm

    def load(self, writer: RecordWriter) -> None:
        """Parse and write them.

        Raises:
            SourceError: a line is no literal, or not UTF-8.
        """
        text = self.lines.text()
        writer.characters(len(text))
        notes: Counter[str] = Counter()
        for number, line in self.lines.lines(text):
            if not line or line.isspace():
                notes["empty lines"] += 1
                continue
            name = f"{self.source}:{number}"
            try:
                value = read_literal(line, notes)
            except DuplicateKeyError as error:
                writer.reject(id=name, reason=str(error))
            except LiteralError as error:
                raise SourceError(
                    f"{self.source}, line {number}, column {error.column}: {error}; "
                    "a Python literal on each line was expected",
                    hint="JSON is read with --source json",
                ) from error
            else:
                self.form.write(writer, value, name, number)
        for what, count in notes.items():
            writer.count(what, count)


class PythonLinesSource:
    """Text files; folders are searched for .txt, .py and .lines."""

    def accepts(self, path: Path) -> bool:
        """Files whose names may say text, and whose first line begins as a literal does."""
        if path.suffix.lower() not in _SUFFIXES or not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(_START).lstrip()[:1] in (b"{", b"[", b"(")

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Opened:
        """Cut the files into blocks of equal size.

        Raises:
            SourceError: there are no files, or one is empty or cannot be read.
        """
        files = find_files(inputs, _SUFFIXES, what="python-lines")
        blocks: list[PythonLinesBlock] = []
        left = limit
        for path, name in files:
            if left is None or left > 0:
                ranges = cut_lines(path, name, left)
                blocks += [PythonLinesBlock(lines, JsonForm(recipe.json_lines)) for lines in ranges]
                left = None if left is None else left - sum(lines.most for lines in ranges)
        return Opened(
            blocks=tuple(blocks),
            files=tuple(path for path, _ in files),
            file_names=tuple(name for _, name in files),
            options=recipe.json_lines.model_dump(mode="json"),
        )
