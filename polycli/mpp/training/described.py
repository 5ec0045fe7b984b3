"""Records of a training of MPP in data.json and model.json: the stores that it uses, and the network itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polycli.checkpoints.trained_on import TrainedOn
from polycli.json_records import IF_GIVEN
from polycli.mpp.model.regression import HeadDescription
from polycli.mpp.model.trained import TrainedPhysics
from polycli.mpp.recipe.networks import NetworkSection


@dataclass(frozen=True, kw_only=True)
class WindowCount:
    """How many trajectories train, and how many windows of frames they have."""

    trajectories: int
    windows: int


@dataclass(frozen=True, kw_only=True)
class HeldBack:
    """The windows that validate, and of which split they are."""

    split: str
    trajectories: int
    windows: int


@dataclass(frozen=True, kw_only=True)
class StoreUse:
    """How much of one store is used, as data.json has it."""

    path: str
    store_hash: str
    #: Of the draws: 0 to 1.
    share: float
    fields: Sequence[str]
    #: Points along x and y.
    grid: Sequence[int]
    training: WindowCount
    validation: HeldBack


@dataclass(frozen=True, kw_only=True)
class Context:
    """The frames that the network sees: how many, and every how manieth of a store."""

    history: int
    time_stride: int


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """The additions to model.json."""

    #: Sizes and the names of fields.
    model: NetworkSection
    data: Context
    #: By dataset.
    trained: Mapping[str, TrainedPhysics]
    trained_on: Mapping[str, TrainedOn]
    #: `tubes` of a network that fills in and does not forecast.
    objective: str | None = field(default=None, metadata=IF_GIVEN)
    #: Of a network that predicts parameters.
    head: HeadDescription | None = field(default=None, metadata=IF_GIVEN)
    frozen: str | None = field(default=None, metadata=IF_GIVEN)
