"""stdout is data, stderr is talk: everything that a command says goes through here, and only rank 0 speaks.

On a terminal, progress is a bar; elsewhere (a Slurm log, a pipe, CI) it is a plain line every 30 seconds. Rich is
imported when the first bar is drawn, so that `polycli --help` does not pay for it.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from polycli.names import clean, clean_lines

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from polycli.requests import JsonDocument

_Item = TypeVar("_Item")
#: Seconds between two plain lines of progress where there is no terminal.
PLAIN_INTERVAL = 30.0
_STYLES = {"warning": "33", "note": "36", "error": "31"}
#: Whether notes, warnings and progress are held back, see `muted`.
_muted: list[bool] = []
#: The bar that is on screen; lines are printed above it rather than through it.
_live: list[RichProgress] = []


def rank() -> int:
    """This process's place among all ranks, from RANK (torchrun) or SLURM_PROCID (srun); 0 where neither is set."""
    for variable in ("RANK", "SLURM_PROCID"):
        value = os.environ.get(variable, "")
        if value.isdigit():
            return int(value)
    return 0


def say(message: str) -> None:
    """Prints a plain line on stderr, on rank 0 alone."""
    if _speaks():
        _line(message)


def say_where(what: str, path: PurePath) -> None:
    """Prints a line on where something is: on a terminal the path is a link, which opens by a click (OSC 8).

    Terminals without links show the path as it is.
    """
    if _speaks():
        _print(clean(f"{what}: ") + _linked(path))


def note(message: str) -> None:
    """A line on stderr about something that the user may want to know and need not act on."""
    if _speaks():
        _line(message, mark="note")


def warn(message: str) -> None:
    """A line on stderr about something that the user should look at."""
    if _speaks():
        _line(message, mark="warning")


@contextmanager
def muted() -> Iterator[None]:
    """Inside it nothing is said but errors: for work that is done a second time, and has spoken before."""
    _muted.append(True)
    try:
        yield
    finally:
        _muted.pop()


def error(message: str) -> None:
    """The last line of a failed command, on stderr, from whichever rank failed."""
    where = f"rank {rank()}: " if rank() else ""
    _line(where + message, mark="error")


def result(document: JsonDocument | Sequence[Any] | str) -> None:
    """Print a result on stdout: text as it is, anything else as one JSON document, where NaN and infinity are null."""
    if rank() == 0:
        if isinstance(document, str):
            text = clean_lines(document)
        else:
            text = json.dumps(_plain(document), indent=2, allow_nan=False)
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()


def counted(number: int, singular: str, plural: str) -> str:
    """Renders a count with its noun, as `1 trajectory` or `1,200 trajectories`."""
    return f"{number:,} {singular if number == 1 else plural}"


def first_few(items: Sequence[_Item], most: int, show: Callable[[_Item], str] = str) -> str:
    """The first of some items, each as `show` names it, and how many more there are.

    >>> first_few(["u", "v", "pressure", "density"], 2)
    'u, v and 2 more'
    """
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(map(show, items[:most])) + more


def terminal() -> bool:
    """Whether stderr is a screen that somebody watches."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


class ProgressReport(Protocol):
    """The handle with which a task reports its progress to `progress`."""

    def advance(self, n: int = 1) -> None:
        """`n` more of the total are done."""
        ...

    def update(self, **columns: object) -> None:
        """Numbers to show beside the bar, by name; floats are shortened to four digits."""
        ...


@contextmanager
def progress(total: int, description: str, *, initial: int = 0) -> Iterator[ProgressReport]:
    """Report work on `total` things; `initial` of them were done before and count for the bar, not for the speed."""
    if not _speaks():
        yield _SilentReport()
    elif terminal() and not _live:
        with _bar(total, description, initial) as bar:
            yield bar
    else:
        plain = _PlainReport(total, description, initial)
        yield plain
        plain.close()


class _SilentReport:
    """The report of ranks other than 0, which shows nothing."""

    def advance(self, n: int = 1) -> None:
        pass

    def update(self, **columns: object) -> None:
        pass


class _PlainReport:
    """A line now and then, for logs."""

    def __init__(self, total: int, description: str, initial: int) -> None:
        self.total, self.description, self.initial, self.done = total, description, initial, initial
        self.columns: dict[str, object] = {}
        self.started = self.spoke = time.monotonic()
        self.lock = threading.Lock()

    def advance(self, n: int = 1) -> None:
        with self.lock:
            self.done += n
            now = time.monotonic()
            if now - self.spoke >= PLAIN_INTERVAL and self.done < self.total:
                self.spoke = now
                seconds = now - self.started
                rate = (self.done - self.initial) / seconds
                left = [f"{_duration((self.total - self.done) / rate)} left"] if rate > 0 else []
                _line(self._text([f"{_number(rate)}/s", *left]))

    def update(self, **columns: object) -> None:
        with self.lock:
            self.columns.update(columns)

    def close(self) -> None:
        """The closing line, which stands even where the work was shorter than one interval."""
        _line(self._text([f"took {_duration(time.monotonic() - self.started)}"]))

    def _text(self, ending: Sequence[str]) -> str:
        share = f" ({100 * self.done // self.total} %)" if self.total else ""
        return ", ".join([f"{self.description}: {self.done}/{self.total}{share}", *_columns(self.columns), *ending])


class _BarReport:
    """A Rich bar on a terminal."""

    def __init__(self, bar: RichProgress, task: TaskID) -> None:
        self.bar, self.task = bar, task
        self.columns: dict[str, object] = {}

    def advance(self, n: int = 1) -> None:
        self.bar.advance(self.task, n)

    def update(self, **columns: object) -> None:
        self.columns.update(columns)
        self.bar.update(self.task, columns=", ".join(_columns(self.columns)))


@contextmanager
def _bar(total: int, description: str, initial: int) -> Iterator[_BarReport]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    screen = Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")))
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[columns]}", markup=False),
    )
    # Standard streams are left alone: stdout belongs to results.
    with Progress(*columns, console=screen, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(clean(description), total=total, completed=initial, columns="")
        _live.append(bar)
        try:
            yield _BarReport(bar, task)
        finally:
            _live.remove(bar)


def _speaks() -> bool:
    return rank() == 0 and not _muted


def _linked(path: PurePath) -> str:
    shown = clean(path)
    if not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb" or os.environ.get("NO_COLOR"):
        return shown
    return f"\x1b]8;;{Path(path).resolve().as_uri()}\x1b\\{shown}\x1b]8;;\x1b\\"


def _line(message: str, mark: str | None = None) -> None:
    # Names of files and of what is in them are somebody's data, and a terminal obeys escape sequences.
    message = clean_lines(message)
    text = message
    if mark is not None:
        coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        text = (f"\x1b[{_STYLES[mark]}m{mark}:\x1b[0m " if coloured else f"{mark}: ") + message
    _print(text)


def _print(text: str) -> None:
    """Write a line that is safe to show, above the bar where there is one."""
    if _live:
        from rich.text import Text

        _live[-1].console.print(Text.from_ansi(text), soft_wrap=True)
    else:
        # A terminal or a pipe whose other end is gone hears nothing, and must not end the work.
        with suppress(OSError):
            print(text, file=sys.stderr, flush=True)  # noqa: T201  # This is where all printing ends.


def _columns(columns: Mapping[str, object]) -> list[str]:
    return [f"{name.replace('_', ' ')} {_number(value)}" for name, value in columns.items()]


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    """A length of time in the two largest units that matter."""
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _plain(value: object) -> object:
    """The same document in what JSON knows: paths become text, tuples lists, non-finite numbers null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, PurePath):
        return str(value)
    # numpy and torch scalars say what they hold through `item`; the check needs neither library.
    item = getattr(value, "item", None)
    return _plain(item()) if callable(item) else value
