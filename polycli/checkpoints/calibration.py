"""A calibration on disk: a JSON document beside the weights, with bounds that hold for these very weights alone.

`model.safetensors` has `model.calibration.json` beside it. The document names the weights by their SHA-256, lists the
rows that were used by their content hashes, and holds a hash of itself.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from polycli.checkpoints.trained_on import TrainedOn
from polycli.errors import CheckpointError, problems_of
from polycli.files.documents import read_object

SUFFIX = ".calibration.json"
FORMAT: Literal["polycli-calibration"] = "polycli-calibration"
#: In the document: the hash of everything else that it says.
CHECKSUM_KEY = "calibration_sha256"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Group(_Record):
    """Bounds for the scores of one group: a field at a step, a key path."""

    #: How many units (trajectories, records, objects) the bounds come from.
    units: int = Field(ge=1)
    #: One for each level, rising; None is infinite: so many units failed.
    bounds: tuple[float | None, ...]

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        finite = [bound for bound in self.bounds if bound is not None]
        if sorted(finite) != finite or None in self.bounds[: len(finite)]:
            raise ValueError(f"bounds rise with their levels, found {list(self.bounds)}")
        return self


class CalibratedData(_Record):
    """One dataset: which rows of it were used, what it is, and the bounds by group."""

    rows: TrainedOn
    #: Whatever the family must know to tell for which data the bounds hold.
    about: dict[str, object]
    groups: dict[str, Group]


class Calibration(_Record):
    """The content of a calibration file."""

    format: Literal["polycli-calibration"] = FORMAT
    schema_version: Literal[1] = 1
    family: str
    #: The version of polycli that wrote it.
    version: str
    #: Path of the weights, as they lay then; their hash decides.
    checkpoint: str
    model_hash: str
    #: Promised shares, rising.
    levels: tuple[float, ...] = Field(min_length=1)
    #: Whatever the family must know to use the bounds: how scores were made.
    settings: dict[str, object]
    #: By dataset.
    data: dict[str, CalibratedData]

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        if not all(0 < level < 1 for level in self.levels) or sorted(set(self.levels)) != list(self.levels):
            raise ValueError(f"levels rise and lie between 0 and 1, found {list(self.levels)}")
        for name, data in self.data.items():
            for label, group in data.groups.items():
                if len(group.bounds) != len(self.levels):
                    raise ValueError(
                        f"{name}: {label} has {len(group.bounds)} bounds, there are {len(self.levels)} levels"
                    )
        return self

    def of_weights(self, model_hash: str) -> Calibration:
        """Returns the same calibration for a file with the same weights and another hash."""
        return self.model_copy(update={"model_hash": model_hash})


def calibration_beside(model_file: Path) -> Path:
    """The place of the calibration of a file of weights: `small.calibration.json` for `small.safetensors`."""
    return model_file.with_suffix(SUFFIX)


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write the document, with its hash."""
    document = calibration.model_dump(mode="json")
    path.write_text(json.dumps({**document, CHECKSUM_KEY: _hash_of(document)}, indent=1) + "\n", encoding="utf-8")


def is_calibration(path: Path) -> bool:
    """Whether a file says that it is a calibration, whole or not."""
    try:
        return path.is_file() and read_object(path, CheckpointError, what="a calibration").get("format") == FORMAT
    except CheckpointError:
        return False


def read_calibration(path: Path) -> Calibration:
    """The calibration in a file.

    Raises:
        CheckpointError: it is absent, damaged, or no calibration.
    """
    try:
        document = read_object(path, CheckpointError, what="a calibration")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such calibration") from None
    if document.get("format") != FORMAT:
        raise CheckpointError(f"{path}: no calibration, as `polycli calibrate` writes them")
    own = document.pop(CHECKSUM_KEY, None)
    if own != _hash_of(document):
        raise CheckpointError(
            f"{path}: damaged, its content does not match its own {CHECKSUM_KEY}",
            hint="make it again with `polycli calibrate`",
        )
    try:
        return Calibration.model_validate(document)
    except ValidationError as error:
        raise CheckpointError(f"{path}: not a sound calibration: {problems_of(error)}") from error


def _hash_of(document: dict[str, object]) -> str:
    """The hash of the content, in whatever order and however spaced it is written."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode("utf-8")).hexdigest()
