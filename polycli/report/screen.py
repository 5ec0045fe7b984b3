"""The screen that results are read on: how wide it is, and addresses that can be opened by a click."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def width() -> int | None:
    """The columns of the terminal on which stdout is shown, COLUMNS where it is set; None where nobody watches it."""
    said = os.environ.get("COLUMNS", "")
    if said.isdigit() and int(said) > 0:
        return int(said)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError, AttributeError):
        return None


def linked(path: Path) -> str:
    """The path, on a terminal as a link to it (OSC 8), which terminals without links show as it is."""
    if not sys.stderr.isatty() or os.environ.get("TERM") in (None, "dumb") or os.environ.get("NO_COLOR"):
        return str(path)
    return f"\x1b]8;;{path.resolve().as_uri()}\x1b\\{path}\x1b]8;;\x1b\\"
