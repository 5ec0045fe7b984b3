"""Docstrings are sentences that a newcomer understands: no fragment stands where a sentence should."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import polycli

PACKAGE = Path(polycli.__file__).parent
FEWEST_WORDS = 4
#: "What is kept of a row" and "Of one row" leave a reader to guess; "The part of a row that is kept" does not.
NO_BEGINNING = {
    *("what", "of", "for", "by", "with", "to", "from", "in", "on", "at", "as", "into", "without", "within", "where"),
    *("under", "over", "between", "among", "through", "after", "before", "behind", "beside", "beyond", "during"),
    *("until", "since"),
}
ROOMS = sorted(path for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file())


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """The name and the docstring of a file and of everything in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield getattr(node, "name", "the file"), text


def is_fragment(text: str) -> bool:
    words = text.split()
    return len(words) < FEWEST_WORDS or words[0].rstrip(",.:;").lower() in NO_BEGINNING


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.stem)
def test_every_docstring_is_a_sentence(room):
    fragments = [
        f"{path.relative_to(PACKAGE)}: {name}: {text}"
        for path in (sorted(room.rglob("*.py")) if room.is_dir() else [room])
        for name, text in docstrings(path)
        if is_fragment(text)
    ]
    assert fragments == []


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("What is kept of a row.", True),
        ("Of one column in one row.", True),
        ("As JSON has it.", True),
        ("The same.", True),
        ("Always False: a simulation reads no files.", False),
        ("`with` blocks close the file at their end.", False),
        ("The part of a row that is kept.", False),
    ],
)
def test_fragments_are_told_from_sentences(text, fragment):
    assert is_fragment(text) is fragment
