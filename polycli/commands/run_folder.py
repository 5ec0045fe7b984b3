"""A look at the run folder before torch is imported: what is refused, and what is complete already, is said at once."""

from __future__ import annotations

from typing import Any

import yaml

from polycli import console
from polycli.checkpoints.manifest import list_checkpoints, verify
from polycli.engine.run import RECIPE_NAME, check_folder, read_status
from polycli.errors import CheckpointError
from polycli.recipes import dump_recipe
from polycli.requests import JsonDocument, TrainRequest
from polycli.sections import Section


def look_at_run(request: TrainRequest, recipe: Section) -> JsonDocument | None:
    """What training would give without taking a step: the result of a run that is complete; None for all others.

    Raises:
        RunError: the folder and `--resume` do not fit each other.
    """
    folder = request.run_folder
    if not check_folder(folder, request.resume):
        return None
    status = read_status(folder) or {}
    steps = getattr(getattr(recipe, "train", None), "steps", None)
    if steps is None or status.get("state") != "complete" or status.get("step", -1) < steps:
        return None
    # A changed model is for the family to refuse, which knows what it fills in by itself.
    if _model_of((folder / RECIPE_NAME).read_text(encoding="utf-8")) != _model_of(dump_recipe(recipe)):
        return None
    checkpoints = list_checkpoints(folder)
    if not checkpoints or checkpoints[-1].manifest.step != status["step"]:
        return None
    last = checkpoints[-1]
    try:
        verify(last.directory)
    except CheckpointError:
        # The engine passes over what is damaged and goes on from the one before.
        return None
    console.say(f"{folder}: complete already, at step {last.manifest.step}")
    return {
        "run": str(folder),
        "step": last.manifest.step,
        "checkpoint": str(last.directory),
        "validation": {},
        "bad_steps": 0,
    }


def _model_of(text: str) -> Any:  # noqa: ANN401  # Whatever the family's model section holds.
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    return document.get("model") if isinstance(document, dict) else None
