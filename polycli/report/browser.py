"""Opens a report in the browser, where there is one."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from polycli import console


def open_in_browser(path: Path) -> None:
    """Open a page that was written, from rank 0 alone; where no browser starts, say where the page is."""
    if console.rank() != 0:
        return
    try:
        opened = webbrowser.open(path.resolve().as_uri())
    except (OSError, webbrowser.Error):
        opened = False
    if not opened:
        console.note(f"no browser can be started here; {path} opens in any, on another machine after copying it there")
