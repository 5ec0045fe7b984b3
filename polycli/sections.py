"""The recipe sections that all families share: optimizer, schedule, length of training, engine, log.

Pure pydantic, no torch: `polycli recipes check` must answer at once. Every model refuses keys that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

#: Blocks and width of the largest network that is planned for; a plan of a larger one would take ages to refuse it.
MOST_BLOCKS, WIDEST = 1000, 2**20
#: Resamples behind an interval; more make it no better, and are held in memory together.
MOST_RESAMPLES = 100_000
#: Whether a training ends with a calibration.
CalibrationChoice = Literal["auto", "never", "must"]
#: The shares for which `calibrate` keeps bounds unless it is told others.
LEVELS = (0.68, 0.9, 0.95)


def _share_or_count(value: float) -> float:
    if value > 1 and not value.is_integer():
        raise ValueError(f"{value:g} is neither a share below 1 nor a whole number of rows")
    return value


#: How large a split is.
SplitSize = Annotated[
    float, AfterValidator(_share_or_count), Field(gt=0, description="a share below 1, or a whole number of rows")
]


class Section(BaseModel):
    """Base of every recipe section: closed, immutable, strict about types."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OptimSection(Section):
    """Which optimizer, and how it steps."""

    name: Literal["adamw", "adan", "dadapt_adan"] = Field("adamw", description="dadapt_adan needs engine.zero_stage 0")
    learning_rate: PositiveFloat = Field(
        1e-3, description="peak; for dadapt_adan a factor on its own estimate, usually 1"
    )
    weight_decay: NonNegativeFloat = Field(
        1e-3, description="not applied to biases, norms and other one-dimensional parameters"
    )
    final_weight_decay: PositiveFloat | None = Field(
        None, description="what weight_decay becomes by the last step, along a cosine; it stays as it is if absent"
    )
    betas: tuple[float, ...] | None = Field(
        None, description="two for adamw, three for adan; the optimizer's defaults if absent"
    )
    epsilon: PositiveFloat = 1e-8
    layer_decay: float | None = Field(
        None,
        gt=0,
        le=1,
        description="each layer below the head learns at this part of the rate of the one above it, 0.5 to 0.9 being "
        "usual in finetuning; all at one rate if absent",
    )
    clip_norm: PositiveFloat | None = Field(
        1.0, description="global gradient norm above which gradients are scaled down"
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="keep an average of the weights that forgets by this factor a step; it is validated and exported",
    )

    @model_validator(mode="after")
    def _decay_has_a_start(self) -> Self:
        if self.final_weight_decay is not None and self.weight_decay == 0:
            raise ValueError("final_weight_decay needs a weight_decay above 0 to start from")
        return self


class ScheduleSection(Section):
    """The learning rate over optimizer steps."""

    name: Literal["cosine", "constant"] = "cosine"
    warmup_steps: NonNegativeInt = Field(0, description="linear from zero; clipped, with a note, to the run's length")
    final_fraction: float = Field(0.01, ge=0, le=1, description="cosine ends at this fraction of the peak")


#: How a training reads its stores, and what it makes sure of before.
ReadAhead = Annotated[int, Field(ge=0, description="threads that read ahead; 0 reads in step")]
StoreCheck = Annotated[
    Literal["auto", "full", "sizes"],
    Field(description="before training: hash every shard (full), or look at sizes; auto is full up to 8 GiB"),
]

#: Beyond it the sizes of tensors would leave 64 bits.
BatchSize = Annotated[int, Field(gt=0, lt=2**31)]


class TrainSection(Section):
    """How long, how much at once, from which seed, and what is kept."""

    steps: PositiveInt = Field(description="optimizer steps")
    global_batch_size: BatchSize = Field(description="samples per optimizer step over all ranks")
    micro_batch_size: BatchSize = Field(description="samples per forward pass on one rank; accumulation is derived")
    seed: NonNegativeInt = 0
    validate_every: PositiveInt = Field(500, description="steps between validations; the last step always validates")
    checkpoint_every: PositiveInt = Field(500, description="steps between checkpoints; the last step always saves one")
    keep_last: PositiveInt = Field(2, description="newest checkpoints to keep, besides the best by validation")
    keep_every: PositiveInt | None = Field(None, description="checkpoints of every so many steps are kept for good")
    save_in_background: bool = Field(
        True, description="write checkpoints while training goes on; takes a copy of what is saved in CPU memory"
    )
    max_bad_steps: PositiveInt = Field(
        5, description="consecutive non-finite steps after which the run ends with exit 1"
    )


class EngineSection(Section):
    """DeepSpeed and the device."""

    zero_stage: Literal[0, 1, 2, 3] = Field(
        2, description="what is sharded over ranks: 1 optimizer, 2 and gradients, 3 and parameters"
    )
    offload: bool = Field(False, description="keep optimizer state in CPU memory (ZeRO 1 to 3)")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16 keeps float32 parameters and autocasts"
    )
    compile: bool = Field(False, description="torch.compile the model")
    activation_checkpointing: bool = Field(False, description="recompute blocks in the backward pass to save memory")
    memory_check: Literal["auto", "always", "never"] = Field(
        "auto", description="rehearse the costliest micro-batches before the first step; auto does on GPUs"
    )


class LogSection(Section):
    """The metrics and traces that are written about a run while it runs."""

    every: PositiveInt = Field(10, description="steps between lines of metrics.jsonl")
    spike_factor: PositiveFloat | None = Field(
        10.0, description="flag a loss so many robust deviations above the median of the last 100 steps"
    )
    profile: NonNegativeInt = Field(0, description="steps to trace into RUN/profile, after a warm-up; as --profile")
    tensorboard: bool = Field(False, description="event files in RUN/tensorboard; needs polycli[tensorboard]")
    wandb: bool = Field(False, description="curves in Weights & Biases; needs polycli[wandb]")


class CalibrateSection(Section):
    """The settings of `polycli calibrate` that all families share."""

    levels: tuple[float, ...] = Field(
        LEVELS, min_length=1, description="shares that bounds are to hold; 0.95 needs 19 rows, 0.9 needs 9"
    )
    overwrite: bool = Field(False, description="replace bounds that are there: of these datasets, or of other weights")

    @field_validator("levels")
    @classmethod
    def _check_levels(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < level < 1 for level in levels):
            raise ValueError("levels are shares between 0 and 1, such as 0.9")
        return tuple(sorted(set(levels)))


class UsedCalibration(Section):
    """Whether a verb takes the bounds of a calibration, and from where."""

    use: Literal["auto", "never", "must"] = Field(
        "auto", description="take the calibration beside the checkpoint: auto, never, or must"
    )
    file: str | None = Field(None, description="the calibration; the one beside the checkpoint if absent")


class TrainingData(Protocol):
    """The data section of any recipe that trains."""

    @property
    def stores(self) -> tuple[str, ...]:
        """Stores, folders of stores or globs."""
        ...

    @property
    def limit(self) -> int | None:
        """How much of each store is used at most."""
        ...

    @property
    def workers(self) -> int:
        """Threads that read ahead."""
        ...

    @property
    def verify(self) -> Literal["auto", "full", "sizes"]:
        """How stores are checked before training."""
        ...

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """Return the section with other values."""
        ...


class TrainingRecipe(Protocol):
    """Any recipe that trains: what the engine reads of it, and the stores."""

    @property
    def data(self) -> TrainingData:
        """Which stores, and how they are read."""
        ...

    @property
    def optim(self) -> OptimSection:
        """The section of the optimizer."""
        ...

    @property
    def schedule(self) -> ScheduleSection:
        """The learning rate over steps."""
        ...

    @property
    def train(self) -> TrainSection:
        """How long, and how much at once."""
        ...

    @property
    def engine(self) -> EngineSection:
        """DeepSpeed and the device."""
        ...

    @property
    def log(self) -> LogSection:
        """The section on what is written while the run goes on."""
        ...

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """Return the recipe with other values."""
        ...


class FinetuningRecipe(TrainingRecipe, Protocol):
    """Any recipe of a training that starts from a checkpoint."""

    @property
    def checkpoint(self) -> str | None:
        """The checkpoint; None where the recipe leaves it to the command line."""
        ...


class UnitSettings(Section):
    """The settings of `embed` that all families share: how the work is cut, and what may be replaced or left out."""

    overwrite: bool = Field(False, description="replace the output where it exists, or units of another embed")
    unit_rows: PositiveInt | None = Field(
        None,
        description="rows of a unit of work, rounded up to whole batches; a 32nd of the rows, at most 16384, if absent",
    )
    max_quarantined: float = Field(
        0.01, ge=0, le=1, description="share of the rows that may be put aside because they cannot be embedded"
    )
