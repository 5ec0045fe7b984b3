"""The pair that people share: model.safetensors, and model.json that says what it is and what it has seen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import save_file
from torch import Tensor

from polycli.checkpoints.manifest import DESCRIPTION_NAME, MODEL_NAME, CheckpointMetric
from polycli.checkpoints.metadata import DESCRIPTION_KEY, described_by, read_metadata
from polycli.checkpoints.resolve import ResolvedCheckpoint
from polycli.checkpoints.trained_on import TrainedOn
from polycli.console import warn
from polycli.errors import CheckpointError, problems_of
from polycli.files.documents import LARGEST_DOCUMENT
from polycli.files.plain import read_bytes, reason_of

#: The schema of the model.json that is written now.
MODEL_SCHEMA_VERSION = 2
#: What a model.json and the weights that it belongs to must agree in.
_IDENTITY = ("family", "verb", "version", "step", "model")


class ModelDescription(BaseModel):
    """model.json. A family may say more than this; what it adds is kept."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    format: Literal["polycli-model"] = "polycli-model"
    #: 1 was written up to 0.1: it does not say what was trained, and stands in model.json alone.
    schema_version: Literal[1, 2] = 2
    family: str
    verb: str
    version: str
    step: int
    #: The recipe's model section.
    model: Mapping[str, object]
    trained_on: dict[str, TrainedOn] = {}
    metric: CheckpointMetric | None = None


def with_earlier(
    trained_on: Mapping[str, TrainedOn], earlier: Mapping[str, Mapping[str, TrainedOn]]
) -> dict[str, TrainedOn]:
    """The section `trained_on` of model.json, with what the checkpoints that a training began from had seen.

    `earlier` is by where a checkpoint was named; so are its datasets here, beside those of the same name.
    """
    datasets_seen = dict(trained_on)
    for origin, datasets in earlier.items():
        for name, entry in datasets.items():
            datasets_seen[f"{name} ({origin})"] = entry
    return datasets_seen


def write_model(directory: Path, state_dict: Mapping[str, Tensor], description: ModelDescription) -> None:
    """Write both files into an existing directory: floating tensors as float32, each with memory of its own."""
    tensors = {
        name: (value.detach().float() if value.is_floating_point() else value.detach()).cpu().contiguous().clone()
        for name, value in state_dict.items()
    }
    text = json.dumps(description.model_dump(mode="json"), indent=2) + "\n"
    metadata = {"format": "pt", "family": description.family, **described_by(text)}
    save_file(tensors, directory / MODEL_NAME, metadata=metadata)
    (directory / DESCRIPTION_NAME).write_text(text, encoding="utf-8")


def read_description(path: Path) -> ModelDescription:
    """Read the description of a model from its model.json.

    Raises:
        CheckpointError: it is absent, not JSON, or not a description of a model.
    """
    try:
        text = read_bytes(path, LARGEST_DOCUMENT).decode("utf-8")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({reason_of(error)})") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: not a description of a model (it is no text)") from error
    return _parsed(path, text)


def description_of(resolved: ResolvedCheckpoint, *, family: str) -> ModelDescription | None:
    """Read what a file of weights says of itself, or model.json of it; None for files of other projects.

    Raises:
        CheckpointError: it is of another family, or not a description of a model, or the weights and the model.json
            beside them are of two checkpoints.
    """
    file, beside = resolved.model_file, resolved.description_file
    inside = read_metadata(file).get(DESCRIPTION_KEY)
    own = None if inside is None else _parsed(file, inside)
    description = own if beside is None else read_description(beside)
    if description is not None and description.family != family:
        raise CheckpointError(f"{file}: a checkpoint of the family {description.family}, {family} was expected")
    if description is not None and own is not None:
        _refuse_another(file, own, description)
    return description


def _parsed(path: Path, text: str) -> ModelDescription:
    try:
        return ModelDescription.model_validate_json(text)
    except ValidationError as error:
        raise CheckpointError(f"{path}: not a description of a model ({problems_of(error)})") from error


def _refuse_another(file: Path, own: ModelDescription, beside: ModelDescription) -> None:
    """Refuse a model.json that is not of these weights; one that was changed in what it declares holds, and is said."""
    inside, outside = own.model_dump(mode="json"), beside.model_dump(mode="json")
    if not own.trained_on:
        outside["trained_on"] = inside["trained_on"]
    name = file.with_suffix(".json").name
    different = [key for key in {**inside, **outside} if inside.get(key) != outside.get(key)]
    for key in different:
        if key in _IDENTITY:
            raise CheckpointError(
                f"{file}: the {name} beside it says another {key} than the weights do: they are of two checkpoints",
                hint=f"delete {name}: the weights say all of it themselves",
            )
    if different:
        warn(f"{file}: the {name} beside it was changed and holds in place of the weights' own: {', '.join(different)}")
