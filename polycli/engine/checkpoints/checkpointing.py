"""Checkpoints of a run: whole or absent, whenever it is killed, and good for any number of processes.

A checkpoint is written by all ranks under a name that readers ignore; training goes on meanwhile. Once every rank has
its files on the disk, which all find out together after some step, rank 0 writes the manifest over their hashes and
gives the checkpoint its name by one rename. DeepSpeed's own format is not used: it is neither atomic nor checked, has
to be unpickled, and belongs to one number of processes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from polycli import console
from polycli.checkpoints.manifest import (
    DESCRIPTION_NAME,
    MODEL_NAME,
    Checkpoint,
    CheckpointFile,
    checkpoint_name,
    publish,
    write_manifest,
)
from polycli.checkpoints.metadata import described_by
from polycli.engine.checkpoints.doubt import TRAINER_NAME, mark_doubtful, reason_for_doubt
from polycli.engine.checkpoints.export import WEIGHTS_NAME, exported_weights, model_description, remaining_weights
from polycli.engine.checkpoints.retention import clear_leftovers, partial_of, prune, remove
from polycli.engine.checkpoints.saving import Contents, DescribedTensors, Writer, refusal_of
from polycli.engine.deepspeed.optimizer_state import captured_groups, captured_state, restore_state
from polycli.engine.ranks import gather, largest, on_rank_zero, together
from polycli.engine.run import Run
from polycli.engine.task import Task
from polycli.errors import CheckpointError
from polycli.launch import World
from polycli.sections import TrainSection

_OPTIMIZER_PREFIX = "optimizer/"


@dataclass
class TrainerState:
    """The counters of a training loop; random numbers need none, as they follow from seed, step and rank."""

    step: int = 0
    samples: int = 0
    bad_steps: int = 0
    consecutive_bad_steps: int = 0
    best_metric: float | None = None
    #: Losses of the last steps that were taken, oldest first: what a spike is measured by.
    recent_losses: list[float] = field(default_factory=list)
    #: What the schedule gave the last step; None where an earlier version saved.
    learning_rate: float | None = None
    #: The length of metrics.jsonl at this step, and the hash of these bytes; None where an earlier version saved.
    metrics_bytes: int | None = None
    metrics_sha256: str | None = None


@dataclass(frozen=True)
class _Pending:
    """A save under way."""

    directory: Path
    step: int
    metric: tuple[str, float] | None
    writer: Writer
    #: Whether training ends with it.
    last: bool


class Checkpointer:
    """Saves, prunes and loads the checkpoints of one run. All ranks call every method together."""

    def __init__(
        self,
        task: Task,
        engine: Any,  # noqa: ANN401
        run: Run,
        world: World,
        *,
        optimizer: str,
        train: TrainSection,
        averaged: Callable[[], dict[str, Tensor]] | None = None,
    ) -> None:
        self.task, self.engine, self.run, self.world = task, engine, run, world
        self.optimizer, self.train = optimizer, train
        #: Called by all ranks: the moving average of the weights by exported name, whole on rank 0, empty on others.
        self.averaged = averaged
        #: Its decay, which model.json says.
        self.ema_decay: float | None = None
        #: The newest whole checkpoint.
        self.last: Path | None = None
        #: Why the newest save failed; None where it did not.
        self.failure: str | None = None
        self._pending: _Pending | None = None

    def save(self, state: TrainerState, metric: tuple[str, float] | None, *, last: bool = False) -> None:
        """Begin the checkpoint of `state.step`; `settle` ends it, and the last one of a process ends here.

        A save that is still under way is waited for. A disk that refuses is no error: training goes on, and `failure`
        says why until a save succeeds.
        """
        self.settle(wait=True)
        partial, refusal = on_rank_zero(self.world, lambda: self._begin(state.step))
        if refusal is not None:
            self._fail(state.step, refusal, last=last)
            return
        writer = Writer(Path(partial), self._contents(state, metric))
        self._pending = _Pending(Path(partial), state.step, metric, writer, last)
        if last or not self.train.save_in_background:
            self.settle(wait=True)

    def settle(self, *, wait: bool = False) -> bool:
        """Publish the save under way if all ranks have written their part. Whether `last` or `failure` is new."""
        pending = self._pending
        if pending is None or (not wait and largest(self.world, int(pending.writer.busy))):
            return False
        self._pending = None
        written = gather(self.world, pending.writer.result())
        refusal = next((part.refusal for part in written if part.refusal is not None), None)
        if refusal is None:
            files = {name: file for part in written for name, file in part.files.items()}
            refusal = on_rank_zero(self.world, lambda: self._publish(pending, files))
        if refusal is not None:
            on_rank_zero(self.world, lambda: shutil.rmtree(pending.directory, ignore_errors=True))
            self._fail(pending.step, refusal, last=pending.last)
            return True
        self.last, self.failure = self.run.checkpoints / checkpoint_name(pending.step), None
        return True

    def distrust(self, taken: int) -> None:
        """Hold it against the checkpoint of step `taken`, if there is one, that every step tried from it was bad.

        Where there is an older one, that is the last good one now, and a resume goes on from it.
        """

        def doubt() -> Path | None:
            older = [whole for whole in self.run.whole_checkpoints() if whole.manifest.step < taken]
            good = next((whole for whole in reversed(older) if reason_for_doubt(whole) is None), None)
            if good is None or self.last is None or self.last.name != checkpoint_name(taken):
                return self.last
            mark_doubtful(self.last)
            return good.directory

        self.last = on_rank_zero(self.world, doubt)

    def fallback(self) -> str:
        """Say from which checkpoint a run that ends now would go on."""
        return "there is no earlier checkpoint" if self.last is None else f"the last good checkpoint is {self.last}"

    def load(self, checkpoint: Checkpoint) -> TrainerState:
        """Put optimizer and counters where they were; `restore_weights` has done so with the model."""
        document = json.loads((checkpoint.directory / TRAINER_NAME).read_text(encoding="utf-8"))
        # Only files whose hashes were compared; others may lie beside them.
        names = [name for name in checkpoint.manifest.files if name.startswith(_OPTIMIZER_PREFIX)]
        files = [checkpoint.directory / name for name in names]
        groups = document["optimizer_groups"]
        together(self.world, lambda: restore_state(self.engine, self.world, files, groups))
        self.last = checkpoint.directory
        return TrainerState(**document["state"])

    def _begin(self, step: int) -> tuple[str, str | None]:
        """Clear what killed saves left, and make an empty directory for this one."""
        partial = partial_of(self.run.checkpoints / checkpoint_name(step))
        try:
            clear_leftovers(self.run)
            partial.mkdir()
        except OSError as error:
            return "", refusal_of(error)
        return str(partial), None

    def _contents(self, state: TrainerState, metric: tuple[str, float] | None) -> Contents:
        """Copies of what this rank writes, as they are now."""
        averaged = self.averaged
        exported = exported_weights(self.task.exported(), self.world) if averaged is None else averaged()
        weights = remaining_weights(self.task, self.world, averaged=averaged is not None)
        name = f"{_OPTIMIZER_PREFIX}rank-{self.world.rank:05d}.safetensors"
        contents: Contents = {name: captured_state(self.engine, self.world)}
        if self.world.rank == 0:
            trainer = {
                "state": asdict(state),
                "optimizer_groups": captured_groups(self.engine),
                "averaged": averaged is not None,
            }
            contents[TRAINER_NAME] = json.dumps(trainer, indent=2) + "\n"
            description = model_description(self.task, step=state.step, metric=metric, ema_decay=self.ema_decay)
            contents[DESCRIPTION_NAME] = description
            contents[MODEL_NAME] = DescribedTensors(exported, described_by(description))
            if weights:
                contents[WEIGHTS_NAME] = weights
        return contents

    def _publish(self, pending: _Pending, files: dict[str, CheckpointFile]) -> str | None:
        """Write the manifest, give the name, and only then delete checkpoints that are no longer kept; on rank 0."""
        try:
            write_manifest(
                pending.directory,
                step=pending.step,
                family=self.task.family,
                verb=self.task.verb,
                world_size=self.world.size,
                zero_stage=int(self.engine.zero_optimization_stage()),
                optimizer=self.optimizer,
                metric=pending.metric,
                files=files,
            )
            target = self.run.checkpoints / checkpoint_name(pending.step)
            if target.exists():
                # A damaged one, or one of another start; it gives way only now that its successor is whole.
                remove(target)
            publish(pending.directory, target)
        except OSError as error:
            return refusal_of(error)
        except CheckpointError as error:
            return f"{error.message}; do all processes see the same disk?"
        try:
            keep_last, keep_every = self.train.keep_last, self.train.keep_every
            prune(self.run, newest=pending.step, keep_last=keep_last, keep_every=keep_every)
        except OSError as error:
            console.warn(f"an old checkpoint could not be deleted ({refusal_of(error)})")
        return None

    def _fail(self, step: int, refusal: str, *, last: bool) -> None:
        self.failure = f"the checkpoint of step {step} could not be saved ({refusal})"
        outlook = "" if last else "; training goes on, and the next save tries again"
        self.run.say(f"{self.failure}; {self.fallback()}{outlook}", console.warn)


def averaged_weights(checkpoint: Checkpoint) -> dict[str, Tensor] | None:
    """The moving average of the weights by exported name, whole, on the CPU; None where the run had none."""
    document = json.loads((checkpoint.directory / TRAINER_NAME).read_text(encoding="utf-8"))
    return load_file(checkpoint.directory / MODEL_NAME) if document["averaged"] else None
