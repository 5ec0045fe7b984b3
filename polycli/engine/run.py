"""A run: the directory that holds a training's recipe, state, metrics, log and checkpoints."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, get_args

from polycli import console
from polycli.checkpoints.manifest import CHECKPOINTS_FOLDER, Checkpoint, list_checkpoints
from polycli.engine.changes import (
    DATA_NAME,
    RECIPE_NAME,
    START_NAME,
    Change,
    check_changes,
    data_changes,
    read_starts,
    recipe_changes,
    start_changes,
    steps_of,
)
from polycli.engine.ranks import on_rank_zero
from polycli.engine.seals import SEALS_NAME, broken_seals, write_sealed
from polycli.errors import RunError
from polycli.launch import World
from polycli.recipes import dump_recipe
from polycli.requests import JsonDocument, ResumePolicy
from polycli.sections import Section

State = Literal["running", "preempted", "complete", "failed"]
STATES: tuple[State, ...] = get_args(State)
STATUS_NAME = "status.json"
METRICS_NAME = "metrics.jsonl"
LOG_NAME = "log.txt"
_LOCK_NAME = ".lock"


@dataclass
class Run:
    """An open run directory. Every rank has one; only rank 0 writes, but for `fail`."""

    path: Path
    world: World
    resumed: bool
    _lock: IO[str] | None = field(default=None, repr=False)

    @classmethod
    def create_or_resume(
        cls,
        path: Path,
        recipe: Section | str,
        *,
        resume: ResumePolicy,
        world: World,
        data: JsonDocument | None = None,
        starts: Mapping[str, str] | None = None,
    ) -> Run:
        """Make the directory, or enter one that an earlier start of the same run left, and write what it is made of.

        `auto` resumes a run that this start would have made too (see `polycli.engine.changes`), `never` refuses one,
        `must` insists on one and may change it. `recipe` may be the text of one, `data` says which stores train,
        `starts`, by recipe key, the hashes of weights that training begins from. All ranks call this; a directory that
        cannot be used ends all of them with `RunError`, and stays as it was.
        """
        lock: list[IO[str]] = []
        asked = _Asked(recipe, data, starts or {}, resume)
        resumed, changes = on_rank_zero(world, lambda: _enter(path, asked, lock))
        run = cls(path, world, resumed, lock[0] if lock else None)
        for change in changes:
            matters = change.changes_results(complete=False)
            what = "other data" if change.key == "data" else "a changed recipe"
            run.say(f"resuming with {what}: {change.sentence}", console.warn if matters else console.note)
        return run

    @property
    def checkpoints(self) -> Path:
        """The folder that holds the checkpoints of this run."""
        return self.path / CHECKPOINTS_FOLDER

    def whole_checkpoints(self) -> list[Checkpoint]:
        """Checkpoints that are complete by their manifests, oldest first."""
        return list_checkpoints(self.path)

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


@dataclass(frozen=True)
class _Asked:
    """A start's demands on the run in its folder: the recipe, stores and weights that it would train with."""

    recipe: Section | str
    data: JsonDocument | None
    starts: Mapping[str, str]
    resume: ResumePolicy


def _enter(path: Path, asked: _Asked, lock: list[IO[str]]) -> tuple[bool, list[Change]]:
    """Create or resume, on rank 0. Whether it is a resume, and what has changed since the start before."""
    exists = check_folder(path, asked.resume)
    try:
        (path / CHECKPOINTS_FOLDER).mkdir(parents=True, exist_ok=True)
        lock.append(_locked(path))
        changes = _changes(path, asked) if exists else []
        for name, text in _documents(asked).items():
            write_sealed(path / name, text, write_atomically)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror})") from error
    except RunError:
        for file in lock:
            file.close()
        raise
    return exists, changes


def _documents(asked: _Asked) -> dict[str, str]:
    """Return the texts of the files that say what a run is made of, by name."""
    recipe = asked.recipe if isinstance(asked.recipe, str) else dump_recipe(asked.recipe)
    weights = {key: {"weights_sha256": value} for key, value in asked.starts.items()}
    others = {DATA_NAME: asked.data, START_NAME: weights or None}
    told = {name: json.dumps(document, indent=2) + "\n" for name, document in others.items() if document is not None}
    return {RECIPE_NAME: recipe, **told}


def _changes(path: Path, asked: _Asked) -> list[Change]:
    """Compare with the run that is there; raise `RunError` where this start must not go on with it."""
    for sentence in broken_seals(path).values():
        console.warn(sentence)
    # Weights are told apart by their hashes where those are known, and by their paths elsewhere.
    hashed = read_starts(path)
    changes = [change for change in recipe_changes(path, asked.recipe) if change.key not in hashed]
    changes += start_changes(path, asked.starts)
    changes += [] if asked.data is None else data_changes(path, asked.data)
    checkpoints = list_checkpoints(path)
    saved_step = checkpoints[-1].manifest.step if checkpoints else None
    check_changes(path, changes, steps=steps_of(asked.recipe), resume=asked.resume, saved_step=saved_step)
    return changes


def _is_run(path: Path) -> bool:
    """Whether a run is here; `RunError` where something else is."""
    if not path.exists():
        return False
    if not path.is_dir():
        raise RunError(f"{path}: is a file, a run is a directory", hint="choose another --output")
    if (path / RECIPE_NAME).is_file():
        return True
    # What a start that was killed in its first instants leaves is not in the way.
    started = {CHECKPOINTS_FOLDER, SEALS_NAME, _LOCK_NAME, LOG_NAME}
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
