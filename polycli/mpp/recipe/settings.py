"""The settings that `--set` gives to eval, predict and embed: typed and closed, in the words of recipes."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from polycli.mpp.recipe.arrays import ArraysSection, DatasetSection, Extent, WellSection
from polycli.mpp.recipe.physics import Boundary
from polycli.sections import MOST_RESAMPLES, CalibrateSection, Section, UnitSettings, UsedCalibration
from polycli.workflow.untrained import ALLOW_DESCRIPTION

_OLDER_NAMES = ("fields", "boundary", "dt", "extent")


class FramesSection(Section):
    """Settings for taking frames from data; those of the checkpoint's training where absent."""

    history: PositiveInt | None = Field(None, description="frames that the model sees before the one it predicts")
    time_stride: PositiveInt | None = Field(None, description="use every n-th frame")


class UnsaidSection(Section):
    """Facts about the model that weights without their model.json lack; given, they replace what a checkpoint says."""

    predicts: Literal["state", "change"] | None = Field(
        None, description="the next state, as published, or the change to it; what the checkpoint says if absent"
    )
    jitter: Literal["none", "training", "always"] | None = Field(
        None, description="whether patches are jittered in training, or in forecasts too; as trained if absent"
    )
    fields: tuple[str, ...] | None = Field(
        None, description="names of the states; what the checkpoint says, else the published twelve, if absent"
    )


class ModelSettings(Section):
    """The settings that all verbs share that work with a checkpoint."""

    family: Literal["mpp"]
    data: FramesSection = FramesSection()
    model: UnsaidSection = UnsaidSection()
    allow_untrained: bool = Field(False, description=ALLOW_DESCRIPTION)


class TrajectorySettings(Section):
    """How a number for a whole trajectory is made of windows of it."""

    windows_per_trajectory: PositiveInt = Field(
        8, description="windows of each trajectory, evenly spread, over which answers of heads and probes are averaged"
    )


class ForecastSettings(ModelSettings):
    """The settings that eval and predict share."""

    rollout_batch_size: PositiveInt = Field(
        1, description="trajectories per forward pass; above 1, a GPU is used better and frames may round differently"
    )


class BandsSection(UsedCalibration):
    """The bands of a calibrated model: whether and which, and what a forecast's validity means."""

    dataset: str | None = Field(
        None, description="the calibrated dataset whose bands are taken; that of the data's name or physics if absent"
    )
    valid_below: PositiveFloat = Field(
        0.5,
        description="VRMSE, mean over fields, below which a forecast is valid; 0.5 explains 3/4 of the variance",
    )
    valid_for: float = Field(
        0.9, gt=0, lt=1, description="share of trajectories that are valid up to the horizon; a calibrated level"
    )


class BandedSettings(ForecastSettings):
    """The settings that the verbs share which use bands."""

    bands: BandsSection = BandsSection()


class CalibrateSettings(ForecastSettings, CalibrateSection):
    """The settings of `polycli calibrate mpp --set KEY=VALUE`."""

    verb: Literal["calibrate"]
    points: float = Field(
        0.95, gt=0, le=1, description="share of a field's points that a band is to hold at a step; 1 is all of them"
    )
    draws: PositiveInt = Field(
        1,
        le=1024,
        description="forecasts of each context, for models that jitter their patches: their spread at a point scales "
        "the band there; predict and eval then make as many",
    )
    rollout_steps: PositiveInt | None = Field(None, description="steps of a rollout; to the trajectory's end if absent")
    from_frame: NonNegativeInt = Field(0, description="the frame of the trajectories at which the context begins")


class EvalSettings(BandedSettings, TrajectorySettings):
    """The settings of `polycli eval mpp --set KEY=VALUE`."""

    verb: Literal["eval"]
    batch_size: PositiveInt = Field(8, description="windows per forward pass of the one-step scores")
    max_windows: PositiveInt = Field(
        2000, description="one-step windows per dataset; an even choice where there are more"
    )
    rollout_steps: PositiveInt | None = Field(None, description="steps of a rollout; to the trajectory's end if absent")
    probes: bool = Field(
        False, description="also predict the parameters of the physics from the model's vectors, by simple probes"
    )
    reference_trajectories: PositiveInt = Field(
        1024, description="training trajectories of each store that probes and simple methods learn from, at most"
    )
    save_rollouts: bool = Field(False, description="write the rollouts' frames to DIR/rollouts/<dataset>.zarr")
    compare: Literal["none", "mpp_paper_table1"] = Field(
        "none",
        description="mpp_paper_table1 sets one-step errors of all windows beside Table 1 of the MPP paper, by its rule",
    )
    report: bool = Field(True, description="write report.html and figures; scores.json is written in any case")
    bootstrap_samples: PositiveInt = Field(
        2000, le=MOST_RESAMPLES, description="resamples of the trajectories behind each interval"
    )
    seed: NonNegativeInt = Field(0, description="of the bootstrap")


def _is_said(section: Section, name: str) -> bool:
    """Whether a key was given another value than its default, which manifests of embeddings write for all keys."""
    default = type(section).model_fields[name].get_default(call_default_factory=True)
    return name in section.model_fields_set and getattr(section, name) != default


class ReadingSettings(Section):
    """How files are read, in the words of prepare's recipe, and older names of some of its keys."""

    source: str | None = Field(None, description="as --source of prepare; found by a look at the files if absent")
    arrays: ArraysSection = Field(ArraysSection(), description="what the source arrays is told of files of one's own")
    dataset: DatasetSection = DatasetSection()
    well: WellSection = WellSection()
    fields: tuple[str, ...] = Field((), description="older name of arrays.fields")
    boundary: dict[Literal["x", "y"], Boundary] = Field({}, description="older name of arrays.boundary")
    dt: PositiveFloat | None = Field(None, description="older name of arrays.dt")
    extent: Extent | None = Field(None, description="older name of arrays.extent")

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        twice = [name for name in self._older if _is_said(self.arrays, name)]
        if twice:
            raise ValueError(f"{twice[0]} is an older name of arrays.{twice[0]}, and both are given: leave one out")
        return self

    @property
    def _older(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in _OLDER_NAMES if _is_said(self, name)}

    @property
    def described(self) -> ArraysSection:
        """The description of arrays, whether it was given under today's names or under older ones."""
        return self.arrays.model_copy(update=self._older)


class PredictSettings(BandedSettings, ReadingSettings, TrajectorySettings):
    """The settings of `polycli predict mpp --set KEY=VALUE`."""

    verb: Literal["predict"]
    steps: PositiveInt = Field(20, le=10**6, description="frames to predict")
    from_frame: NonNegativeInt | None = Field(
        None, description="first frame of the context; absent: the context is the last frames"
    )
    overwrite: bool = Field(False, description="replace the output where it exists")


class EmbedSettings(UnitSettings, ModelSettings, ReadingSettings):
    """The settings of `polycli embed mpp --set KEY=VALUE`."""

    verb: Literal["embed"]
    kind: Literal["pooled", "tokens"] = Field(
        "pooled", description="a vector for each window, the mean over its tokens; or one for every token beside it"
    )
    windows: Literal["last", "all"] = Field("last", description="of each trajectory: the last frames, or all windows")
    stride: PositiveInt = Field(1, description="frames from the start of one window to that of the next")
    batch_size: PositiveInt = Field(8, description="windows per forward pass")
