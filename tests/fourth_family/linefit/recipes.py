"""What recipes and `--set` may say."""

from typing import Literal

from polycli.sections import EngineSection, LogSection, OptimSection, ScheduleSection, Section, TrainSection
from polycli.store.reader import Verify


class PrepareRecipe(Section):
    """`polycli prepare linefit`."""

    family: Literal["linefit"]
    verb: Literal["prepare"]
    test: float = 0.2
    validation: float = 0.1


class DataSection(Section):
    """Which stores."""

    stores: tuple[str, ...] = ()
    limit: int | None = None
    verify: Verify = "auto"
    workers: int = 0


class ModelSection(Section):
    """Whether the line may miss the origin."""

    bias: bool = True


class PretrainRecipe(Section):
    """`polycli pretrain linefit`."""

    family: Literal["linefit"]
    verb: Literal["pretrain"]
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    optim: OptimSection = OptimSection(learning_rate=0.1, weight_decay=0.0)
    schedule: ScheduleSection = ScheduleSection()
    train: TrainSection
    engine: EngineSection = EngineSection(zero_stage=0)
    log: LogSection = LogSection()


class EvalSettings(Section):
    """`polycli eval linefit`."""

    family: Literal["linefit"]
    verb: Literal["eval"]
    scale: float = 1.0
