"""The pair that people share: model.safetensors, and model.json that says what it is and what it has seen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import save_file
from torch import Tensor

from polycli.checkpoints.manifest import DESCRIPTION_NAME, MODEL_NAME, CheckpointMetric
from polycli.checkpoints.resolve import ResolvedCheckpoint
from polycli.errors import CheckpointError, problems_of


class TrainedOn(BaseModel):
    """One dataset of the training: its store and the content hashes of the rows that trained."""

    model_config = ConfigDict(frozen=True)

    store_hash: str
    #: Hex digits of each hash, or, of stores of many small rows, all of them packed (`polycli.store.overlap`).
    rows: str | tuple[str, ...]


class ModelDescription(BaseModel):
    """model.json. A family may say more than this; what it adds is kept."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    format: Literal["polycli-model"] = "polycli-model"
    schema_version: Literal[1] = 1
    family: str
    verb: str
    version: str
    step: int
    #: The recipe's model section.
    model: dict[str, Any]
    trained_on: dict[str, TrainedOn] = {}
    metric: CheckpointMetric | None = None


def with_earlier(trained_on: dict[str, Any], earlier: Mapping[str, Mapping[str, TrainedOn]]) -> dict[str, Any]:
    """`trained_on` of model.json, with what the checkpoints that a training began from had seen.

    `earlier` is by where a checkpoint was named; so are its datasets here, beside those of the same name.
    """
    found = dict(trained_on)
    for place, datasets in earlier.items():
        for name, entry in datasets.items():
            found[f"{name} ({place})"] = entry.model_dump(mode="json")
    return found


def write_model(directory: Path, state_dict: Mapping[str, Tensor], description: ModelDescription) -> None:
    """Write both files into an existing directory: floating tensors as float32, each with memory of its own."""
    tensors = {
        name: (value.detach().float() if value.is_floating_point() else value.detach()).cpu().contiguous().clone()
        for name, value in state_dict.items()
    }
    save_file(tensors, directory / MODEL_NAME, metadata={"format": "pt", "family": description.family})
    text = json.dumps(description.model_dump(mode="json"), indent=2)
    (directory / DESCRIPTION_NAME).write_text(text + "\n", encoding="utf-8")


def read_description(path: Path) -> ModelDescription:
    """Read a model.json.

    Raises:
        CheckpointError: it is absent, not JSON, or not a description of a model.
    """
    try:
        return ModelDescription.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise CheckpointError(f"{path}: not a description of a model ({problems_of(error)})") from error


def description_of(resolved: ResolvedCheckpoint, *, family: str) -> ModelDescription | None:
    """What belongs to a file of weights as its model.json; None for files of other projects.

    Raises:
        CheckpointError: it is of another family, or not a description of a model.
    """
    if resolved.description_file is None:
        return None
    description = read_description(resolved.description_file)
    if description.family != family:
        raise CheckpointError(
            f"{resolved.model_file}: a checkpoint of the family {description.family}, {family} was expected"
        )
    return description
