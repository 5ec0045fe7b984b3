"""metrics.jsonl: what a run measured, one JSON document per line; and what one step cost.

What time makes vary stands under "speed"; the rest is the same, bit for bit, in every run of the same recipe.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from polycli.console import warn
from polycli.engine.run import write_atomically


class MetricsFile:
    """The lines of a run's metrics, written by rank 0."""

    def __init__(self, path: Path, *, writes: bool) -> None:
        self.path, self.writes = path, writes
        #: What a full disk has kept from being written.
        self.waiting: list[str] = []

    def cut_back(self, step: int) -> None:
        """Drop what was written after `step`, and a last line that a kill cut short: those steps will be run again."""
        if not self.writes or not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                document = json.loads(line)
            except ValueError:
                continue
            if document["step"] <= step:
                kept.append(line + "\n")
        write_atomically(self.path, "".join(kept))

    def append(self, kind: str, step: int, values: Mapping[str, object], speed: Mapping[str, object]) -> None:
        """Write one line; numbers that are not finite become null, which JSON can hold."""
        if not self.writes:
            return
        document = {"kind": kind, "step": step, **values, "speed": speed}
        self.waiting.append(json.dumps(_finite(document), allow_nan=False) + "\n")
        self.flush()

    def flush(self) -> None:
        """Write the lines that wait; a disk that is full must not end a training, so they may go on waiting."""
        if not self.waiting:
            return
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write("".join(self.waiting))
        except OSError as error:
            if len(self.waiting) == 1:
                warn(f"{self.path}: cannot be written ({error.strerror}); its lines are kept and tried again")
            # Part of a line may have found room.
            with suppress(OSError):
                os.truncate(self.path, size)
            return
        self.waiting.clear()

    def settle(self) -> None:
        """Have the disk hold what was written: a checkpoint makes these lines final, as no later start repeats them."""
        if not self.writes:
            return
        self.flush()
        # A disk that cannot hold them has been warned of, and a network file system may know no sync.
        with suppress(OSError), self.path.open("rb") as file:
            os.fsync(file.fileno())


@dataclass
class SpeedMeter:
    """Time and samples between two lines."""

    #: Of all devices together.
    peak_flops: float
    #: Of one step over all ranks; tokens are None where the task does not count any.
    flops_per_step: float
    tokens_per_step: float | None = None
    started: float = 0.0
    steps: int = 0
    samples: int = 0

    def restart(self) -> None:
        """Begin to measure; what came before (validation, checkpoints) is not counted."""
        self.started, self.steps, self.samples = time.perf_counter(), 0, 0

    def pause(self) -> float:
        """The time at which something begins that is no training; give it to `resume`."""
        return time.perf_counter()

    def resume(self, paused: float) -> None:
        """Go on; the time since `pause` is not counted."""
        self.started += time.perf_counter() - paused

    def count(self, samples: int) -> None:
        """One more step of `samples` samples over all ranks."""
        self.steps += 1
        self.samples += samples

    def read(self, wait_seconds: float, peak_memory: int) -> dict[str, float | int | None]:
        """Speed since the last restart, of which `wait_seconds` went into waiting for data."""
        seconds = max(time.perf_counter() - self.started, 1e-9)
        per_step = seconds / max(self.steps, 1)
        return {
            "samples_per_second": self.samples / seconds,
            "tokens_per_second": None if self.tokens_per_step is None else self.tokens_per_step / per_step,
            "step_seconds": per_step,
            "data_wait_share": wait_seconds / seconds,
            "mfu": self.flops_per_step / (per_step * self.peak_flops),
            "peak_memory_bytes": peak_memory,
        }


def peak_memory(device: torch.device) -> int:
    """Bytes that this process held at most: on the GPU if it computes there, else resident."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    # Linux counts in KiB, macOS in bytes.
    unit = 1024 if sys.platform == "linux" else 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _finite(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
