"""The settings that `--set` gives to eval, predict and embed: typed and closed, in the words of recipes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from polycli.sections import MOST_RESAMPLES, CalibrateSection, Section, UnitSettings, UsedCalibration
from polycli.workflow.untrained import ALLOW_DESCRIPTION
from polycli.xval.recipe.sources import TableSection, TemperatureSection, TextSection
from polycli.xval.recipe.training import JsonSection, PrepareRecipe

UnknownKeysChoice = Literal["leave_out", "refuse"]
UNKNOWN_KEYS = "keys of the data that the model never saw: said and kept out of its view, or an error"


class SweepSection(Section):
    """The continuity sweep: one number of a record is varied finely, another one predicted."""

    vary: str | None = Field(None, description="key path of the number that is varied; no sweep if absent")
    predict: tuple[str, ...] = Field((), description="patterns of key paths of what is hidden and predicted")
    low: float | None = Field(None, description="first value; the smallest of the training split if absent")
    high: float | None = Field(None, description="last value; the largest of the training split if absent")
    points: PositiveInt = Field(401, ge=3)
    records: PositiveInt = Field(4, description="records that are swept, the first ones of the split")
    jump: float = Field(
        0.05, gt=0, description="a change between neighbours above this share of the key's standard deviation is a jump"
    )

    @model_validator(mode="after")
    def _both(self) -> SweepSection:
        if (self.vary is None) != (not self.predict):
            raise ValueError("a sweep needs both, vary and predict")
        return self


class EvalSettings(Section):
    """The settings of `polycli eval xval --set KEY=VALUE`."""

    family: Literal["xval"]
    verb: Literal["eval"]
    allow_untrained: bool = Field(False, description=ALLOW_DESCRIPTION)
    unknown_keys: UnknownKeysChoice = Field("leave_out", description=UNKNOWN_KEYS)
    keys: tuple[str, ...] = Field((), description="patterns of key paths whose numbers are scored; all if empty")
    groups: tuple[tuple[str, ...], ...] = Field(
        (), description="patterns of key paths whose numbers are hidden together, such as [[description.planet*.a]]"
    )
    masking: Literal["share", "single"] = Field(
        "share", description="hide numbers in turns of the share that training hides, or one at a time"
    )
    share: float | None = Field(None, ge=0.001, le=1, description="hidden at once; that of the training if absent")
    max_records: PositiveInt = Field(1000, description="records per dataset; an even choice where there are more")
    batch_tokens: PositiveInt = Field(16_384, description="tokens of a forward pass, padding included")
    baselines: bool = Field(True, description="k-NN and gradient boosting, where records are rows of a table")
    baseline_rows: PositiveInt = Field(20_000, description="training records that they learn from, at most")
    bands: UsedCalibration = UsedCalibration()
    sweep: SweepSection = SweepSection()
    report: bool = Field(True, description="write report.html and figures; scores.json is written in any case")
    bootstrap_samples: PositiveInt = Field(
        1000, le=MOST_RESAMPLES, description="resamples of the records behind each interval"
    )
    seed: NonNegativeInt = Field(
        0, lt=2**32, description="of the turns in which numbers are hidden, and of the bootstrap"
    )


class CalibrateSettings(CalibrateSection):
    """The settings of `polycli calibrate xval --set KEY=VALUE`."""

    family: Literal["xval"]
    verb: Literal["calibrate"]
    allow_untrained: bool = Field(False, description=ALLOW_DESCRIPTION)
    unknown_keys: UnknownKeysChoice = Field("leave_out", description=UNKNOWN_KEYS)
    masking: Literal["share", "single"] = Field(
        "single", description="hide one number of a record at a time, as predict mostly does, or a share of them"
    )
    share: float | None = Field(None, ge=0.001, le=1, description="hidden at once; that of the training if absent")
    batch_tokens: PositiveInt = Field(16_384, description="tokens of a forward pass, padding included")
    seed: NonNegativeInt = Field(0, lt=2**32, description="of the turns in which numbers are hidden")


class ReadingSettings(Section):
    """The settings for reading files, in the words of prepare's recipe."""

    source: str | None = Field(None, description="as --source of prepare; found by a look at the files if absent")
    table: TableSection = Field(TableSection(), description="how CSV and Parquet are read")
    json_lines: JsonSection = Field(JsonSection(), description="of the sources json and python-lines")
    text: TextSection = TextSection()
    temperature: TemperatureSection = TemperatureSection()
    unknown_keys: UnknownKeysChoice = Field("leave_out", description=UNKNOWN_KEYS)

    @property
    def recipe(self) -> PrepareRecipe:
        """The settings as a prepare recipe, which is how a source takes them."""
        sections = {name: getattr(self, name) for name in ("table", "json_lines", "text", "temperature")}
        return PrepareRecipe(family="xval", verb="prepare", **sections)


class PredictSettings(ReadingSettings):
    """The settings of `polycli predict xval --set KEY=VALUE`."""

    family: Literal["xval"]
    verb: Literal["predict"]
    allow_untrained: bool = Field(False, description=ALLOW_DESCRIPTION)
    keys: tuple[str, ...] = Field(
        (), description="patterns of key paths where a null is filled in; where the model knows numbers if empty"
    )
    interval: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share that intervals are to hold, of a calibrated model; the nearest to its own if absent",
    )
    bands: UsedCalibration = UsedCalibration()
    digits: Literal["column", "full"] = Field(
        "column", description="of answers: as the training's own numbers are written, integers as integers, or all"
    )
    gap: str = Field("[NUM]", min_length=1, description="in free text: the mark in whose place a number is filled in")
    quote_formulas: bool = Field(
        False, description="of CSV: put a quote before texts of the data that a spreadsheet would compute, such as =A1"
    )
    batch_records: PositiveInt = Field(256, description="records that are filled in together")
    batch_tokens: PositiveInt = Field(16_384, description="tokens of a forward pass, padding included")
    overwrite: bool = Field(False, description="replace the output where it exists")


class EmbedSettings(UnitSettings, ReadingSettings):
    """The settings of `polycli embed xval --set KEY=VALUE`."""

    family: Literal["xval"]
    verb: Literal["embed"]
    allow_untrained: bool = Field(False, description=ALLOW_DESCRIPTION)
    numbers: bool = Field(True, description="also a vector for every number, with its key path and value")
    keys: tuple[str, ...] = Field((), description="patterns of key paths of those numbers; all if empty")
    batch_records: PositiveInt = Field(256, description="records that are read together")
    batch_tokens: PositiveInt = Field(16_384, description="tokens of a forward pass, padding included")
