"""The blocks of a page: what each holds, and how the comment above it says that it is run.

<!-- run -->            in `make test`
<!-- slow -->           in `make test-docs`, with all of its page
<!-- gpu -->            on a GPU alone
<!-- not run: WHY -->   never, and why
<!-- file: NAME -->     written to a file, which the blocks below use
<!-- output -->         what the Python block above prints
<!-- given: NAME ... -->  no block: files of the reader's that the blocks below use, made by `given.py`
<!-- afresh -->         no block: what is below needs nothing from above, so `make test-docs` runs it by itself
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sybil import Document
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

ROOT = Path(__file__).resolve().parents[2]
#: The pages that people read; those that are made from the program have no commands to run.
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name != "reference"),
]
#: Sessions of new users, who follow pages with data that the pages' author did not make.
NEW_USERS = sorted((ROOT / "tests" / "docs" / "new_users").glob("*.md"))
#: Languages whose blocks must say how they run.
EXECUTABLE = ("console", "python")
_COMMENT = re.compile(
    r"^[ \t]*<!-- (?P<mark>run|slow|gpu|output|file|not run)(?:: (?P<said>[^\n]+?))? -->\n\Z", re.MULTILINE
)
_GIVEN = re.compile(r"^<!-- given: (?P<names>[^\n]+?) -->$", re.MULTILINE)
_AFRESH = re.compile(r"^<!-- afresh -->$", re.MULTILINE)
_FENCES = FencedCodeBlockLexer(r"[a-z]+")


@dataclass(frozen=True)
class Block:
    """A fenced block, or a mark by itself: `given`, with the names of files that the next blocks find, or `afresh`."""

    page: Path
    line: int
    language: str
    source: str
    #: One of the marks above; empty where nothing is said.
    mark: str
    #: A reason, or names of files.
    said: str = ""

    @property
    def place(self) -> str:
        """Names the page and the line, as an editor opens them."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, and what is given, in their order."""
    text = page.read_text(encoding="utf-8")
    return [block for _, block in sorted(_found(page, text), key=lambda found: found[0])]


def parts_of(page: Path) -> list[list[Block]]:
    """The blocks of a page, cut where it says `afresh`: no part needs what another one left."""
    parts: list[list[Block]] = [[]]
    for block in blocks_of(page):
        if block.mark == "afresh":
            parts.append([])
        else:
            parts[-1].append(block)
    return parts


def _found(page: Path, text: str) -> Iterator[tuple[int, Block]]:
    for region in _FENCES(Document(text, str(page))):
        above = _COMMENT.search(text[: text.rfind("\n", 0, region.start) + 1])
        mark, said = (above["mark"], above["said"] or "") if above else ("", "")
        yield (
            region.start,
            Block(
                page, _line(text, region.start), region.lexemes["language"], str(region.lexemes["source"]), mark, said
            ),
        )
    for given in _GIVEN.finditer(text):
        yield given.start(), Block(page, _line(text, given.start()), "", "", "given", given["names"])
    for afresh in _AFRESH.finditer(text):
        yield afresh.start(), Block(page, _line(text, afresh.start()), "", "", "afresh")


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1
