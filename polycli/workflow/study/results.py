"""Joins what a finished run and its evaluation say into one document of values that tables can name."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from polycli.checkpoints.resolve import resolve_checkpoint
from polycli.errors import CheckpointError, RecipeError
from polycli.requests import JsonDocument
from polycli.store.hashing import file_hash

_MEAN = re.compile(r"(mean|geometric_mean)\((.*)\)")
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
    """The number at `place`, steps joined by slashes; None where the document has null there, or on the way.

    `mean(PLACE)` and `geometric_mean(PLACE)` are over all that a step `*` of PLACE stands for; None where one is null.

    Raises:
        RecipeError: there is no such place; the keys that there are stand in the message.
    """
    called = _MEAN.fullmatch(place)
    if called is None:
        return _number(_only_value(document, place, where), place, where)
    kind, inner = called.groups()
    values = [_number(value, inner, where) for value in _values(document, inner.split("/"), inner, where)]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    if kind == "mean":
        return statistics.fmean(known)
    if min(known) < 0:
        raise RecipeError(f"{where}: {place}: a geometric mean is of numbers from 0 on, and {min(known)} is there")
    return 0.0 if 0.0 in known else statistics.geometric_mean(known)


def _only_value(document: JsonDocument, place: str, where: str) -> Any:  # noqa: ANN401  # What JSON has.
    steps = place.split("/")
    if "*" in steps:
        raise RecipeError(f"{where}: {place} may be several values; mean({place}) or geometric_mean({place}) is one")
    return _values(document, steps, place, where)[0]


def _values(value: Any, steps: Sequence[str], place: str, where: str) -> list[Any]:  # noqa: ANN401  # What JSON has.
    """All values at the end of some steps: one, but for steps `*`."""
    if not steps or value is None:  # What is null has nothing below it.
        return [value]
    step, *further = steps
    entries: Mapping[str, Any] = value if isinstance(value, dict) else {}
    if isinstance(value, list):
        entries = {str(index): entry for index, entry in enumerate(value)}
    if step == "*" and entries:
        return [found for entry in entries.values() for found in _values(entry, further, place, where)]
    if step not in entries:
        there = ", ".join(map(str, entries)) or repr(value)
        raise RecipeError(f"{where}: there is no {place}: at {step!r} there are {there}")
    return _values(entries[step], further, place, where)


def _number(value: Any, place: str, where: str) -> float | None:  # noqa: ANN401  # What JSON has.
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
