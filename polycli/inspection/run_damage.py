"""Looks for damage in every file of a run that carries meaning: checkpoints, recipe, data, metrics, status."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polycli.checkpoints.manifest import (
    DESCRIPTION_NAME,
    MODEL_NAME,
    Checkpoint,
    damages,
    list_checkpoints,
    verify,
)
from polycli.engine.changes import DATA_NAME, RECIPE_NAME
from polycli.engine.checkpoints.doubt import TRAINER_NAME, reason_for_doubt
from polycli.engine.monitor.metrics_lines import read_lines
from polycli.engine.run import METRICS_NAME, STATES, STATUS_NAME
from polycli.engine.seals import broken_seals, read_seals
from polycli.errors import CheckpointError, RecipeError, RunError
from polycli.files.documents import LARGEST_DOCUMENT, parse_json
from polycli.files.plain import read_bytes, reason_of
from polycli.recipes import load_any_recipe

_HASHED = "every checkpoint has the hashes that its manifest says; "
_INTACT = _HASHED + "recipe, data and metrics are as they were written"
_READABLE = _HASHED + "{files} can be read, an earlier version kept no hashes of them"


def verify_run(path: Path) -> str:
    """Read the whole of a run and compare it with its hashes; returns what to say of it.

    Raises:
        CheckpointError: a checkpoint is damaged.
        RunError: another file of the run is.
    """
    broken = damages(path, hashes=True)
    trimmed = [directory for directory in broken if _is_trimmed(directory)]
    broken = {directory: sentence for directory, sentence in broken.items() if directory not in trimmed}
    whole = [checkpoint for checkpoint in list_checkpoints(path) if checkpoint.directory not in broken]
    good = [checkpoint for checkpoint in whole if reason_for_doubt(checkpoint) is None]
    newest = good[-1] if good else None
    others = [
        *broken_seals(path).values(),
        *_recipe_damage(path),
        *_data_damage(path, newest),
        *_metrics_damage(path, newest),
        *_status_damage(path, whole, unsure=bool(broken or trimmed)),
    ]
    sentences = [*broken.values(), *others]
    if sentences:
        several = f"{path}: {len(sentences)} damages\n  " + "\n  ".join(sentences)
        raise (CheckpointError if broken else RunError)(sentences[0] if len(sentences) == 1 else several)
    unsealed = [name for name in (RECIPE_NAME, DATA_NAME) if (path / name).exists() and name not in read_seals(path)]
    if newest is not None and (path / METRICS_NAME).exists() and _hashed_metrics(newest) is None:
        unsealed.append(METRICS_NAME)
    text = _READABLE.format(files=", ".join(unsealed)) if unsealed else _INTACT
    names = ", ".join(directory.name for directory in reversed(trimmed))
    return f"{text}; without training state, so of no use to a resume: {names}" if trimmed else text


def _is_trimmed(directory: Path) -> bool:
    """Whether somebody who needed room has deleted what only a resume reads, all of it, and left the rest whole."""
    shared = {MODEL_NAME, DESCRIPTION_NAME}
    try:
        manifest = verify(directory, shared)
    except CheckpointError:
        return False
    training = manifest.files.keys() - shared
    return bool(training) and not any((directory / name).exists() for name in training)


def _recipe_damage(run: Path) -> Iterator[str]:
    """Reports a recipe that does not load, where no hash tells whether it is damaged."""
    path = run / RECIPE_NAME
    if path.exists() and RECIPE_NAME not in read_seals(run):
        try:
            load_any_recipe(str(path))
        except RecipeError as error:
            yield error.message


def _data_damage(run: Path, newest: Checkpoint | None) -> Iterator[str]:
    """A list of stores that cannot be read, or that is not what the weights say they were trained on."""
    path = run / DATA_NAME
    if not path.exists() or DATA_NAME in broken_seals(run):
        return
    document, problem = _read(path)
    if problem or not all(isinstance(entry, dict) for entry in document.values()):
        yield f"{path}: {problem or 'not a list of stores'}"
        return
    described = {} if newest is None else _read(newest.directory / DESCRIPTION_NAME)[0].get("trained_on", {})
    for name, entry in document.items():
        says = entry.get("store_hash")
        trained = described.get(name, {}).get("store_hash") if isinstance(described, dict) else None
        if trained not in (None, says):
            yield f"{path}: the store {name} has the hash {says}, the weights were trained on {trained}"


def _metrics_damage(run: Path, newest: Checkpoint | None) -> Iterator[str]:
    """Lines that cannot be read, and bytes that have changed since the newest checkpoint was saved."""
    path = run / METRICS_NAME
    complete = _read(run / STATUS_NAME)[0].get("state") == "complete"
    try:
        damaged = [line for line in read_lines(path) if line.damage and (complete or not line.cut_short)]
    except OSError as error:
        yield f"{path}: cannot be read ({error.strerror})"
        return
    if damaged:
        numbers = ", ".join(str(line.number) for line in damaged[:5])
        yield f"{path}: {len(damaged)} damaged lines (line {numbers}; the first: {damaged[0].damage})"
        return
    hashed = None if newest is None else _hashed_metrics(newest)
    if newest is None or hashed is None:
        return
    size, sha256 = hashed
    try:
        with path.open("rb") as file:
            found = hashlib.sha256(file.read(size)).hexdigest()
    except OSError as error:
        yield f"{path}: cannot be read ({error.strerror})"
        return
    if found != sha256:
        yield f"{path}: has changed, its lines up to step {newest.manifest.step} are not those that were written"


def _hashed_metrics(checkpoint: Checkpoint) -> tuple[int, str] | None:
    """Length and hash of metrics.jsonl when the checkpoint was saved; None where an earlier version saved."""
    state = _read(checkpoint.directory / TRAINER_NAME)[0].get("state", {})
    size, sha256 = (state.get(key) for key in ("metrics_bytes", "metrics_sha256"))
    return (size, sha256) if isinstance(size, int) and isinstance(sha256, str) else None


def _status_damage(run: Path, checkpoints: list[Checkpoint], *, unsure: bool) -> Iterator[str]:
    """A state that there is not, or one that does not fit the checkpoints; `unsure` where these are not all whole."""
    path = run / STATUS_NAME
    if not path.exists():
        if checkpoints or unsure:
            yield f"{path}: not there"
        return
    document, problem = _read(path)
    state, step, named = (document.get(key) for key in ("state", "step", "checkpoint"))
    if problem or state not in STATES or not isinstance(step, int) or isinstance(step, bool):
        yield f"{path}: {problem or f'not a status (state {state!r}, step {step!r})'}"
        return
    if isinstance(named, str) and not (run / named).is_dir():
        yield f"{path}: names {named}, which is not there"
    newest = checkpoints[-1].manifest.step if checkpoints else None
    if state == "complete" and not unsure and newest not in (None, step):
        yield f"{path}: says complete at step {step}, the newest checkpoint is of step {newest}"


def _read(path: Path) -> tuple[dict[str, Any], str | None]:
    """A JSON object, and what is wrong with it."""
    try:
        document = parse_json(read_bytes(path, LARGEST_DOCUMENT))
    except OSError as error:
        return {}, f"cannot be read ({reason_of(error)})"
    except ValueError as error:
        return {}, f"not JSON ({error})"
    return (document, None) if isinstance(document, dict) else ({}, "no JSON object")
