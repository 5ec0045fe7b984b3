"""The page's own files: HTML, CSS and JavaScript, which lie in the package and are read when the server starts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

#: Files of these kinds are the page's, and no others.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
INDEX = "index.html"


@dataclass(frozen=True)
class Asset:
    """A file that the browser loads."""

    content: bytes
    kind: str

    @property
    def tag(self) -> str:
        """A tag by which the browser knows whether the file it has is still the same."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


def load_assets() -> dict[str, Asset]:
    """All files of the page by name. What is not among them cannot be asked for, whatever the path.

    >>> sorted(name for name in load_assets() if name.endswith((".html", ".css")))
    ['index.html', 'page.css']
    """
    found = {}
    for entry in files("polycli.page").joinpath("static").iterdir():
        suffix = f".{entry.name.rpartition('.')[2]}"
        if entry.is_file() and suffix in _TYPES:
            found[entry.name] = Asset(entry.read_bytes(), _TYPES[suffix])
    return found
