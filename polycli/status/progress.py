"""The answer of `polycli status`: what is done, what runs, what is missing, how fast, and what went wrong first."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from polycli.console import counted
from polycli.requests import JsonDocument

#: `stopped`: not complete, and nobody is seen to work on it.
State = Literal["complete", "running", "stopped", "failed"]


@dataclass(frozen=True)
class Progress:
    """How far some work has come."""

    path: Path
    #: store, run, embeddings or study.
    kind: str
    state: State
    #: One piece of the work, and several.
    noun: tuple[str, str]
    done: int
    running: int = 0
    #: None where nobody knows how many there will be.
    missing: int | None = None
    #: Rows that could not be used.
    quarantined: int = 0
    rows: int | None = None
    rows_per_second: float | None = None
    #: Seconds that the rest will take at this speed, where somebody works on it.
    seconds_left: float | None = None
    error: str | None = None

    def document(self) -> JsonDocument:
        """The answer as JSON."""
        left = self.seconds_left
        return {
            "path": str(self.path),
            "kind": self.kind,
            "state": self.state,
            "units": {
                "noun": self.noun[0],
                "done": self.done,
                "running": self.running,
                "missing": self.missing,
                "quarantined": self.quarantined,
            },
            "rows": self.rows,
            "rows_per_second": self.rows_per_second,
            "seconds_left": left,
            "expected_end": None if left is None else _clock(time.time() + left, "%Y-%m-%dT%H:%M:%S"),
            "error": self.error,
        }

    def lines(self) -> list[str]:
        """The answer as people read it."""
        pieces = [f"{counted(self.done, *self.noun)} done"]
        pieces += [f"{self.running:,} running"] if self.running else []
        pieces += [f"{self.missing:,} missing"] if self.missing else []
        found = [f"{self.path}: {self.kind}, {self.state}: {', '.join(pieces)}"]
        speed = [f"{self.rows:,} rows"] if self.rows is not None else []
        speed += [f"{self.rows_per_second:,.4g} rows/s"] if self.rows_per_second else []
        if self.seconds_left is not None:
            speed.append(f"expected end {_clock(time.time() + self.seconds_left, '%a %H:%M')}")
        found += [f"  {', '.join(speed)}"] if speed else []
        found += [f"  {counted(self.quarantined, 'row', 'rows')} put aside"] if self.quarantined else []
        found += [f"  error: {self.error}"] if self.error else []
        return found


def _clock(moment: float, form: str) -> str:
    return time.strftime(form, time.localtime(moment))
