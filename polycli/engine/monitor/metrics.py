"""metrics.jsonl: what a run measured, one JSON document per line; and what one step cost.

What time makes vary stands under "speed"; the rest is the same, bit for bit, in every run of the same recipe.
"""

from __future__ import annotations

import hashlib
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
from polycli.engine.monitor.metrics_lines import MetricsLine, read_lines
from polycli.engine.run import write_atomically


@dataclass(frozen=True)
class CutBack:
    """The state of metrics.jsonl up to the step that a start goes on from."""

    path: Path
    damaged: tuple[MetricsLine, ...] = ()
    #: Of what is kept.
    size: int = 0
    sha256: str = ""
    #: That of the step that the run goes on from, if it was logged.
    learning_rate: float | None = None

    def problems(self, size: int | None, sha256: str | None) -> list[str]:
        """Sentences about damage; `size` and `sha256` are what the checkpoint says of the file, if it says anything."""
        if self.damaged:
            first = self.damaged[0]
            more = f" and {len(self.damaged) - 1} more" if len(self.damaged) > 1 else ""
            return [f"{self.path}: line {first.number} is damaged ({first.damage}){more}; left out"]
        if not self.sha256 or sha256 in (None, self.sha256):
            return []
        difference = f"{self.size} bytes where there were {size}" if size != self.size else "bytes have changed"
        return [
            f"{self.path}: its lines up to this step are not those that were written ({difference}); kept as they are"
        ]


class MetricsFile:
    """The lines of a run's metrics, written by rank 0."""

    def __init__(self, path: Path, *, writes: bool) -> None:
        self.path, self.writes = path, writes
        #: What a full disk has kept from being written.
        self.waiting: list[str] = []
        self._size, self._digest = 0, hashlib.sha256()

    def cut_back(self, step: int) -> CutBack:
        """Drop what was written after `step`, and a last line that a kill cut short: those steps will be run again.

        Lines that are damaged are dropped too, and told in what is returned.
        """
        if not self.writes:
            return CutBack(self.path)
        kept, damaged, last_rate = [], [], None
        for line in read_lines(self.path):
            if line.damage is None and line.step <= step:
                kept.append(line.content.removesuffix(b"\n") + b"\n")
                last_rate = line.learning_rate if (line.kind, line.step) == ("train", step) else last_rate
            elif line.damage is not None and not line.cut_short:
                damaged.append(line)
        content = b"".join(kept)
        self._size, self._digest = len(content), hashlib.sha256(content)
        if self.path.exists():
            write_atomically(self.path, content.decode("utf-8"))
        return CutBack(self.path, tuple(damaged), *self.written(), last_rate)

    def written(self) -> tuple[int, str]:
        """Return the size of the file, with all that waits to be written, and the SHA-256 of its bytes."""
        return self._size, self._digest.hexdigest()

    def append(self, kind: str, step: int, values: Mapping[str, object], speed: Mapping[str, object]) -> None:
        """Write one line; numbers that are not finite become null, which JSON can hold."""
        if not self.writes:
            return
        document = {"kind": kind, "step": step, **values, "speed": speed}
        line = json.dumps(_finite(document), allow_nan=False) + "\n"
        self._digest.update(line.encode("utf-8"))
        self._size += len(line.encode("utf-8"))
        self.waiting.append(line)
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
        """Count one more step, of `samples` samples over all ranks."""
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
