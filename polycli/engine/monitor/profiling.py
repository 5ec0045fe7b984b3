"""`--profile N`: where the time of N steps goes, as traces for a browser and a short table in the log.

One Chrome trace a step, of rank 0, in RUN/profile: open it in https://ui.perfetto.dev or chrome://tracing. The first
steps after a start are left out, because they allocate and compile. A profiled step computes what any other does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import profiler

from polycli.console import say
from polycli.engine.run import Run

#: Steps after a start that are not profiled, as far as the run is long enough.
WARM_UP = 3
FOLDER = "profile"
#: Rows of the table.
_SHOWN = 10


class StepProfiler:
    """Profiles `count` steps of a run that goes from step `first` to step `last`, counted from 0, exclusive."""

    def __init__(self, run: Run, device: torch.device, *, first: int, last: int, count: int) -> None:
        self.run, self.device = run, device
        wanted = min(count, last - first) if run.world.rank == 0 else 0
        begin = min(first + WARM_UP, last - wanted)
        self.steps = range(begin, begin + wanted)
        self.profile: Any = None
        #: By operator: calls, and its own microseconds without those of operators that it calls.
        self.operators: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])

    def begin_step(self, step: int) -> None:
        """Start to record, where this step is one of those."""
        if step not in self.steps:
            return
        activities = [profiler.ProfilerActivity.CPU]
        if self.device.type == "cuda":
            activities.append(profiler.ProfilerActivity.CUDA)
        self.profile = profiler.profile(activities=activities, acc_events=True)
        self.profile.start()

    def end_step(self, step: int) -> None:
        """Write the step's trace; after the last one, the table."""
        if self.profile is None:
            return
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.profile.stop()
        folder = self.run.path / FOLDER
        folder.mkdir(exist_ok=True)
        self.profile.export_chrome_trace(str(folder / f"rank0-step{step + 1:08d}.json"))
        for average in self.profile.key_averages():
            totals = self.operators[average.key]
            totals[0] += average.count
            totals[1] += self._own_time(average)
        self.profile = None
        if step == self.steps[-1]:
            self._say()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.profile is not None:
            self.profile.stop()
            self.profile = None

    def _own_time(self, average: Any) -> float:  # noqa: ANN401  # torch's own type is private.
        return float(average.self_device_time_total if self.device.type == "cuda" else average.self_cpu_time_total)

    def _say(self) -> None:
        where = self.run.path / FOLDER
        say(f"profiled {len(self.steps)} steps, traces in {where}; most time went into")
        for line in top_operators(self.operators, len(self.steps)):
            say(f"  {line}")
        self.run.log("\n".join([f"profile in {where}", *top_operators(self.operators, len(self.steps))]))


def top_operators(operators: Mapping[str, list[float]], steps: int) -> list[str]:
    """The operators that took most time of their own, a line each, under a header."""
    total = sum(time for _, time in operators.values()) or 1.0
    ranked = sorted(operators.items(), key=lambda item: item[1][1], reverse=True)[:_SHOWN]
    return [
        f"{'ms/step':>9} {'share':>6} {'calls/step':>10}  operator",
        *(
            f"{time / 1000 / steps:9.2f} {time / total:6.1%} {calls / steps:10.0f}  {name[:60]}"
            for name, (calls, time) in ranked
        ),
    ]
