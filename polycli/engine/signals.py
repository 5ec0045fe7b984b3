"""SIGTERM, SIGINT, SIGUSR1 and SIGHUP ask for a stop after the step in hand; a second one stops at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any, Self

from polycli import stopping
from polycli.errors import PreemptedError

#: Slurm and a launcher may both deliver the same signal; within this time two are one.
SAME_SIGNAL_SECONDS = 1.0


class StopRequest:
    """Listens while it is entered; signal handlers exist in the main thread alone, elsewhere nothing is heard.

    Where it is left with `PreemptedError`, the process has saved and ends with 75: no further signal changes that.
    """

    def __init__(self) -> None:
        self.signal_number = 0
        #: Whether everything is saved, so that nothing is left for a signal to hasten.
        self.saved = False
        self._heard_at = 0.0
        self._before: dict[int, Any] = {}
        self._terminals: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._terminals = stopping.terminals()
            self._before = stopping.listen(self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, *others: object) -> None:
        preempted = kind is not None and issubclass(kind, PreemptedError)
        (stopping.restore_later if preempted else stopping.restore)(self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGHUP:
            stopping.let_go_of(self._terminals)
        if self.saved:
            return
        now = time.monotonic()
        if self.signal_number and now - self._heard_at > SAME_SIGNAL_SECONDS:
            os._exit(128 + number)
        if not self.signal_number:
            self.signal_number, self._heard_at = number, now
