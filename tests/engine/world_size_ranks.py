"""Runs that two processes begin, one goes on with and two end, some at another ZeRO stage; all are forked processes."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from forked import import_everything, in_a_world
from toy import ToyBatch, ToyTask, train_toy

from polycli.engine import ranks
from polycli.errors import PreemptedError
from polycli.launch import World

STEPS = 12
#: Where the two ranks, then the one process, stop.
FIRST, SECOND = 4, 8
#: By name: the optimizer, its precision, and the ZeRO stage of each of the three starts.
RUNS: dict[str, tuple[str, str, tuple[int, int, int]]] = {
    f"{optimizer}-{stage}": (optimizer, "float32", (stage, stage, stage))
    for optimizer, stage in itertools.product(("adamw", "adan"), (1, 2, 3))
} | {
    "adamw-0": ("adamw", "float32", (0, 0, 0)),
    "dadapt_adan-0": ("dadapt_adan", "float32", (0, 0, 0)),
    "bfloat16-2": ("adamw", "bfloat16", (2, 2, 2)),
    "adan-bfloat16-3": ("adan", "bfloat16", (3, 3, 3)),
    "adamw-1-3-2": ("adamw", "float32", (1, 3, 2)),
    "adan-2-0-3": ("adan", "float32", (2, 0, 3)),
}


class StoppedTask(ToyTask):
    """The last rank is sent SIGTERM in the step after `stop_after` - 1 steps. Micro-batches have 2 rows everywhere."""

    stop_after = -1

    def micro_batches(self, step: int, world: World) -> Sequence[ToyBatch]:
        if step == self.stop_after - 1 and world.rank == world.size - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        share = self.global_batch // world.size
        self.micro = ((2,) * (share // 2),)
        return super().micro_batches(step, world)


def go_on(path: Path, world: World, name: str, start: int, stop_after: int = -1) -> None:
    """Begin a run of the table, or go on with it, at the stage of its first, second or third start."""
    optimizer, precision, stages = RUNS[name]
    task = StoppedTask()
    task.stop_after = stop_after
    settings: dict[str, Any] = {
        "engine__zero_stage": stages[start],
        "engine__precision": precision,
        "optim__name": optimizer,
        "optim__learning_rate": 1.0 if optimizer == "dadapt_adan" else 1e-2,
        "optim__weight_decay": 0.05,
        "schedule__warmup_steps": 3,
        "train__steps": STEPS,
        "train__validate_every": 5,
        "train__checkpoint_every": 100,
    }
    with contextlib.suppress(PreemptedError):
        train_toy(path, task, world, **settings)
    ranks.wait_for_all(world)


def begin(folder: Path, world: World) -> None:
    for name in RUNS:
        go_on(folder / name / "whole", world, name, 0)
        go_on(folder / name / "cut", world, name, 0, FIRST)


def go_on_alone(folder: Path, world: World) -> None:
    for name in RUNS:
        go_on(folder / name / "cut", world, name, 1, SECOND)


def end(folder: Path, world: World) -> None:
    for name in RUNS:
        go_on(folder / name / "cut", world, name, 2)


def main(folder: Path) -> None:
    import_everything()
    starts = ((2, begin), (1, go_on_alone), (2, end))
    sys.exit(not all(in_a_world(size, lambda world, do=do: do(folder, world)) for size, do in starts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
