"""Checkpoints of a run: whole or absent, whenever it is killed; which are kept; and how a run goes on from one.

A checkpoint is written by all ranks under a name that readers ignore, hashed, given its manifest and then its own name
by one rename. DeepSpeed writes its files into it; of DeepSpeed's own bookkeeping (the `latest` file, tags) nothing is
used, because none of it is atomic or checked.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from polycli import console
from polycli.checkpoints.manifest import (
    STEP_PATTERN,
    Checkpoint,
    best_checkpoint,
    checkpoint_name,
    publish,
    verify,
    write_manifest,
)
from polycli.engine.agreement import on_rank_zero, wait_for_all
from polycli.engine.export import exported_weights, write_model
from polycli.engine.run import Run
from polycli.engine.task import Task
from polycli.errors import CheckpointError, RunError
from polycli.launch import World

#: The folder of DeepSpeed's files in a checkpoint, and the tag under which it is told to write and read them.
DEEPSPEED_FOLDER = "deepspeed"
TRAINER_NAME = "trainer.json"
_LEFTOVERS = ".step-*.partial-*"


@dataclass
class TrainerState:
    """What a resumed loop has to know besides model and optimizer; random numbers follow from seed, step and rank."""

    step: int = 0
    samples: int = 0
    bad_steps: int = 0
    consecutive_bad_steps: int = 0
    best_metric: float | None = None


class Checkpointer:
    """Saves, prunes and loads the checkpoints of one run. All ranks call every method together."""

    def __init__(self, task: Task, engine: Any, run: Run, world: World, *, keep_last: int) -> None:  # noqa: ANN401
        self.task, self.engine, self.run, self.world, self.keep_last = task, engine, run, world, keep_last
        self.zero_stage = int(engine.zero_optimization_stage())
        #: The newest whole checkpoint.
        self.last: Path | None = None

    def save(self, state: TrainerState, metric: tuple[str, float] | None) -> Path:
        """Write the checkpoint of `state.step`, then delete those that are no longer kept."""
        partial = Path(on_rank_zero(self.world, lambda: str(self._begin(state.step))))
        self.engine.save_checkpoint(str(partial), tag=DEEPSPEED_FOLDER, client_state={}, save_latest=False)
        weights = exported_weights(self.task.exported(), self.world)
        wait_for_all(self.world)
        target = on_rank_zero(self.world, lambda: str(self._finish(partial, weights, state, metric)))
        self.last = Path(target)
        return self.last

    def load(self, checkpoint: Checkpoint) -> TrainerState:
        """Put model, optimizer and counters where they were. The files were verified by `choose`."""
        where, _ = self.engine.load_checkpoint(str(checkpoint.directory), tag=DEEPSPEED_FOLDER)
        if where is None:
            raise CheckpointError(f"{checkpoint.directory}: DeepSpeed found nothing to load in it")
        document = json.loads((checkpoint.directory / TRAINER_NAME).read_text(encoding="utf-8"))
        self.last = checkpoint.directory
        return TrainerState(**document)

    def _begin(self, step: int) -> Path:
        """Clear what killed saves left, and make an empty directory for this one."""
        clear_leftovers(self.run)
        partial = self.run.checkpoints / f".{checkpoint_name(step)}.partial-{os.urandom(4).hex()}"
        partial.mkdir()
        return partial

    def _finish(
        self, partial: Path, weights: dict[str, Any], state: TrainerState, metric: tuple[str, float] | None
    ) -> Path:
        """Write what rank 0 writes, hash everything, publish, prune."""
        write_model(partial, self.task, weights, step=state.step, metric=metric)
        (partial / TRAINER_NAME).write_text(json.dumps(asdict(state), indent=2) + "\n", encoding="utf-8")
        # DeepSpeed adds a script for its own format; a checkpoint holds no code.
        for script in partial.glob("*.py"):
            script.unlink()
        write_manifest(
            partial,
            step=state.step,
            family=self.task.family,
            verb=self.task.verb,
            world_size=self.world.size,
            zero_stage=self.zero_stage,
            metric=metric,
        )
        target = self.run.checkpoints / checkpoint_name(state.step)
        if target.exists():
            # A damaged one, or one of another start; it gives way only now that its successor is whole.
            _remove(target)
        publish(partial, target)
        prune(self.run, self.keep_last)
        return target


def choose(run: Run, world: World, *, zero_stage: int) -> Checkpoint | None:
    """The newest checkpoint whose every byte is as its manifest says; None in a run that has none yet.

    A damaged one is passed over with a warning; where all are damaged, or none fits this start, the run is refused.
    """
    return on_rank_zero(world, lambda: _choose(run, world, zero_stage))


def prune(run: Run, keep_last: int) -> None:
    """Delete all but the newest `keep_last` checkpoints and the best by validation."""
    checkpoints = run.whole_checkpoints()
    best = best_checkpoint(checkpoints)
    kept = {checkpoint.directory for checkpoint in (*checkpoints[-keep_last:], *([best] if best else []))}
    for checkpoint in checkpoints:
        if checkpoint.directory not in kept:
            _remove(checkpoint.directory)


def clear_leftovers(run: Run) -> None:
    """Delete what saves and deletions that were killed left behind."""
    for leftover in run.checkpoints.glob(_LEFTOVERS):
        shutil.rmtree(leftover)


def _choose(run: Run, world: World, zero_stage: int) -> Checkpoint | None:
    clear_leftovers(run)
    whole = run.whole_checkpoints()
    present = sorted(run.checkpoints.glob(STEP_PATTERN))
    for damaged in {*present} - {checkpoint.directory for checkpoint in whole}:
        console.warn(f"{damaged}: not a whole checkpoint, passed over")
    for checkpoint in reversed(whole):
        try:
            verify(checkpoint.directory)
        except CheckpointError as error:
            console.warn(f"{error.message}; passed over")
            continue
        _check_fits(checkpoint, world, zero_stage)
        return checkpoint
    if present:
        raise RunError(
            f"{run.path}: holds {len(present)} checkpoints and none is whole", hint="start again in another --output"
        )
    return None


def _check_fits(checkpoint: Checkpoint, world: World, zero_stage: int) -> None:
    manifest = checkpoint.manifest
    if manifest.zero_stage != zero_stage:
        raise RunError(
            f"{checkpoint.directory}: saved with engine.zero_stage {manifest.zero_stage}, "
            f"this start asks for {zero_stage}",
            hint=f"--set engine.zero_stage={manifest.zero_stage}",
        )
    # At stage 0 every rank holds everything, and rank 0 has saved it: any number of processes can go on.
    if manifest.world_size != world.size and zero_stage != 0:
        raise RunError(
            f"{checkpoint.directory}: saved by {manifest.world_size} processes, this start has {world.size}; "
            f"optimizer state of ZeRO {zero_stage} is sharded by process",
            hint=f"resume with {manifest.world_size} processes",
        )


def _remove(directory: Path) -> None:
    """Delete a checkpoint so that a kill in between leaves no half of one under its name."""
    doomed = directory.with_name(f".{directory.name}.partial-{os.urandom(4).hex()}")
    directory.rename(doomed)
    shutil.rmtree(doomed)
