"""How far a training has come: its status.json, and the speed in the last lines of metrics.jsonl."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import yaml

from polycli.files.plain import open_plain
from polycli.inspection.finding import read_json
from polycli.status.progress import Progress, State

#: A run that says that it is running, and has written nothing for so many seconds or so many steps, was killed.
_QUIET_SECONDS, _QUIET_STEPS = 600.0, 200
_TAIL_BYTES = 2**16


def run_status(path: Path) -> Progress | None:
    """How far the run at `path` has come; None where there is none."""
    status = read_json(path / "status.json")
    if "state" not in status or not (path / "recipe.yaml").is_file():
        return None
    step = int(status.get("step") or 0)
    metrics, train = _last_training_line(path / "metrics.jsonl"), _train_section(path / "recipe.yaml")
    step = max(step, int(metrics.get("step") or 0))
    steps, batch = train.get("steps"), train.get("global_batch_size")
    speed = metrics.get("speed") or {}
    seconds = speed.get("step_seconds")
    state = _state(path, str(status["state"]), seconds)
    is_running = state == "running"
    return Progress(
        path,
        "run",
        state,
        ("step", "steps"),
        done=step,
        running=1 if is_running else 0,
        missing=max(0, steps - step) if isinstance(steps, int) else None,
        rows=step * batch if isinstance(batch, int) else None,
        rows_per_second=speed.get("samples_per_second"),
        seconds_left=(steps - step) * seconds if is_running and seconds and isinstance(steps, int) else None,
        error=str(status.get("message")) if status["state"] == "failed" else None,
    )


def _state(path: Path, said: str, step_seconds: float | None) -> State:
    if said in ("complete", "failed"):
        return "complete" if said == "complete" else "failed"
    written = max(file.stat().st_mtime for name in ("status.json", "metrics.jsonl") if (file := path / name).exists())
    quiet = max(_QUIET_SECONDS, _QUIET_STEPS * (step_seconds or 0.0))
    return "running" if said == "running" and time.time() - written < quiet else "stopped"


def _last_training_line(path: Path) -> dict[str, Any]:
    try:
        with open_plain(path) as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and found.get("kind") == "train":
            return found
    return {}


def _train_section(path: Path) -> dict[str, Any]:
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    train = recipe.get("train") if isinstance(recipe, dict) else None
    return train if isinstance(train, dict) else {}
