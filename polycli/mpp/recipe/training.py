"""The recipes of MPP, section by section: typed and closed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Tag,
    TypeAdapter,
    model_validator,
)

from polycli.mpp.recipe.arrays import ArraysSection, DatasetSection, PdebenchSection, WellSection
from polycli.mpp.recipe.networks import KIND_TAG, KINDS, FnoSection, NetworkSection, UnetSection, VitSection, kind_of
from polycli.mpp.recipe.regression import HeadSection
from polycli.mpp.recipe.settings import UnsaidSection
from polycli.sections import (
    MOST_BLOCKS,
    WIDEST,
    BatchSize,
    EngineSection,
    LogSection,
    OptimSection,
    ReadAhead,
    ScheduleSection,
    Section,
    SplitSize,
    StoreCheck,
    TrainSection,
)

#: Steps of an unrolled training, at most; all of them are kept in memory.
MOST_UNROLLED = 64


#: The patch sizes that the stem of an AViT can have.
PATCH_SIZES = (4, 8, 16)
#: What a network can be told beside frames.
Condition = Literal["dt", "parameters"]


class ModelSection(NetworkSection):
    """The axial vision transformer (McCabe et al. 2024, section 4)."""

    #: Left out of what is written, so that recipes and checkpoints read as they did when there was no other network.
    kind: Literal["avit"] = Field("avit", exclude=True, description="the network; avit is MPP's own")
    embed_dim: PositiveInt = Field(le=WIDEST, description="width; 192, 384, 768, 1024 for Ti, S, B, L")
    num_heads: PositiveInt = Field(description="attention heads; 3, 6, 12, 16 for Ti, S, B, L")
    blocks: PositiveInt = Field(le=MOST_BLOCKS, description="space-time blocks; 12, 12, 12, 24 for Ti, S, B, L")
    patch_size: Literal[4, 8, 16] = Field(16, description="pixels per token and axis")
    position_bias: Literal["relative", "continuous", "none"] = "relative"
    jitter: Literal["none", "training", "always"] = Field(
        "none",
        description="move the grid against the patches at random in every forward pass, and back after decoding: in "
        "training alone, or in forecasts too",
    )
    absolute_position: Literal["none", "walls", "all"] = Field(
        "none", description="tell tokens their place along axes that are not periodic, or along all; none, as published"
    )
    conditions: tuple[Condition, ...] = Field(
        (), description="what the network is told beside frames: dt (the time between them), parameters (of the stores)"
    )
    parameters: tuple[str, ...] = Field(
        (),
        description="parameters that it is told where conditions has parameters; all of the stores' if absent",
    )
    condition_dropout: NonNegativeFloat = Field(
        0.1, lt=1, description="share of what is told that training hides, so that it may be unknown later"
    )
    drop_path: NonNegativeFloat = Field(
        0.1, lt=1, description="stochastic depth of the last block; rises linearly from 0"
    )
    layer_scale: PositiveFloat = Field(
        1e-6, description="initial factor on every residual branch, as published; short runs learn faster from 0.1"
    )

    @model_validator(mode="after")
    def _divisible(self) -> ModelSection:
        if self.embed_dim % (4 * self.num_heads) and self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim {self.embed_dim} is not divisible by num_heads {self.num_heads}")
        if self.embed_dim % 4:
            raise ValueError(f"embed_dim {self.embed_dim} is not divisible by 4, which the stem needs")
        if self.parameters and "parameters" not in self.conditions:
            raise ValueError("parameters names what is told of the physics, and conditions does not have parameters")
        return self

    @property
    def told(self) -> tuple[str, ...]:
        """The time between frames under the name dt, then the parameters; empty until their names are known."""
        return (("dt",) if "dt" in self.conditions else ()) + self.parameters


#: The model section of a recipe, told apart by its `kind`.
AnyModelSection = Annotated[
    Annotated[ModelSection, Tag(f"{KIND_TAG}avit")]
    | Annotated[FnoSection, Tag(f"{KIND_TAG}fno")]
    | Annotated[UnetSection, Tag(f"{KIND_TAG}unet")]
    | Annotated[VitSection, Tag(f"{KIND_TAG}vit")],
    Discriminator(
        kind_of, custom_error_type="unknown_kind", custom_error_message=f"kind should be one of {', '.join(KINDS)}"
    ),
]
_ANY_MODEL: TypeAdapter[NetworkSection] = TypeAdapter(AnyModelSection)


def model_section(values: Any) -> NetworkSection:  # noqa: ANN401  # What model.json has.
    """The model section of a checkpoint.

    Raises:
        ValidationError: the values are those of no network.
    """
    return _ANY_MODEL.validate_python(values)


class DataSection(Section):
    """The stores to train on, and how windows are drawn from them."""

    stores: tuple[str, ...] = Field((), description="stores, folders of stores or globs; --data overrides")
    history: PositiveInt = Field(16, description="frames that the model sees before the one it predicts")
    time_stride: PositiveInt = Field(1, description="use every n-th frame of a store")
    largest_time_stride: PositiveInt | None = Field(
        None,
        description="train with strides from time_stride to this one, a random one for each draw; validation and "
        "forecasts keep time_stride. model.conditions=[dt] tells the network which",
    )
    weights: dict[str, PositiveFloat] = Field({}, description="by dataset name; 1 where absent")
    draws_per_step: PositiveInt = Field(
        1, description="how many datasets a global batch mixes; each draw is one dataset on all ranks, so no rank waits"
    )
    micro_batch_size: dict[str, BatchSize] = Field(
        {}, description="by dataset name, where train.micro_batch_size does not fit"
    )
    mixed_micro_batches: bool = Field(
        False,
        description="put windows of several draws of a step into one micro-batch, padded to the most fields and the "
        "largest grid among them; each counts as it would alone (model.kind avit)",
    )
    limit: PositiveInt | None = Field(
        None, description="use at most this many trajectories of each store and split; --limit overrides"
    )
    train_trajectories: PositiveInt | None = Field(
        None,
        description="train on so many trajectories of each store, those first in the order of content hashes: a "
        "smaller choice lies within every larger one; validation and test keep all of theirs",
    )
    validation_windows: PositiveInt = Field(64, description="windows per dataset in each validation")
    workers: ReadAhead = 2
    verify: StoreCheck = "auto"

    @model_validator(mode="after")
    def _rising(self) -> DataSection:
        if self.largest_time_stride is not None and self.largest_time_stride < self.time_stride:
            raise ValueError(f"largest_time_stride {self.largest_time_stride} is below time_stride {self.time_stride}")
        return self

    @model_validator(mode="after")
    def _something_to_mix(self) -> DataSection:
        if self.mixed_micro_batches and self.draws_per_step == 1:
            raise ValueError("mixed_micro_batches mixes the draws of a step, and draws_per_step is 1")
        if self.mixed_micro_batches and self.micro_batch_size:
            raise ValueError(
                "micro_batch_size is by dataset, and mixed_micro_batches has several in one: train.micro_batch_size "
                "holds for all"
            )
        return self

    @property
    def strides(self) -> range:
        """The time strides that training draws from."""
        return range(self.time_stride, (self.largest_time_stride or self.time_stride) + 1)


class ObjectiveSection(Section):
    """The training loss: squared error per sample and field, divided by its own scale; or of masked tubes."""

    kind: Literal["next_frame", "tubes"] = Field(
        "next_frame",
        description="tubes: fill in patches that are hidden in all frames, as VideoMAE, with model.kind vit; finetune "
        "makes a forecaster of it",
    )
    mask_ratio: float = Field(
        0.9, gt=0, lt=1, description="with tubes: the part of the patches that is hidden, as published"
    )
    normalise_by: Literal["target", "variance", "change"] = Field(
        "target",
        description="mean square of the target, as published; its variance; or the mean square of the change to it",
    )
    noise: NonNegativeFloat = Field(
        0.0,
        description="standard deviation of the noise that training adds to every input frame, in units of the root "
        "mean square of the field's changes from frame to frame",
    )
    unroll: PositiveInt = Field(
        1, le=MOST_UNROLLED, description="steps that training rolls out, each predicted frame fed back; validation one"
    )
    unroll_gradients: Literal["through_time", "each_step", "last_step"] = Field(
        "through_time",
        description="with unroll: the loss is the mean over all steps, with gradients through the frames that were fed "
        "back or without; or it is that of the last step alone, those before it computed without gradients",
    )

    @property
    def of_next_frame_alone(self) -> str | None:
        """The name of a key that is set and means something where the next frame is predicted, and nowhere else."""
        changed = {"noise": self.noise > 0, "unroll": self.unroll > 1}
        return next((f"objective.{key}" for key, is_set in changed.items() if is_set), None)

    @model_validator(mode="after")
    def _tubes_have_no_next_frame(self) -> ObjectiveSection:
        if self.kind == "tubes" and self.of_next_frame_alone is not None:
            raise ValueError(f"{self.of_next_frame_alone} is for training on next frames; tubes have none")
        return self


class PretrainRecipe(Section):
    """A whole recipe of `polycli pretrain mpp`."""

    family: Literal["mpp"]
    verb: Literal["pretrain"]
    model: AnyModelSection
    data: DataSection = DataSection()
    objective: ObjectiveSection = ObjectiveSection()
    optim: OptimSection = OptimSection()
    schedule: ScheduleSection = ScheduleSection()
    train: TrainSection
    engine: EngineSection = EngineSection()
    log: LogSection = LogSection()

    def complete(self) -> PretrainRecipe:
        """The recipe with everything in its model section that the other sections say of the network."""
        model = self.model.for_history(self.data.history)
        return self if model is self.model else self.model_copy(update={"model": model})

    @model_validator(mode="after")
    def _history_fits(self) -> PretrainRecipe:
        try:
            self.model.check_history(self.data.history)
        except ValueError as error:
            raise ValueError(f"data.history is {error}") from error
        if self.objective.kind == "tubes" and not isinstance(self.model, VitSection):
            raise ValueError(f"objective.kind tubes needs model.kind vit, not {self.model.kind}")
        if self.data.mixed_micro_batches and not isinstance(self.model, ModelSection):
            raise ValueError(f"data.mixed_micro_batches needs model.kind avit, not {self.model.kind}")
        if self.objective.kind == "tubes" and (self.objective.noise > 0 or self.objective.unroll > 1):
            raise ValueError("objective.noise and objective.unroll are for objective.kind next_frame")
        return self


class InitSection(Section):
    """The way in which a finetuning starts: from the checkpoint's weights, and with fields that are new to it."""

    weights: Literal["checkpoint", "scratch"] = Field(
        "checkpoint",
        description="scratch keeps the checkpoint's sizes and fields alone and draws new weights from train.seed, to "
        "compare with",
    )
    new_fields: Literal["mean", "copy", "noise"] = Field(
        "mean",
        description="new fields start as the mean of the known ones; as a copy of the one with the same quantity, "
        "else the mean; or as noise of their spread",
    )
    map: dict[str, str] = Field(
        {},
        description="by new field: the known one that it copies at first, {my.density: compressible_ns.density}",
    )
    unmatched: Literal["refuse", "allow"] = Field(
        "refuse", description="data of which the checkpoint knows no field at all: refuse it, or learn all fields anew"
    )
    drop_path: float | None = Field(None, ge=0, lt=1, description="in place of the checkpoint's")
    absolute_position: Literal["none", "walls", "all"] | None = Field(
        None, description="in place of the checkpoint's; what it has not learnt adds nothing at first"
    )
    conditions: tuple[Condition, ...] = Field(
        (), description="tell the network these too, as model.conditions; it answers as before until it has learnt them"
    )


class FinetuneRecipe(Section):
    """`polycli finetune mpp`: the network is the checkpoint's, with a place for each field that is new."""

    family: Literal["mpp"]
    verb: Literal["finetune"]
    checkpoint: str | None = Field(None, description="what to start from; --checkpoint says it")
    model: UnsaidSection = Field(UnsaidSection(), description="what a bare file of weights does not say of itself")
    init: InitSection = InitSection()
    head: HeadSection = HeadSection()
    freeze: Literal["none", "processor", "middle", "all"] = Field(
        "none",
        description="processor keeps the blocks; middle trains the field projection and the last kernel alone; all "
        "keeps the network and trains a head on it (a probe)",
    )
    data: DataSection = Field(DataSection(), description="history and time_stride are the checkpoint's if absent")
    objective: ObjectiveSection = ObjectiveSection()
    optim: OptimSection = OptimSection()
    schedule: ScheduleSection = ScheduleSection()
    train: TrainSection
    engine: EngineSection = EngineSection()
    log: LogSection = LogSection()

    @model_validator(mode="after")
    def _something_trains(self) -> FinetuneRecipe:
        if self.freeze == "all" and self.head.kind == "none":
            raise ValueError("freeze all leaves nothing to train without a head; head.kind=regression adds one")
        if self.objective.kind == "tubes":
            raise ValueError("objective.kind tubes is for pretrain; finetune makes a forecaster of what it gives")
        if self.head.kind != "none" and self.data.mixed_micro_batches:
            raise ValueError("data.mixed_micro_batches is for next frames; a head predicts parameters")
        if self.head.kind != "none" and self.objective.of_next_frame_alone is not None:
            raise ValueError(f"{self.objective.of_next_frame_alone} is for next frames; a head predicts parameters")
        return self


class SelectionSection(Section):
    """The part of the source that goes into the stores."""

    time_stride: PositiveInt = Field(1, description="keep every n-th frame")
    space_stride: PositiveInt = Field(1, description="keep every n-th grid point along both axes")
    first_frame: int = Field(0, ge=0, description="leave out the frames before this one")


class SplitSection(Section):
    """Shares of trajectories for validation and test, and how they are chosen."""

    rule: Literal["content", "file_order"] = Field(
        "content",
        description="by content hash; or by place in each file, the last ones test, as the original MPP divides "
        "PDEBench's files, to compare with its figures",
    )
    validation: SplitSize = 0.1
    test: SplitSize = 0.1

    @model_validator(mode="after")
    def _shares_of_files(self) -> SplitSection:
        if self.rule == "file_order" and self.validation + self.test >= 1:
            raise ValueError("split.rule file_order takes shares of each file, which sum to less than 1")
        return self


class SimulationSection(Section):
    """One system for the `simulate` source; becomes one store."""

    system: Literal["shallow_water", "diffusion_reaction", "incompressible_ns", "compressible_ns"]
    trajectories: PositiveInt = Field(100, le=10**6)
    frames: PositiveInt = Field(32, le=10**6)
    grid: PositiveInt = Field(64, le=2**14)
    seed: int = 0
    variant: str | None = Field(
        None, description="initial condition or forcing, such as dam_break, bumps, forced, decaying"
    )
    boundary: Literal["periodic", "wall"] | None = Field(None, description="where the system offers a choice")
    interval: PositiveFloat | None = Field(None, description="time between frames; the system's default if absent")
    parameters: dict[str, float] = Field(
        {}, description="mach, viscosity and the like; the system's defaults if absent"
    )


class PrepareRecipe(Section):
    """A whole recipe of `polycli prepare mpp`."""

    family: Literal["mpp"]
    verb: Literal["prepare"]
    select: SelectionSection = SelectionSection()
    dataset: DatasetSection = DatasetSection()
    pdebench: PdebenchSection = PdebenchSection()
    arrays: ArraysSection = Field(ArraysSection(), description="what --source arrays is told of files of one's own")
    well: WellSection = WellSection()
    split: SplitSection = SplitSection()
    simulate: dict[str, SimulationSection] = Field({}, description="by dataset name; what --source simulate makes")
