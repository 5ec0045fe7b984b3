"""Turns what a user calls CHECKPOINT into files to read: a run, a checkpoint in it, an export or any weights file."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from polycli.checkpoints.identify import identify, read_object
from polycli.checkpoints.manifest import (
    CHECKPOINTS_FOLDER,
    DESCRIPTION_NAME,
    MANIFEST_NAME,
    MODEL_NAME,
    best_checkpoint,
    damages,
    list_checkpoints,
    read_manifest,
    verify,
)
from polycli.console import warn
from polycli.errors import CheckpointError


@dataclass(frozen=True)
class ResolvedCheckpoint:
    """The files that CHECKPOINT means, and why these."""

    model_file: Path
    #: model.json; None for files of other projects.
    description_file: Path | None
    #: The checkpoint of a run that the files are in; None for exports and files of other projects.
    checkpoint_dir: Path | None
    #: `best of 3 kept, by validation/loss`, `last of 3` or `as given`.
    how: str


def resolve_checkpoint(path: Path) -> ResolvedCheckpoint:
    """Find the weights that `path` means; files of a checkpoint are compared with its manifest.

    Raises:
        CheckpointError: there are none, or they are damaged.
    """
    identified = identify(path)
    if identified.kind == "missing":
        raise CheckpointError(f"{path}: there is no such checkpoint", hint=_near(path))
    if identified.kind == "run":
        return _from_run(path)
    if identified.kind == "checkpoint":
        return _from_checkpoint(path, "as given")
    if identified.kind == "exported":
        if path.resolve().parent.name == CHECKPOINTS_FOLDER:
            read_manifest(path)  # Says that there is none: a save that was cut short.
        return _from_file(path / MODEL_NAME)
    if identified.kind in ("safetensors", "torch", "pickle"):
        return _from_file(path)
    raise CheckpointError(
        f"{path}: {identified.name}, not a checkpoint",
        hint="a run, a checkpoint in it, a .safetensors file or a PyTorch file was expected",
    )


def hash_of_weights(path: Path) -> str:
    """The SHA-256 of the file of weights that `path` means, in hex.

    Raises:
        CheckpointError: there are none, or they are damaged.
    """
    resolved = resolve_checkpoint(path)
    if resolved.checkpoint_dir is not None:
        # Compared with the file a moment ago.
        return read_manifest(resolved.checkpoint_dir).files[MODEL_NAME].sha256
    try:
        with resolved.model_file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{resolved.model_file}: cannot be read ({error.strerror})") from error


def _near(path: Path) -> str | None:
    """Asks whether a neighbour of nearly that name was meant, where there is one."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return None
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.75)
    return f"did you mean {path.parent / near[0]}?" if near else None


def _from_run(run: Path) -> ResolvedCheckpoint:
    # Whoever needs room may have deleted the training state.
    needed = (MODEL_NAME, DESCRIPTION_NAME)
    checkpoints, damaged = list_checkpoints(run, needed), damages(run, needed)
    if not checkpoints:
        for sentence in damaged.values():
            raise CheckpointError(sentence)  # The newest.
        raise CheckpointError(f"{run}: the run has no complete checkpoint yet")
    for directory, sentence in damaged.items():
        warn(f"{directory.name} is damaged and passed over: {sentence}")
    # More validations were made than checkpoints are kept, so it is said of what it is the best.
    others = f" that are whole, {len(damaged)} damaged" if damaged else ""
    best = best_checkpoint(checkpoints)
    if best is None or best.manifest.metric is None:
        return _from_checkpoint(checkpoints[-1].directory, f"last of {len(checkpoints)}{others}")
    return _from_checkpoint(
        best.directory, f"best of {len(checkpoints)}{others or ' kept'}, by {best.manifest.metric.name}"
    )


def _from_checkpoint(directory: Path, how: str) -> ResolvedCheckpoint:
    verify(directory, [MODEL_NAME, DESCRIPTION_NAME])
    return ResolvedCheckpoint(directory / MODEL_NAME, directory / DESCRIPTION_NAME, directory, how)


def _from_file(file: Path) -> ResolvedCheckpoint:
    directory = file.resolve().parent
    if file.name == MODEL_NAME and (directory / MANIFEST_NAME).is_file():
        return _from_checkpoint(directory, "as given")
    beside = file.with_suffix(".json")
    described = beside.is_file() and read_object(beside).get("format") == "polycli-model"
    return ResolvedCheckpoint(file, beside if described else None, None, "as given")
