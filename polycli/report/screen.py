"""The screen that results are read on: how wide it is, and columns that fit it."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Sequence

#: A last column narrower than this would be a pillar of single words.
_FEWEST_COLUMNS = 24
#: What stands before the value in a line of a name and a value.
_LABEL = re.compile(r"\s*\S+(?: \S+)* {2,}(?=\S)")


def width() -> int | None:
    """The columns of the terminal on which stdout is shown, COLUMNS where it is set; None where nobody watches it."""
    said = os.environ.get("COLUMNS", "")
    if said.isdigit() and int(said) > 0:
        return int(said)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError, AttributeError):
        return None


def columns(rows: Sequence[Sequence[object]], header: Sequence[str], *, within: int | None = None) -> str:
    """Rows of cells as aligned columns of text, within the screen or so many characters.

    Where they are wider, the last column is broken into lines; where that leaves it too narrow, every row is a list.
    """
    within = width() if within is None else within
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(header))]
    left = sum(widths[:-1]) + 2 * (len(widths) - 1)
    if within is None or left + widths[-1] <= within:
        return "\n".join(_joined(line, widths) for line in cells)
    if within - left < min(_FEWEST_COLUMNS, widths[-1]):
        return "\n".join(_as_list(line, header, within) for line in cells[1:])
    lines = []
    for *first, last in cells:
        parts = textwrap.wrap(last, within - left) or [""]
        lines += [_joined([*first, parts[0]], widths), *(" " * left + part for part in parts[1:])]
    return "\n".join(lines)


def folded(line: str, *, within: int | None = None) -> str:
    """A line of a name and a value, as many lines as the screen needs: broken between words, below the value.

    Where too little room is left beside the name, the value goes on below it.
    """
    within = width() if within is None else within
    if within is None or len(line) <= within:
        return line
    label = _LABEL.match(line)
    indent = 4 if label is None or within - label.end() < _FEWEST_COLUMNS else label.end()
    return "\n".join(
        textwrap.wrap(
            line,
            within,
            subsequent_indent=" " * indent,
            drop_whitespace=True,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def _joined(line: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _as_list(line: Sequence[str], header: Sequence[str], within: int) -> str:
    first, *rest = line
    parts = [f"{name}: {cell}" for name, cell in zip(header[1:], rest, strict=True)]
    # An address that is broken cannot be opened by a click, nor copied.
    wrapper = textwrap.TextWrapper(
        within, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    broken = [wrapper.wrap(part) for part in parts]
    return "\n".join([*(textwrap.wrap(first, within) or [""]), *(text for part in broken for text in part)])
