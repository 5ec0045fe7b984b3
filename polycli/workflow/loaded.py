"""The checkpoint that a verb works with: which file it is, why that one, and what it was trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from polycli import __version__
from polycli.checkpoints.exported import ModelDescription, description_of
from polycli.checkpoints.manifest import MODEL_NAME
from polycli.checkpoints.resolve import ResolvedCheckpoint, resolve_checkpoint
from polycli.checkpoints.trained_on import TrainedOn
from polycli.console import say
from polycli.engine.monitor.metrics_lines import read_lines
from polycli.errors import CheckpointError, UserError
from polycli.recipes.documents import read_document
from polycli.report.scores import Provenance
from polycli.report.training import TrainingLine
from polycli.store.hashing import file_hash
from polycli.workflow.stores import unique_names

#: What a report shows of the speed of a run, as metrics.jsonl calls it.
_SPEEDS = ("samples_per_second", "step_seconds", "data_wait_share", "peak_memory_bytes")


@dataclass(frozen=True, kw_only=True)
class LoadedCheckpoint:
    """A checkpoint's origin: its file, why that one was chosen, and its run.
    Families extend this with the model itself and with how it reads data.
    """

    model_file: Path
    #: `best of 3 kept, by validation/loss: 0.123 at step 400`.
    selected_by: str
    #: SHA-256 of the file of weights.
    model_hash: str
    #: model.json; None for files of other projects.
    description: ModelDescription | None
    #: The run that the checkpoint lies in, if it does.
    run: Path | None

    @property
    def trained_on(self) -> Mapping[str, TrainedOn]:
        """Maps each training dataset to the rows that trained; empty where the checkpoint does not say."""
        return {} if self.description is None else self.description.trained_on

    def described(self, section: str) -> Any:  # noqa: ANN401  # what a family wrote there
        """A section that the family added to model.json; None where it is not there."""
        return None if self.description is None else (self.description.model_extra or {}).get(section)

    def described_object(self, section: str) -> Mapping[str, object]:
        """A section that the family added to model.json as an object; empty where it is not there.

        Raises:
            CheckpointError: it is something else.
        """
        found = self.described(section)
        if found is not None and not isinstance(found, dict):
            raise CheckpointError(
                f"{self.model_file}: `{section}` of its description is a {type(found).__name__}, an object was expected"
            )
        return found or {}

    def recipe_section(self, section: str) -> Mapping[str, object]:
        """A section of the recipe of the run that the checkpoint lies in; empty where there is none."""
        found = None if self.run is None else read_document(self.run / "recipe.yaml").data.get(section)
        return found if isinstance(found, dict) else {}

    def training_lines(self) -> list[TrainingLine]:
        """The lines that the run measured while it trained, step by step; empty for a checkpoint without its run."""
        return [] if self.run is None else list(_measured(self.run / "metrics.jsonl"))

    @property
    def step(self) -> int | None:
        """The step of the weights, where the checkpoint says it."""
        return None if self.description is None else self.description.step

    def provenance(self) -> Provenance:
        """Returns what results must say about the model that they come from."""
        return Provenance(
            checkpoint=str(self.model_file),
            selected_by=self.selected_by,
            model_hash=self.model_hash,
            version=__version__,
        )


def find_checkpoint(path: Path, *, family: str, quiet: bool = False) -> LoadedCheckpoint:
    """Find the file of weights that `path` means, and say which it is and why, unless `quiet`.

    Raises:
        CheckpointError: there is none, it is damaged, or it is of another family.
    """
    resolved = resolve_checkpoint(path)
    description = description_of(resolved, family=family)
    selected_by = _reason(resolved, description)
    if not quiet:
        say(f"checkpoint: {resolved.model_file} ({selected_by})")
    return LoadedCheckpoint(
        model_file=resolved.model_file,
        selected_by=selected_by,
        model_hash=file_hash(resolved.model_file),
        description=description,
        run=None if resolved.checkpoint_dir is None else _run_of(resolved.checkpoint_dir),
    )


def _measured(path: Path) -> Iterator[TrainingLine]:
    """The lines of metrics.jsonl that have a loss; damaged ones are left out, which `inspect --verify` reports."""
    try:
        lines = [line for line in read_lines(path) if line.damage is None]
    except OSError:
        return  # A report without curves is still a report.
    for line in lines:
        validation = line.kind == "validation"
        document = json.loads(line.content)
        loss, speed = document.get("validation/loss" if validation else "loss"), document.get("speed")
        if line.kind in {"train", "validation"} and isinstance(loss, float):
            known = {key: value for key, value in speed.items() if key in _SPEEDS} if isinstance(speed, dict) else {}
            yield TrainingLine(step=line.step, loss=loss, validation=validation, **known)


def evaluation_device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _run_of(checkpoint: Path) -> Path | None:
    """RUN of RUN/checkpoints/step-00000100, if that is what the checkpoint lies in."""
    run = checkpoint.resolve().parent.parent
    return run if (run / "recipe.yaml").is_file() else None


def _reason(resolved: ResolvedCheckpoint, description: ModelDescription | None) -> str:
    """Why this file: how it was chosen, and what validation said of it."""
    if description is None:
        return resolved.how
    metric = description.metric
    if metric is None:
        return f"{resolved.how}: step {description.step}"
    name = "" if resolved.how.endswith(metric.name) else f"{metric.name} "
    return f"{resolved.how}: {name}{metric.value:.4g} at step {description.step}"


def labels_of(models: Sequence[LoadedCheckpoint]) -> list[str]:
    """The names of models in tables: of their runs or, where two are of one run or of none, of their checkpoints.

    Raises:
        UserError: one model is there twice.
    """
    files = [loaded.model_file for loaded in models]
    if len(set(files)) < len(files):
        twice = next(file for file in files if files.count(file) > 1)
        raise UserError(f"{twice} takes part twice, as the checkpoint or as a baseline")
    places = _places(models)
    labels = unique_names({place: place.name for place in places})
    return [labels[place] for place in places]


def _places(models: Sequence[LoadedCheckpoint]) -> list[Path]:
    """The paths that models are named after: their runs or, where two are of one run or of none, their checkpoints."""
    runs = [loaded.run for loaded in models]
    return [
        loaded.run.resolve() if loaded.run is not None and runs.count(loaded.run) == 1 else _checkpoint(loaded)
        for loaded in models
    ]


def _checkpoint(loaded: LoadedCheckpoint) -> Path:
    file = loaded.model_file.resolve()
    return file.parent if file.name == MODEL_NAME else file
