"""Joins what a finished run and its evaluation say into one document of values that tables can name."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from polycli.checkpoints.resolve import resolve_checkpoint
from polycli.errors import CheckpointError, RecipeError
from polycli.requests import JsonDocument
from polycli.store.hashing import file_hash

#: By entry and name of the experiment: what a run and its evaluation say.
Documents = Mapping[str, Mapping[str, JsonDocument]]


def run_document(run: Path) -> JsonDocument:
    """Steps, seconds of training (validation and saving apart), memory and size of a complete run.

    `step_seconds` is the median over the lines of metrics.jsonl, so that a disturbance of the machine counts little.
    """
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    training = [line for line in lines if line["kind"] == "train"]
    step_seconds = statistics.median(line["speed"]["step_seconds"] for line in training)
    steps = training[-1]["step"]
    document: JsonDocument = {
        "steps": steps,
        "step_seconds": step_seconds,
        "seconds": step_seconds * steps,
        "peak_memory_bytes": max(line["speed"]["peak_memory_bytes"] for line in training),
        "training_loss": training[-1]["loss"],
        "parameters": _parameters(run),
        "recipe": yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8")),
    }
    rates = [line["speed"]["tokens_per_second"] for line in training if line["speed"].get("tokens_per_second")]
    if rates:
        document["tokens_per_second"] = statistics.median(rates)
    return document


def model_hash(run: Path) -> str | None:
    """SHA-256 of the model that an evaluation of the run would take; None where there is none yet."""
    if not run.exists():
        return None
    try:
        return file_hash(resolve_checkpoint(run).model_file)
    except CheckpointError:
        return None


def value_at(document: JsonDocument, place: str, *, where: str) -> float | None:
    """The number at `place`, steps joined by slashes; None where the document has null there.

    Raises:
        RecipeError: there is no such place; the keys that there are stand in the message.
    """
    value: Any = document
    for step in place.split("/"):
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
            continue
        if not isinstance(value, dict) or step not in value:
            there = ", ".join(map(str, value)) if isinstance(value, dict) else repr(value)
            raise RecipeError(f"{where}: there is no {place}: at {step!r} there are {there}")
        value = value[step]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"{where}: {place} is not a number: {value!r}")
    return float(value)


def _parameters(run: Path) -> int:
    from safetensors import safe_open

    with safe_open(resolve_checkpoint(run).model_file, framework="numpy") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118  # Not a mapping.
    total = 0
    for shape in shapes:
        size = 1
        for length in shape:
            size *= length
        total += size
    return total
