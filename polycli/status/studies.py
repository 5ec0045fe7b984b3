"""How far a study has come: which of its stores, runs and evaluations are complete."""

from __future__ import annotations

from pathlib import Path

from polycli.inspection.finding import read_json
from polycli.status.progress import Progress
from polycli.status.runs import run_status
from polycli.status.stores import store_status
from polycli.workflow.study.schedule import TASKS_NAME


def study_status(path: Path) -> Progress | None:
    """How far the study at `path` has come; None where there is none."""
    tasks = read_json(path / TASKS_NAME).get("tasks")
    if not isinstance(tasks, list):
        return None
    states = [_state(path / str(task)) for task in tasks]
    done, running = states.count("complete"), states.count("running")
    failed = next((task for task, state in zip(tasks, states, strict=True) if state == "failed"), None)
    error = None
    if failed is not None:
        run = run_status(path / str(failed))
        error = f"{failed}: {run.error if run is not None else 'failed'}"
    over = done == len(tasks)
    return Progress(
        path,
        "study",
        "complete" if over else "running" if running else "failed" if error else "stopped",
        ("task", "tasks"),
        done=done,
        running=running,
        missing=len(tasks) - done - running,
        error=error,
    )


def _state(folder: Path) -> str:
    """The state of a store, a run or an evaluation; an evaluation that has no scores yet is missing."""
    found = run_status(folder) or store_status(folder)
    if found is not None:
        return found.state
    if (folder / "scores.json").is_file():
        return "complete"
    stores = [store_status(inside) for inside in folder.glob("*.zarr")] if folder.is_dir() else []
    return "complete" if stores and all(store and store.state == "complete" for store in stores) else "missing"
