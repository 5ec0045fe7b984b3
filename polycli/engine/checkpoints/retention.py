"""Decides which checkpoints of a run are kept, and which one a start goes on from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from polycli import console
from polycli.checkpoints.manifest import STEP_PATTERN, Checkpoint, best_checkpoint, checkpoint_name, verify
from polycli.engine.checkpoints.doubt import reason_for_doubt
from polycli.engine.ranks import on_rank_zero
from polycli.engine.run import Run
from polycli.errors import CheckpointError, RunError
from polycli.launch import World

_LEFTOVERS = ".step-*.partial-*"


def choose(run: Run, world: World, *, optimizer: str, steps: int) -> Checkpoint | None:
    """The newest good checkpoint whose every byte is as its manifest says; None in a run that has none yet.

    A damaged one, and one of a streak of bad steps that does not end the `steps` of the run, are passed over with a
    warning; where all are damaged, or this start cannot go on from what is there, the run is refused.
    """
    return on_rank_zero(world, lambda: _choose(run, optimizer, steps))


def prune(run: Run, *, newest: int, keep_last: int, keep_every: int | None) -> None:
    """Delete all but the newest `keep_last` checkpoints, those of every `keep_every` steps, and the best one.

    Steps after `newest`, the one just saved, do not count and stay: this start has found their checkpoints damaged and
    passed them over, which their sizes do not show, and training has yet to come to where it replaces them.
    """
    checkpoints = [whole for whole in run.whole_checkpoints() if whole.manifest.step <= newest]
    best = best_checkpoint(checkpoints)
    kept = {checkpoint.directory for checkpoint in (*checkpoints[-keep_last:], *([best] if best else []))}
    for checkpoint in checkpoints:
        permanent = keep_every is not None and checkpoint.manifest.step % keep_every == 0
        if checkpoint.directory not in kept and not permanent:
            remove(checkpoint.directory)


def clear_leftovers(run: Run) -> None:
    """Delete what saves and deletions that were killed left behind; what cannot be deleted is in nobody's way."""
    for leftover in run.checkpoints.glob(_LEFTOVERS):
        shutil.rmtree(leftover, ignore_errors=True)


def remove(directory: Path) -> None:
    """Delete a checkpoint so that a kill in between leaves no half of one under its name."""
    doomed = partial_of(directory)
    directory.rename(doomed)
    shutil.rmtree(doomed)


def partial_of(directory: Path) -> Path:
    """A name for a checkpoint that is not whole, or no longer; readers ignore it, and the next start deletes it."""
    return directory.with_name(f".{directory.name}.partial-{os.urandom(4).hex()}")


def _choose(run: Run, optimizer: str, steps: int) -> Checkpoint | None:
    clear_leftovers(run)
    doubted: list[tuple[Checkpoint, str]] = []
    directories = sorted(run.checkpoints.glob(STEP_PATTERN), reverse=True)
    for directory in directories:
        try:
            checkpoint = _verified(directory)
        except CheckpointError as error:
            console.warn(f"{error.message}; passed over")
            continue
        _check_resumable(checkpoint, optimizer)
        reason = None if checkpoint.manifest.step >= steps else reason_for_doubt(checkpoint)
        if reason is None:
            for newer, why in doubted:
                console.warn(f"{newer.directory}: {why}; passed over")
            return checkpoint
        doubted.append((checkpoint, reason))
    if doubted:
        newest, why = doubted[0]
        console.warn(f"{newest.directory}: {why}; there is no better one to go on from")
        return newest
    if directories:
        raise RunError(
            f"{run.path}: holds {console.counted(len(directories), 'checkpoint', 'checkpoints')} and none is whole",
            hint="start again in another --output",
        )
    return None


def _verified(directory: Path) -> Checkpoint:
    """The checkpoint there; `CheckpointError` where it is damaged or goes by the name of another one."""
    manifest = verify(directory)
    if directory.name != checkpoint_name(manifest.step):
        raise CheckpointError(f"{directory}: holds step {manifest.step}, going by its manifest")
    return Checkpoint(directory, manifest)


def _check_resumable(checkpoint: Checkpoint, optimizer: str) -> None:
    saved = checkpoint.manifest.optimizer
    if saved is None:
        raise RunError(
            f"{checkpoint.directory}: saved by a version of polycli whose training state this one does not read",
            hint="go on with that version; eval, predict and finetune read the checkpoint all the same",
        )
    if saved != optimizer:
        raise RunError(
            f"{checkpoint.directory}: saved with optim.name {saved}, this start asks for {optimizer}, "
            "whose state is another",
            hint=f"--set optim.name={saved}, or choose another --output",
        )
