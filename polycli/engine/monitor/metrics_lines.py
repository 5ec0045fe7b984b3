"""Reads metrics.jsonl line by line, so that a damaged line is known by its number. Imports nothing heavy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from polycli.files.plain import open_plain

KINDS = ("train", "validation", "spike", "bad_step")


@dataclass(frozen=True)
class MetricsLine:
    """One line of metrics.jsonl: a document, or damage."""

    #: Counted from 1.
    number: int
    #: Its bytes, with the end of line where it has one.
    content: bytes
    step: int = 0
    kind: str = ""
    learning_rate: float | None = None
    #: What is wrong with it; None for a sound line.
    damage: str | None = None

    @property
    def cut_short(self) -> bool:
        """Whether it is the beginning of a line whose writing was killed, which is no damage."""
        return not self.content.endswith(b"\n")


def read_lines(path: Path) -> Iterator[MetricsLine]:
    """Every line of the file, in order; none where there is no file.

    Raises:
        OSError: it cannot be read, or is no plain file: a device may never end.
    """
    if not path.exists():
        return
    with open_plain(path) as file:
        for number, content in enumerate(file, start=1):
            yield _line(number, content)


def _line(number: int, content: bytes) -> MetricsLine:
    try:
        document = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        return MetricsLine(number, content, damage="no JSON document")
    if not isinstance(document, dict):
        return MetricsLine(number, content, damage="no JSON object")
    step, kind, rate = (document.get(key) for key in ("step", "kind", "learning_rate"))
    if kind not in KINDS:
        return MetricsLine(number, content, damage=f"its kind is {kind!r}, not one of {', '.join(KINDS)}")
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        return MetricsLine(number, content, damage=f"its step is {step!r}, not a number of steps")
    return MetricsLine(number, content, step, kind, rate if isinstance(rate, float) else None)
