"""The manifest of a store of records: the fields that it has besides those of every store."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from polycli.xval.recipe.training import ScalingSection


class _Column(BaseModel):
    key: str
    read_as: Literal["number", "text"]


class _Range(BaseModel):
    min: float
    max: float


class _Known(BaseModel):
    #: By header of a table.
    columns: dict[str, _Column] = {}
    #: By pattern of key paths.
    units: dict[str, str] = {}
    #: By key path.
    keys: dict[str, _Range] = {}


class RecordsAbout(BaseModel):
    """The manifest's `about` section for a store of records."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vocabulary: dict[str, Any]
    #: Places where numbers stand, in the order that the array `number_keys` counts.
    key_paths: tuple[str, ...]
    #: The rules of the recipe's `hold_out`, in the order of the columns of the array `held_out`.
    hold_out: tuple[dict[str, Any], ...] = ()
    #: By rule, how many records it holds out of training.
    held_out: dict[str, int] = {}
    group_by: str | None = None
    #: Key paths whose numbers are text.
    text_keys: tuple[str, ...] = ()
    #: What prepare was told to recommend; a training recipe may say another.
    scaling: ScalingSection = ScalingSection()
    #: The coverage report: see `polycli.xval.data.coverage`.
    coverage: dict[str, Any] = {}
    #: What the source says of its data: units by key path, constants of a simulation.
    source: dict[str, Any] = {}

    @field_validator("coverage", "source", mode="after")
    @classmethod
    def _check_what_is_read(cls, found: dict[str, Any]) -> dict[str, Any]:
        """Both are mostly for people; what the code reads of them is looked at, and stays as it was written."""
        _Known.model_validate(found)
        return found
