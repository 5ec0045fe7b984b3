"""Signals that ask a process to stop: which they are, and what becomes of them while it leaves.

Imports nothing heavy: the parent of local ranks, the engine and the command line need it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

#: They ask a run to save and stop. SIGHUP comes when a terminal goes away, as with a lost ssh connection.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
#: Exit code of a process that has saved everything.
PREEMPTED = 75
#: Exit code of a command that Ctrl-C ended, as shells have it.
INTERRUPTED = 130
#: Seconds within which a process that has saved is sure to have ended; until then no signal changes its exit code.
LEAVING_SECONDS = 30.0

_Handler = Callable[[int, FrameType | None], Any]


def listen(handler: _Handler) -> dict[int, Any]:
    """Have `handler` called for every stop signal; the handlers that were there before are returned.

    `nohup` has a process ignore SIGHUP, and so it stays.
    """
    wanted = [
        number
        for number in STOP_SIGNALS
        if not (number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN)
    ]
    return {number: signal.signal(number, handler) for number in wanted}


def restore(handlers: Mapping[int, Any]) -> None:
    """Puts back the handlers that `listen` returned."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


def restore_later(handlers: Mapping[int, Any]) -> None:
    """Ignore stop signals while this process, which has saved, leaves with exit code 75; then put `handlers` back.

    A process that lives on, such as a notebook, must not be deaf for good.
    """
    end = time.monotonic() + LEAVING_SECONDS

    def hear(number: int, frame: FrameType | None) -> None:
        del frame
        if time.monotonic() > end:
            restore(handlers)
            signal.raise_signal(number)

    for number in handlers:
        signal.signal(number, hear)


def ignore() -> None:
    """Ignore stop signals for good: the last thing before a process ends, whose handlers Python takes away early."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def terminals() -> tuple[int, ...]:
    """Returns which of stdout and stderr are terminals. Once a terminal is gone, this can no longer be asked."""
    return tuple(descriptor for descriptor in (1, 2) if _is_terminal(descriptor))


def let_go_of(descriptors: tuple[int, ...]) -> None:
    """Send what is still written there nowhere: writing to a terminal that is gone is an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False
