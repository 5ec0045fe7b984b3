"""Writes docs/when-it-fails.md from `failures.toml` and from what its lines say when they are run.

python -m tests.docs.failures
"""

from __future__ import annotations

import os
import re
import tempfile
import textwrap
import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from polycli import errors
from tests.docs.blocks import ROOT, Block
from tests.docs.given import GIVEN
from tests.docs.session import Session, typed

CATALOGUE = Path(__file__).with_name("failures.toml")
PAGE = ROOT / "docs" / "when-it-fails.md"
INTRODUCTION = """# When it fails

Every line below was run, and ended as it is shown: a sentence that names the thing, what was found and what was
expected, and often a hint with the next command. Nothing is written where a line ends with 2. Look for a word of your
message; what is not here is told by its own hint. This page is written by `python -m tests.docs.failures`, and tests
run its lines.

| exit code | | what to do |
|---|---|---|
| 0 | done | |
| 1 | it failed after it had begun: numbers that are not finite, a full disk, memory | the message names what is left |
| 2 | the input, the recipe or the line is wrong; nothing was written | mend what is named |
| 75 | stopped by a signal, after saving | run the same line again |

`torchrun` turns every failure into 1; `status.json` in the run has the truth. A failure that polycli did not foresee
is a fault of polycli: it says in which file its traceback lies, and `POLYCLI_DEBUG=1` shows it. With `--json` an error
is one line of JSON on stderr, with `kind`, `message`, `hint` and `exit_code`:

| kind | is |
|---|---|
"""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(_Record):
    """A line that fails."""

    title: str
    line: str
    cause: str
    way: str
    given: tuple[str, ...] = ()
    file: str = ""
    text: str = ""


class Part(_Record):
    """Lines of one kind."""

    title: str
    entry: tuple[Entry, ...]


def catalogue() -> tuple[Part, ...]:
    """What `failures.toml` has."""
    return tuple(Part.model_validate(part) for part in tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))["part"])


def kinds() -> list[type[errors.PolycliError]]:
    """The classes of errors, in the order of the module."""
    return [
        found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, errors.PolycliError)
    ]


def page(messages: Sequence[str]) -> str:
    """The page, with what each line says, in the order of the catalogue."""
    said = iter(messages)
    rows = "".join(f"| `{kind.__name__}` | {(kind.__doc__ or '').splitlines()[0]} |\n" for kind in kinds())
    parts = [INTRODUCTION, rows]
    for part in catalogue():
        parts.append(f"\n## {part.title}\n")
        parts.extend(_entry(entry, next(said)) for entry in part.entry)
    return "".join(parts)


def _entry(entry: Entry, message: str) -> str:
    lines = [f"\n### {entry.title}\n\n"]
    if entry.file:
        language = {"yaml": "yaml", "jsonl": "json", "csv": "text"}[entry.file.rpartition(".")[2]]
        lines.append(f"`{entry.file}`:\n\n<!-- file: {entry.file} -->\n```{language}\n{entry.text.lstrip()}```\n\n")
    if entry.given:
        lines.append(f"<!-- given: {' '.join(entry.given)} -->\n")
    lines.append(f"<!-- run -->\n```console\n$ polycli {entry.line}\n{message}\n```\n\n{entry.cause} {entry.way}\n")
    return "".join(lines)


def shown(said: str, folder: Path) -> str:
    """The lines from the error on, without the folder's path, and wrapped as the page has it."""
    said = said[re.search(r"^[Ee]rror:", said, re.MULTILINE).start() :].strip()  # type: ignore[union-attr]
    for path in (str(folder), str(ROOT)):
        said = said.replace(f"{path}/", ".../")
    said = re.sub(r"\b[0-9a-f]{12}\.\.\.", "...", said)
    # As in doctest, three dots stand for anything: here for what is said before the error, such as progress.
    wrapped = [
        "\n".join(textwrap.wrap(line, 118, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))
        for line in said.splitlines()
    ]
    return "\n".join(wrapped)


def run(entry: Entry, folder: Path) -> str:
    """What the line says in the folder, as the page shows it."""
    session = Session(folder, GIVEN)
    session.run(Block(PAGE, 0, "", "", "given", " ".join(entry.given)))
    if entry.file:
        session.run(Block(PAGE, 0, "text", entry.text.lstrip(), "file", entry.file))
    _, said = typed(f"polycli {entry.line}", folder)
    message = shown(said, folder)
    return message if re.match(r"[Ee]rror:", said) else f"...\n{message}"


def write() -> None:
    """Run every line and write the page."""
    folder = Path(tempfile.mkdtemp()).resolve()
    os.chdir(folder)
    os.environ |= {"COLUMNS": "120", "NO_COLOR": "1"}
    messages = [run(entry, folder) for part in catalogue() for entry in part.entry]
    PAGE.write_text(page(messages), encoding="utf-8")


if __name__ == "__main__":
    write()
