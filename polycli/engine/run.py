"""A run: the directory that holds a training's recipe, state, metrics, log and checkpoints."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import yaml

from polycli import console
from polycli.checkpoints.manifest import CHECKPOINTS_FOLDER, Checkpoint, list_checkpoints
from polycli.engine.ranks import on_rank_zero
from polycli.errors import RunError
from polycli.launch import World
from polycli.requests import JsonDocument, ResumePolicy

State = Literal["running", "preempted", "complete", "failed"]
RECIPE_NAME = "recipe.yaml"
STATUS_NAME = "status.json"
METRICS_NAME = "metrics.jsonl"
LOG_NAME = "log.txt"
_LOCK_NAME = ".lock"
#: What a resumed run must have in common with its beginning.
_FIXED_SECTIONS = ("family", "verb", "model")
#: And from the first checkpoint on, which holds its state.
_OPTIMIZER = "optim.name"


@dataclass
class Run:
    """An open run directory. Every rank has one; only rank 0 writes, but for `fail`."""

    path: Path
    world: World
    resumed: bool
    _lock: IO[str] | None = field(default=None, repr=False)

    @classmethod
    def create_or_resume(cls, path: Path, recipe_text: str, *, resume: ResumePolicy, world: World) -> Run:
        """Make the directory, or enter one that an earlier start of the same run left.

        `auto` resumes where there is a run, `never` refuses one, `must` insists on one. All ranks call this; a
        directory that cannot be used ends all of them with `RunError`.
        """
        lock: list[IO[str]] = []
        resumed, changes = on_rank_zero(world, lambda: _enter(path, recipe_text, resume, lock))
        run = cls(path, world, resumed, lock[0] if lock else None)
        for change in changes:
            run.say(f"resuming with a changed recipe: {change}", console.note)
        return run

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are."""
        return self.path / CHECKPOINTS_FOLDER

    def whole_checkpoints(self) -> list[Checkpoint]:
        """Checkpoints that are complete by their manifests, oldest first."""
        return list_checkpoints(self.path)

    def write_json(self, name: str, document: JsonDocument) -> None:
        """Write a document into the run in one rename."""
        if self.world.rank == 0:
            write_atomically(self.path / name, json.dumps(document, indent=2) + "\n")

    def write_status(self, state: State, *, step: int, checkpoint: Path | None, message: str = "") -> None:
        """Say in status.json how the run stands; shell scripts read it, since torchrun hides exit codes.

        A disk that refuses is a warning, for training goes on.
        """
        if self.world.rank == 0:
            shown = None if checkpoint is None else checkpoint.relative_to(self.path).as_posix()
            document = {"state": state, "step": step, "checkpoint": shown, "message": message}
            _write_if_possible(self.path / STATUS_NAME, json.dumps(document, indent=2) + "\n")

    def fail(self, message: str) -> None:
        """Mark the run as failed; the rank that failed does this itself, since rank 0 may be waiting for it."""
        status = read_status(self.path) or {}
        document = {"step": 0, "checkpoint": None, **status, "state": "failed", "message": message}
        _write_if_possible(self.path / STATUS_NAME, json.dumps(document, indent=2) + "\n")

    def say(self, message: str, speak: Callable[[str], None] = console.say) -> None:
        """Say something to the user and keep it in log.txt; `speak` may be `console.note` or `console.warn`."""
        speak(message)
        self.log(message)

    def log(self, message: str) -> None:
        """A line in log.txt, with the time."""
        # On a disk that is full the screen alone has it.
        if self.world.rank == 0:
            with contextlib.suppress(OSError), (self.path / LOG_NAME).open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")

    def close(self) -> None:
        """Let another process have the run."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def read_status(path: Path) -> dict[str, Any] | None:
    """The run's status.json; None where there is none or it is no such document."""
    try:
        document = json.loads((path / STATUS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and "state" in document else None


def check_folder(path: Path, resume: ResumePolicy) -> bool:
    """Whether a run is in `path`; `RunError` where something else is, or where `resume` does not fit."""
    exists = _is_run(path)
    if exists and resume == "never":
        raise RunError(
            f"{path}: holds a run already", hint="choose another --output, or --resume auto to go on with it"
        )
    if not exists and resume == "must":
        raise RunError(f"{path}: no run to resume here", hint="--resume auto starts one")
    return exists


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by another in one rename, so that a reader sees the one or the other."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _write_if_possible(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as error:
        console.warn(f"{path}: cannot be written ({error.strerror}), and still says what it said before")


def _enter(path: Path, recipe_text: str, resume: ResumePolicy, lock: list[IO[str]]) -> tuple[bool, list[str]]:
    """Create or resume, on rank 0. Whether it is a resume, and what has changed in the recipe."""
    exists = check_folder(path, resume)
    changes: list[str] = []
    try:
        (path / CHECKPOINTS_FOLDER).mkdir(parents=True, exist_ok=True)
        lock.append(_locked(path))
        if exists:
            changes = _changes(path, recipe_text)
        write_atomically(path / RECIPE_NAME, recipe_text)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror})") from error
    return exists, changes


def _is_run(path: Path) -> bool:
    """Whether a run is here; `RunError` where something else is."""
    if not path.exists():
        return False
    if not path.is_dir():
        raise RunError(f"{path}: is a file, a run is a directory", hint="choose another --output")
    if (path / RECIPE_NAME).is_file():
        return True
    # What a start that was killed in its first instants leaves is not in the way.
    started = {CHECKPOINTS_FOLDER, _LOCK_NAME, LOG_NAME}
    foreign = [entry.name for entry in path.iterdir() if entry.name not in started and ".partial-" not in entry.name]
    if foreign:
        raise RunError(
            f"{path}: not empty and no run (it holds {foreign[0]} and no {RECIPE_NAME})", hint="choose another --output"
        )
    return False


def _locked(path: Path) -> IO[str]:
    """Hold the run, so that two processes cannot write to it; the lock ends with the process."""
    file = (path / _LOCK_NAME).open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise RunError(
            f"{path}: another process is training in this run", hint="wait for it, or choose another --output"
        ) from None
    except OSError:
        # Some network file systems have no locks; the run goes on without.
        console.note(f"{path}: this file system has no locks, so two processes could write to the run")
    return file


def _changes(path: Path, recipe_text: str) -> list[str]:
    """What differs from the run's recipe; `RunError` where that is the model, or the optimizer of a saved state."""
    try:
        before = yaml.safe_load((path / RECIPE_NAME).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunError(f"{path / RECIPE_NAME}: cannot be read as YAML", hint="choose another --output") from error
    now = yaml.safe_load(recipe_text)
    changes = {
        key: f"{key} was {_shown(before, key)}, is {_shown(now, key)}"
        for key in sorted({*_leaves(before), *_leaves(now)})
        if _leaves(before).get(key) != _leaves(now).get(key)
    }
    saved = bool(list_checkpoints(path))
    fixed = [
        change
        for key, change in changes.items()
        if key.split(".")[0] in _FIXED_SECTIONS or (saved and key == _OPTIMIZER)
    ]
    if fixed:
        raise RunError(
            f"{path}: this run was begun with another recipe: {'; '.join(fixed)}", hint="choose another --output"
        )
    return list(changes.values())


def _leaves(document: Any, prefix: str = "") -> dict[str, Any]:  # noqa: ANN401  # YAML holds anything.
    """A nested mapping by dotted keys."""
    if not isinstance(document, dict) or not document:
        return {prefix.removesuffix("."): document}
    leaves: dict[str, Any] = {}
    for key, value in document.items():
        leaves.update(_leaves(value, f"{prefix}{key}."))
    return leaves


def _shown(document: Any, key: str) -> str:  # noqa: ANN401
    leaves = _leaves(document)
    return json.dumps(leaves[key], default=str) if key in leaves else "absent"
