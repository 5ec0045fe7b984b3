"""The manifest of a store of records: the fields that it has besides those of every store."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from polycli.xval.recipe.training import ScalingSection


class _Column(BaseModel):
    key: str
    read_as: Literal["number", "text"]


class _Known(BaseModel):
    #: By header of a table.
    columns: dict[str, _Column] = {}
    #: By pattern of key paths.
    units: dict[str, str] = {}


class KeyReport(BaseModel):
    """The raw numbers of one key path, and their fate under scaling."""

    model_config = ConfigDict(extra="allow", frozen=True)

    count: int = 0
    min: float
    max: float
    #: The smallest size of a number that is not zero.
    smallest: float | None = None
    #: By power of ten, how many numbers are of that size.
    decades: dict[str, int] = {}
    #: The kind of scaling that is recommended.
    scaler: str = "none"
    #: The share beyond the saturation limit after scaling, and the count of those that become zero in float32.
    saturated: float = 0.0
    underflow: int = 0


class CoverageReport(BaseModel):
    """Says how much of the data arrived in the store: see `polycli.xval.data.coverage`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    #: Of the store, without duplicates; tokens, and what follows, of all that was read.
    records: int = 0
    numbers: int = 0
    tokens: int = 0
    #: Of the input, where it is text.
    characters: int = 0
    #: Records that were decoded again and compared with what was read.
    verified: int = 0
    #: Tokens of the longest record.
    longest: int = 0
    #: What was met and is worth telling, with how often.
    notes: dict[str, int] = {}
    rejected: int = 0
    duplicates: int = 0
    saturation_limit: float = 0.0
    #: By key path where numbers and texts stand, how many of each.
    mixed_types: dict[str, dict[str, int]] = {}
    keys: dict[str, KeyReport] = {}


class RecordsAbout(BaseModel):
    """The manifest's `about` section for a store of records."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vocabulary: dict[str, object]
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
    coverage: CoverageReport = CoverageReport()
    #: What the source says of its data: units by key path, constants of a simulation.
    source: dict[str, Any] = {}

    @field_validator("source", mode="after")
    @classmethod
    def _check_what_is_read(cls, found: dict[str, Any]) -> dict[str, Any]:
        """It is mostly for people; what the code reads of it is looked at, and stays as it was written."""
        _Known.model_validate(found)
        return found
