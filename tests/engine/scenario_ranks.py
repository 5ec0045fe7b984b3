"""Run by two ranks: runs that are stopped, resumed and fed bad numbers; writes what each of them left behind."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from toy import ToyTask, train_toy

from polycli.engine import agreement, config
from polycli.engine.run import Run
from polycli.errors import PolycliError, PreemptedError, StoreError, TrainingError
from polycli.launch import World, join_process_group

VARYING = ((4,), (2, 2), (1, 3))
STAGES = (0, 1, 2, 3)


class StoppedTask(ToyTask):
    """Rank 1 is sent SIGTERM while it computes the step after `stop_after` - 1 steps."""

    stop_after = -1

    def micro_batches(self, step: int, world: World) -> Any:
        if step == self.stop_after - 1 and world.rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().micro_batches(step, world)


def stop_and_resume(folder: Path, world: World, stage: int, optimizer: str) -> dict[str, Any]:
    """The same run whole, and stopped after 4 of 8 steps."""

    def settings() -> dict[str, Any]:
        return {
            "engine__zero_stage": stage,
            "optim__name": optimizer,
            "optim__learning_rate": 1e-2,
            "train__steps": 8,
            "train__validate_every": 3,
            "train__checkpoint_every": 3,
            "schedule__warmup_steps": 3,
        }

    def task() -> StoppedTask:
        return StoppedTask(micro=VARYING, dropout=0.3)

    train_toy(folder / "whole", task(), world, **settings())
    stopped = task()
    stopped.stop_after = 4
    code = 0
    try:
        train_toy(folder / "cut", stopped, world, **settings())
    except PreemptedError as error:
        code = error.exit_code
    status = json.loads((folder / "cut/status.json").read_text())
    agreement.wait_for_all(world)
    train_toy(folder / "cut", task(), world, **settings(), workers=2)
    return {"code": code, "status": status}


def bad_numbers(folder: Path, world: World, stage: int) -> dict[str, Any]:
    """Rank 1 meets NaN in step 3 and from step 5 on."""
    task = ToyTask(micro=((2, 2),), poison={2: 1, 4: 1, 5: 1, 6: 1})
    message = ""
    try:
        train_toy(
            folder,
            task,
            world,
            engine__zero_stage=stage,
            train__steps=9,
            train__max_bad_steps=3,
            train__checkpoint_every=1,
        )
    except TrainingError as error:
        message = str(error)
    return {"messages": agreement.gather(world, message)}


def how_it_ends(action: Callable[[], object]) -> str:
    """The exception that this rank gets."""
    try:
        action()
    except (PolycliError, SystemExit) as error:
        return repr(error)
    return "nothing"


def errors(folder: Path, world: World) -> dict[str, list[str]]:
    """An error of rank 0, and one of rank 1, on every rank."""

    def missing() -> Run:
        return Run.create_or_resume(folder / "missing", "", resume="must", world=world)

    def damaged() -> None:
        if world.rank == 1:
            raise StoreError("rank 1 sees a damaged store")

    found = [how_it_ends(missing), how_it_ends(lambda: agreement.together(world, damaged))]
    on_rank_zero, on_rank_one = zip(*agreement.gather(world, found), strict=True)
    return {"on_rank_zero": list(on_rank_zero), "on_rank_one": list(on_rank_one)}


def stopped_for_another_world(folder: Path, world: World) -> None:
    """A run at ZeRO 0, stopped after 4 of 8 steps; one process goes on with it."""
    task = StoppedTask()
    task.stop_after = 4
    how_it_ends(lambda: train_toy(folder / "cut", task, world, train__steps=8))
    agreement.wait_for_all(world)
    train_toy(folder / "whole", ToyTask(), world, train__steps=8)


def main(folder: Path) -> None:
    world = join_process_group()
    torch.set_num_threads(1)
    config.WHOLE_ELEMENTS = 64
    report: dict[str, Any] = {}
    # Adan counts its steps in its parameter groups, AdamW in its parameters' state.
    for optimizer, stage in [*(("adamw", stage) for stage in STAGES), ("adan", 1), ("adan", 3)]:
        name = f"resume-{optimizer}-{stage}"
        report[name] = stop_and_resume(folder / name, world, stage, optimizer)
    for stage in STAGES:
        report[f"bad-{stage}"] = bad_numbers(folder / f"bad-{stage}", world, stage)
    report["errors"] = errors(folder, world)
    stopped_for_another_world(folder / "world", world)
    if world.rank == 0:
        (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
