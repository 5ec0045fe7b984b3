"""Writes the reference pages that are made from the program itself, into docs/reference.

    python -m tools.pages

They are not part of the repository, so that no page can be older than the program; `make docs` writes them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from polycli.families import SHIPPED
from tools import command_line, recipes

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
MADE: dict[str, Callable[[], str]] = {
    "command-line.md": command_line.page,
    "recipes.md": recipes.page,
    **{f"keys-{family}.md": partial(recipes.keys_page, family) for family in SHIPPED},
}


def write(folder: Path = FOLDER) -> None:
    """Write every page that has changed."""
    folder.mkdir(exist_ok=True)
    for name, page in MADE.items():
        text = page()
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
