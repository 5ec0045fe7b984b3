"""The model that eval and predict work with: which checkpoint, why that one, and how it was trained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycli.checkpoints.resolve import resolve_checkpoint
from polycli.console import note, say
from polycli.errors import CheckpointError
from polycli.mpp.model import AViT
from polycli.mpp.recipe import DataSection, ModelSection
from polycli.mpp.rollout import evaluation_device
from polycli.mpp.settings import FramesSection
from polycli.mpp.weights import load_model
from polycli.store.hashing import file_hash


@dataclass(frozen=True)
class Subject:
    """A model in eval mode on its device, and where it comes from."""

    model: AViT
    model_file: Path
    selected_by: str
    model_hash: str
    history: int
    time_stride: int
    #: By dataset of the training: hashes of its trajectories. None where the checkpoint does not say.
    trained_rows: dict[str, frozenset[str]] | None
    #: The run that the checkpoint lies in, if it does.
    run: Path | None

    @property
    def section(self) -> ModelSection:
        """Its sizes and the fields that it knows."""
        return self.model.section


def load_subject(path: Path, frames: FramesSection) -> Subject:
    """Find the checkpoint that `path` means, say which and why, and load it.

    Raises:
        CheckpointError: it is absent, truncated, dangerous, of another family or no checkpoint at all.
    """
    resolved = resolve_checkpoint(path)
    description = _description(resolved.description_file)
    if description.get("family", "mpp") != "mpp":
        raise CheckpointError(
            f"{resolved.model_file}: a checkpoint of the family {description['family']}, mpp was expected",
            hint=f"polycli eval {description['family']} --checkpoint {path}",
        )
    say(f"checkpoint: {resolved.model_file} ({resolved.how})")
    model = load_model(resolved.model_file).eval().requires_grad_(requires_grad=False).to(evaluation_device())
    run = _run_around(resolved.model_file)
    trained = DataSection.model_fields
    known = description.get("data", {})
    if not known and (frames.history is None or frames.time_stride is None):
        note(
            f"the checkpoint does not say how it was trained: history {trained['history'].default}, time_stride 1 "
            "unless --set data.history, data.time_stride"
        )
    return Subject(
        model=model,
        model_file=resolved.model_file,
        selected_by=resolved.how,
        model_hash=file_hash(resolved.model_file),
        history=frames.history or int(known.get("history", trained["history"].default)),
        time_stride=frames.time_stride or int(known.get("time_stride", trained["time_stride"].default)),
        trained_rows=None
        if "trained_on" not in description
        else {name: frozenset(entry["rows"]) for name, entry in description["trained_on"].items()},
        run=run,
    )


def _description(file: Path | None) -> dict[str, Any]:
    """model.json beside the tensors; empty where there is none, as for public checkpoints."""
    if file is None:
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{file}: a description of a model is a JSON object, this is a {type(found).__name__}")
    return found


def _run_around(model_file: Path) -> Path | None:
    """RUN of RUN/checkpoints/step-00000100/model.safetensors."""
    parents = model_file.resolve().parents
    return parents[2] if len(parents) > 2 and (parents[2] / "recipe.yaml").is_file() else None
