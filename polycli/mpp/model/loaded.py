"""The model that eval and predict work with: which checkpoint, why that one, and how it was trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from polycli import __version__
from polycli.checkpoints.exported import ModelDescription, read_description
from polycli.checkpoints.resolve import ResolvedCheckpoint, resolve_checkpoint
from polycli.console import note, say
from polycli.errors import CheckpointError, problems_of
from polycli.mpp.model.avit import AViT
from polycli.mpp.model.weights import load_model
from polycli.mpp.recipe.settings import FramesSection
from polycli.mpp.recipe.training import DataSection, ModelSection
from polycli.mpp.scoring.rollout import evaluation_device
from polycli.recipes.documents import read_document
from polycli.requests import JsonDocument
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

    def provenance(self) -> JsonDocument:
        """What scores and forecasts must say about where they come from."""
        return {
            "checkpoint": str(self.model_file),
            "selected_by": self.selected_by,
            "model_hash": self.model_hash,
            "version": __version__,
            "history": self.history,
            "time_stride": self.time_stride,
        }


def load_subject(path: Path, frames: FramesSection) -> Subject:
    """Find the checkpoint that `path` means, say which and why, and load it.

    Raises:
        CheckpointError: it is absent, truncated, dangerous, of another family or no checkpoint at all.
    """
    resolved = resolve_checkpoint(path)
    description = None if resolved.description_file is None else read_description(resolved.description_file)
    selected_by = _why(resolved, description)
    say(f"checkpoint: {resolved.model_file} ({selected_by})")
    model = load_model(resolved.model_file).requires_grad_(requires_grad=False).to(evaluation_device())
    known = _frames(resolved, description)
    if known is None and (frames.history is None or frames.time_stride is None):
        note(
            f"the checkpoint does not say how it was trained: history {DataSection().history} and time_stride 1, "
            "unless --set data.history=N and data.time_stride=N"
        )
    known = known or FramesSection(history=DataSection().history, time_stride=DataSection().time_stride)
    return Subject(
        model=model,
        model_file=resolved.model_file,
        selected_by=selected_by,
        model_hash=file_hash(resolved.model_file),
        history=frames.history or known.history or DataSection().history,
        time_stride=frames.time_stride or known.time_stride or DataSection().time_stride,
        trained_rows={name: frozenset(entry.rows) for name, entry in description.trained_on.items()}
        if description is not None and description.trained_on
        else None,
        run=None if resolved.checkpoint_dir is None else run_of(resolved.checkpoint_dir),
    )


def _why(resolved: ResolvedCheckpoint, description: ModelDescription | None) -> str:
    """`best of 3 by validation/loss: 0.123 at step 400`."""
    if description is None:
        return resolved.how
    metric = description.metric
    if metric is None:
        return f"{resolved.how}: step {description.step}"
    name = "" if resolved.how.endswith(metric.name) else f"{metric.name} "
    return f"{resolved.how}: {name}{metric.value:.4g} at step {description.step}"


def _frames(resolved: ResolvedCheckpoint, description: ModelDescription | None) -> FramesSection | None:
    """History and stride of the training, from model.json or else from the run's recipe."""
    said: Any = (description.model_extra or {}).get("data") if description is not None else None
    if said is None and resolved.checkpoint_dir is not None:
        run = run_of(resolved.checkpoint_dir)
        said = None if run is None else read_document(run / "recipe.yaml").data.get("data", {})
    if not isinstance(said, dict):
        return None
    try:
        return FramesSection.model_validate({key: said.get(key) for key in FramesSection.model_fields})
    except ValidationError as error:
        raise CheckpointError(f"{resolved.model_file}: its description is not sound: {problems_of(error)}") from error


def run_of(checkpoint: Path) -> Path | None:
    """RUN of RUN/checkpoints/step-00000100, if that is what the checkpoint lies in."""
    run = checkpoint.resolve().parent.parent
    return run if (run / "recipe.yaml").is_file() else None
