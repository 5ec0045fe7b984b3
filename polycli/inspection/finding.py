"""The result of `polycli inspect`: lines for people, a document for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycli.files.documents import LARGEST_DOCUMENT, parse_json
from polycli.files.plain import read_bytes
from polycli.requests import JsonDocument

#: A list longer than this is cut, so that an answer stays near ten lines.
SHOWN = 8
#: The attribute `format` of what `predict` writes.
FORECAST = "polycli-forecast"


@dataclass(frozen=True)
class Finding:
    """The answer of `inspect` about one path."""

    lines: tuple[str, ...]
    document: JsonDocument

    def extended(self, name: str, fact: str) -> Finding:
        """Returns this finding with one more fact behind the others."""
        return Finding((*self.lines, f"  {name}  {fact}"), {**self.document, name: fact})


def describe(path: Path, kind: str, facts: Mapping[str, object], document: JsonDocument | None = None) -> Finding:
    """A finding of the usual form: what it is, then one indented line per fact that is known."""
    known = {name: value for name, value in facts.items() if value not in (None, "", (), [], {})}
    width = max((len(name) for name in known), default=0)
    lines = [f"{path}: {kind}", *(f"  {name.ljust(width)}  {_text(value)}" for name, value in known.items())]
    return Finding(tuple(lines), {"kind": kind, "path": str(path), **known} if document is None else document)


def shortened(items: Iterable[str], separator: str = ", ") -> str:
    """The first few items, and how many more there are."""
    listed = list(items)
    more = f"{separator}and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return separator.join(listed[:SHOWN]) + more


def byte_size(count: float) -> str:
    """Renders a number of bytes for people, as `12.3 MiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return shortened(f"{name} {item}" for name, item in value.items())
    return shortened(map(str, value)) if isinstance(value, list | tuple) else str(value)


def read_json(path: Path) -> dict[str, Any]:
    """The document, or nothing where there is none: whoever needs it whole reads it through its own module."""
    try:
        document = parse_json(read_bytes(path, LARGEST_DOCUMENT))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
