"""SIGTERM, SIGINT and SIGUSR1 ask for a stop after the step in hand; a second one stops at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any, Self

from polycli.launch import STOP_SIGNALS

#: Slurm and a launcher may both deliver the same signal; within this time two are one.
SAME_SIGNAL_SECONDS = 1.0


class StopRequest:
    """Listens while it is entered; signal handlers exist in the main thread alone, elsewhere nothing is heard."""

    def __init__(self) -> None:
        self.signal_number = 0
        self._heard_at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in STOP_SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if self.signal_number and now - self._heard_at > SAME_SIGNAL_SECONDS:
            os._exit(128 + number)
        if not self.signal_number:
            self.signal_number, self._heard_at = number, now
