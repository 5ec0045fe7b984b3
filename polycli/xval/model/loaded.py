"""The model that eval, predict and embed work with: which checkpoint, why that one, and how it reads records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from polycli import __version__
from polycli.checkpoints.exported import ModelDescription, TrainedOn
from polycli.checkpoints.resolve import ResolvedCheckpoint, resolve_checkpoint
from polycli.console import say
from polycli.errors import CheckpointError
from polycli.requests import JsonDocument
from polycli.store.hashing import file_hash
from polycli.xval.data.collate import Tokenization
from polycli.xval.data.tokenization import read_tokenization
from polycli.xval.model.heads import RecordModel
from polycli.xval.model.numformer import Numformer
from polycli.xval.model.weights import model_from, read_xval_description, record_model_from


@dataclass(frozen=True)
class Subject:
    """A model in eval mode on its device, and where it comes from."""

    model: Numformer
    tokenization: Tokenization
    model_file: Path
    selected_by: str
    model_hash: str
    #: By dataset of the training; empty where the checkpoint does not say.
    trained_on: dict[str, TrainedOn]
    #: How much of a record training hides; None where the checkpoint does not say.
    mask_probability: float | None
    #: The run that the checkpoint lies in, if it does.
    run: Path | None

    @property
    def judge(self) -> RecordModel | None:
        """The model, where finetuning gave it a head that answers for whole records."""
        return self.model if isinstance(self.model, RecordModel) else None

    @property
    def encoding(self) -> str:
        """How numbers are written."""
        return self.tokenization.encoding.name

    def provenance(self) -> JsonDocument:
        """What results must say about where they come from."""
        return {
            "checkpoint": str(self.model_file),
            "selected_by": self.selected_by,
            "model_hash": self.model_hash,
            "version": __version__,
            "encoding": self.encoding,
        }


def load_subject(path: Path) -> Subject:
    """Find the checkpoint that `path` means, say which and why, and load it.

    Raises:
        CheckpointError: it is absent, truncated, dangerous, of another family, or does not say how it reads records.
    """
    resolved = resolve_checkpoint(path)
    if resolved.description_file is None:
        raise CheckpointError(
            f"{resolved.model_file}: weights alone, without the model.json that says what their tokens mean",
            hint="give a run of polycli, or the folder of `polycli export`",
        )
    description = read_xval_description(resolved.description_file)
    selected_by = _why(resolved, description)
    say(f"checkpoint: {resolved.model_file} ({selected_by})")
    model = record_model_from(resolved.model_file, description) or model_from(resolved.model_file, description, {})
    model.requires_grad_(requires_grad=False)
    extra = description.model_extra or {}
    objective = extra.get("objective", {})
    return Subject(
        model=model.to(evaluation_device()),
        tokenization=read_tokenization(extra, model.section, source=str(resolved.description_file)),
        model_file=resolved.model_file,
        selected_by=selected_by,
        model_hash=file_hash(resolved.model_file),
        trained_on=description.trained_on,
        mask_probability=objective.get("mask_probability"),
        run=None if resolved.checkpoint_dir is None else run_of(resolved.checkpoint_dir),
    )


def evaluation_device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def run_of(checkpoint: Path) -> Path | None:
    """RUN of RUN/checkpoints/step-00000100, if that is what the checkpoint lies in."""
    run = checkpoint.resolve().parent.parent
    return run if (run / "recipe.yaml").is_file() else None


def _why(resolved: ResolvedCheckpoint, description: ModelDescription) -> str:
    """`best of 3 by validation/loss: 0.123 at step 400`."""
    metric = description.metric
    if metric is None:
        return f"{resolved.how}: step {description.step}"
    name = "" if resolved.how.endswith(metric.name) else f"{metric.name} "
    return f"{resolved.how}: {name}{metric.value:.4g} at step {description.step}"
