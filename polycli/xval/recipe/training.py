"""The recipes of xVal, section by section: typed and closed."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from polycli.sections import (
    CalibrationChoice,
    EngineSection,
    LogSection,
    OptimSection,
    ScheduleSection,
    Section,
    SplitSize,
    TrainSection,
)
from polycli.xval.recipe.model import (
    DataSection,
    HeadSection,
    ModelSection,
    ObjectiveSection,
    refuse_number_token_loss,
)
from polycli.xval.recipe.sources import (
    ArithmeticSection,
    PlanetsSection,
    TableSection,
    TemperatureSection,
    TextSection,
)

CALIBRATE = (
    "at the end, find intervals that hold from the validation records: where there are 19 that do not also test, "
    "never, or else fail"
)
ScalerKind = Literal["none", "affine", "asinh"]
#: `auto` is affine, or asinh where the numbers of a key path reach over more than three decades.
ScalerChoice = Literal["auto", "none", "affine", "asinh"]


def _interval(bounds: tuple[float, float]) -> tuple[float, float]:
    if not bounds[0] <= bounds[1]:
        raise ValueError(f"an interval [low, high] was expected, found [{bounds[0]:g}, {bounds[1]:g}]")
    return bounds


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"a finite number was expected, found {value:g}")
    return value


Interval = Annotated[tuple[float, float], AfterValidator(_interval)]


class ScalerSection(Section):
    """One scaler with constants of the user's own; what is absent comes from statistics of the training split."""

    kind: ScalerKind
    shift: Annotated[float, AfterValidator(_finite)] | None = Field(
        None, description="subtracted first, in the data's units; the mean (affine) or 0 (asinh) if absent"
    )
    scale: PositiveFloat | None = Field(
        None, description="divided by last; the standard deviation (affine), or what maps the data to [-5, 5] (asinh)"
    )
    softness: PositiveFloat | None = Field(
        None,
        description="asinh alone: numbers of this size and below stay linear; the smallest decade of note if absent",
    )


class ScalingSection(Section):
    """The scaling of numbers when they are read, by key path; the store keeps them raw."""

    default: ScalerChoice = Field(
        "none",
        description="for key paths that no pattern below fits; auto is affine, or asinh over more than three decades. "
        "Stores of tables and JSON have auto where the recipe says nothing",
    )
    keys: dict[str, ScalerChoice | ScalerSection] = Field(
        {}, description="by pattern of key paths, such as description.planet*.a; the first that fits counts"
    )


class SplitSection(Section):
    """Shares of records for validation and test, which are divided by content hash or by the hash of their group."""

    validation: SplitSize = 0.1
    test: SplitSize = 0.1


class VocabularySection(Section):
    """The keys of the data that become tokens."""

    spell_keys: tuple[str, ...] = Field(
        (),
        description="patterns of key paths, such as names.*, whose last key is an id: it is spelled in bytes",
    )
    max_keys: PositiveInt = Field(4096, description="refuse data with more different keys than this")


class CoverageSection(Section):
    """Limits on what the data may lose, beyond which prepare refuses to publish."""

    verify_every: PositiveInt = Field(
        64, description="every n-th record of a block is decoded again and compared with what was read; 1 is all"
    )
    saturation_limit: PositiveFloat = Field(
        5.0, description="size of a scaled number beyond which it counts as saturated: xVal's useful range"
    )
    max_saturated: float | None = Field(
        None,
        ge=0,
        le=1,
        description="refuse where a larger share of the numbers of a key path is saturated; null only counts",
    )
    underflow: Literal["refuse", "count"] = Field(
        "refuse", description="for numbers that are not zero but are zero in float32 after scaling"
    )


class JsonSection(Section):
    """The settings of `--source json` and `--source python-lines`."""

    id_key: str | None = Field(None, description="key path whose value names a record; FILE:LINE if absent")
    records: str | None = Field(
        None, description="key path of a list whose members are the records; the whole file or line is one if absent"
    )
    layout: Literal["records", "split", "columns"] = Field(
        "records", description="of JSON: split and columns are pandas' layouts of a table in one object"
    )
    text_numbers: tuple[str, ...] = Field(
        (), description='patterns of key paths at which texts such as "1.5" are read as the numbers that they write'
    )


class PrepareRecipe(Section):
    """A whole recipe of `polycli prepare xval`."""

    family: Literal["xval"]
    verb: Literal["prepare"]
    text_keys: tuple[str, ...] = Field(
        (), description="patterns of key paths whose numbers are identifiers: they stay text, digit by digit"
    )
    hold_out: dict[str, Interval] = Field(
        {}, description="by pattern of key paths: records with a number in [low, high] test and never train"
    )
    group_by: str | None = Field(
        None, description="key path whose value names a group: its records share a split, as repeats of a sample must"
    )
    duplicates: Literal["keep", "drop"] | None = Field(
        None,
        description="of records equal to an earlier one; if absent, those with ids of their own are kept",
    )
    longer_than_context: Literal["refuse", "split"] = Field(
        "refuse", description="for records of more tokens than `context`: end with an error, or cut lists into pieces"
    )
    context: PositiveInt | None = Field(
        None, description="tokens of the longest record that a model will take, in the neutral form; null is any length"
    )
    scaling: ScalingSection = ScalingSection()
    split: SplitSection = SplitSection()
    vocabulary: VocabularySection = VocabularySection()
    coverage: CoverageSection = CoverageSection()
    json_lines: JsonSection = Field(JsonSection(), description="of the sources json and python-lines")
    planets: PlanetsSection = PlanetsSection()
    arithmetic: ArithmeticSection = ArithmeticSection()
    temperature: TemperatureSection = TemperatureSection()
    table: TableSection = TableSection()
    text: TextSection = TextSection()


class PretrainRecipe(Section):
    """A whole recipe of `polycli pretrain xval`."""

    family: Literal["xval"]
    verb: Literal["pretrain"]
    model: ModelSection
    data: DataSection = DataSection()
    scaling: ScalingSection | None = Field(None, description="what the stores recommend if absent")
    objective: ObjectiveSection = ObjectiveSection()
    optim: OptimSection = OptimSection()
    schedule: ScheduleSection = ScheduleSection()
    train: TrainSection
    engine: EngineSection = EngineSection()
    log: LogSection = LogSection()
    calibrate: CalibrationChoice = Field("auto", description=CALIBRATE)

    @model_validator(mode="after")
    def _loss_fits_encoding(self) -> PretrainRecipe:
        refuse_number_token_loss(self.objective, self.model.encoding)
        return self


class FinetuneRecipe(Section):
    """`polycli finetune xval`: the network, the encoding and the scaling are the checkpoint's."""

    family: Literal["xval"]
    verb: Literal["finetune"]
    checkpoint: str | None = Field(None, description="what to start from; --checkpoint says it")
    head: HeadSection = HeadSection()
    new_keys: Literal["extend", "refuse"] = Field(
        "extend", description="keys of the data that the checkpoint does not know: learn tokens for them, or refuse"
    )
    scaling: ScalingSection = Field(
        ScalingSection(default="affine"), description="of numbers under key paths that the checkpoint does not know"
    )
    data: DataSection = DataSection()
    objective: ObjectiveSection = ObjectiveSection()
    optim: OptimSection = OptimSection()
    schedule: ScheduleSection = ScheduleSection()
    train: TrainSection
    engine: EngineSection = EngineSection()
    log: LogSection = LogSection()
    calibrate: CalibrationChoice = Field("auto", description=CALIBRATE)
