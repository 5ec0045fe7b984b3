"""Records of a training of xVal in data.json and model.json: the stores that it uses, and how its network reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from polycli.checkpoints.trained_on import TrainedOn
from polycli.json_records import INLINE
from polycli.xval.data.tokenization import TokenizationDocument
from polycli.xval.model.heads import HeadDescription
from polycli.xval.recipe.model import ModelSection, ObjectiveSection


@dataclass(frozen=True, kw_only=True)
class PoolPart:
    """The records of one store that train, or validate, and their tokens and numbers."""

    records: int
    tokens: int
    numbers: int


@dataclass(frozen=True, kw_only=True)
class StoreUse:
    """How much of one store is used, as data.json has it."""

    path: str
    store_hash: str
    training: PoolPart
    validation: PoolPart


@dataclass(frozen=True, kw_only=True)
class FillInFacts:
    """The additions to model.json for a network that fills in numbers."""

    model: ModelSection
    objective: ObjectiveSection
    tokenization: TokenizationDocument = field(metadata=INLINE)
    trained_on: Mapping[str, TrainedOn]


@dataclass(frozen=True, kw_only=True)
class HeadFacts:
    """The additions to model.json for a network that answers one question about each record."""

    model: ModelSection
    head: HeadDescription
    tokenization: TokenizationDocument = field(metadata=INLINE)
    trained_on: Mapping[str, TrainedOn]
