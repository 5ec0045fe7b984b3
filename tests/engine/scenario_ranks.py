"""Two forked ranks: runs that are stopped, resumed and fed bad numbers; writes what each of them left behind."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from forked import import_everything, in_a_world
from safetensors.torch import save_file
from toy import ToyTask, train_toy

from polycli.engine import ranks
from polycli.engine.checkpoints.export import exported_weights
from polycli.engine.run import Run
from polycli.errors import PolycliError, PreemptedError, StoreError, TrainingError
from polycli.launch import World

VARYING = ((4,), (2, 2), (1, 3))
STAGES = (0, 1, 2, 3)
#: What a run that is stopped and resumed has besides its name. Adan counts its steps in its parameter groups, AdamW in
#: its parameters' state; accumulation varies from step to step, and is 4 in all of them in the last three.
RESUMES: dict[str, dict[str, Any]] = {
    **{f"adamw-{stage}": {"engine__zero_stage": stage} for stage in STAGES},
    **{f"adan-{stage}": {"engine__zero_stage": stage, "optim__name": "adan"} for stage in (1, 3)},
    "adan-2-bfloat16": {"engine__zero_stage": 2, "optim__name": "adan", "engine__precision": "bfloat16"},
    "adamw-3-bfloat16-average": {"engine__zero_stage": 3, "engine__precision": "bfloat16", "optim__ema_decay": 0.9},
    "adamw-1-offload-average": {"engine__zero_stage": 1, "engine__offload": True, "optim__ema_decay": 0.9},
}


class StoppedTask(ToyTask):
    """Rank 1 is sent SIGTERM while it computes the step after `stop_after` - 1 steps."""

    stop_after = -1

    def micro_batches(self, step: int, world: World) -> Any:
        if step == self.stop_after - 1 and world.rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().micro_batches(step, world)


def stop_and_resume(folder: Path, world: World, name: str) -> dict[str, Any]:
    """The same run whole, and stopped after 4 of 8 steps."""

    def settings() -> dict[str, Any]:
        return {
            **RESUMES[name],
            "optim__learning_rate": 1e-2,
            "train__steps": 8,
            "train__validate_every": 3,
            "train__checkpoint_every": 3,
            "schedule__warmup_steps": 3,
        }

    def task() -> StoppedTask:
        return StoppedTask(micro=((1, 1, 1, 1),) if name.count("-") > 1 else VARYING, dropout=0.3)

    train_toy(folder / "whole", task(), world, **settings())
    stopped = task()
    stopped.stop_after = 4
    code = 0
    try:
        train_toy(folder / "cut", stopped, world, **settings())
    except PreemptedError as error:
        code = error.exit_code
    status = json.loads((folder / "cut/status.json").read_text())
    ranks.wait_for_all(world)
    train_toy(folder / "cut", task(), world, **settings(), workers=2)
    return {"code": code, "status": status}


def bad_numbers(folder: Path, world: World, stage: int) -> dict[str, Any]:
    """Rank 1 meets NaN in step 3 and from step 5 on; the weights that this leaves are in after.safetensors."""
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
    after = exported_weights(task.exported(), world)
    if world.rank == 0:
        save_file(after, folder / "after.safetensors")
    return {"messages": ranks.gather(world, message)}


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

    found = [how_it_ends(missing), how_it_ends(lambda: ranks.together(world, damaged))]
    on_rank_zero, on_rank_one = zip(*ranks.gather(world, found), strict=True)
    return {"on_rank_zero": list(on_rank_zero), "on_rank_one": list(on_rank_one)}


def stopped_for_another_world(folder: Path, world: World) -> None:
    """A run at ZeRO 0, stopped after 4 of 8 steps; one process goes on with it."""
    task = StoppedTask()
    task.stop_after = 4
    how_it_ends(lambda: train_toy(folder / "cut", task, world, train__steps=8))
    ranks.wait_for_all(world)
    train_toy(folder / "whole", ToyTask(), world, train__steps=8)


def run_all(folder: Path, world: World) -> None:
    report: dict[str, Any] = {}
    for name in RESUMES:
        report[f"resume-{name}"] = stop_and_resume(folder / f"resume-{name}", world, name)
    for stage in STAGES:
        report[f"bad-{stage}"] = bad_numbers(folder / f"bad-{stage}", world, stage)
    report["errors"] = errors(folder, world)
    stopped_for_another_world(folder / "world", world)
    if world.rank == 0:
        (folder / "report.json").write_text(json.dumps(report))


def main(folder: Path) -> None:
    import_everything()
    sys.exit(not in_a_world(2, lambda world: run_all(folder, world)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
