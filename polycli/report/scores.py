"""The record of scores.json that all families share: where numbers come from, and the scores of each dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from polycli.json_records import IF_GIVEN, INLINE, JsonObject
from polycli.report.verdict import Verdict, worst_first

#: The scores of one dataset: a family's record, or anything that `polycli.json_records.to_json` takes.
DatasetScores = TypeVar("DatasetScores")
#: Low and high.
Bounds = Sequence[float | None]
#: By method: `model`, then the simpler ones that answered, such as `persistence`, `key mean` or `k-NN`.
ByMethod = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Errors:
    """The mean of one error over what is scored, beside those of methods that need no model."""

    by_method: ByMethod = field(metadata=INLINE)
    #: Of the model's mean.
    interval: Bounds
    #: The model's mean over that of the family's yardstick, below 1 where the model is better: persistence for MPP, the
    #: mean of the key for xVal.
    ratio: float | None
    ratio_interval: Bounds


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The model that a result comes from, as scores, predictions and embeddings say. Families add how it reads data."""

    #: The file of weights.
    checkpoint: str
    #: Why that one, such as `best of 3 kept, by validation/loss: 0.123 at step 400`.
    selected_by: str
    #: SHA-256 of the file of weights.
    model_hash: str
    #: Of polycli.
    version: str


@dataclass(frozen=True, kw_only=True)
class OverlapDocument:
    """How much of what is scored was trained on."""

    #: Whether the checkpoint says what it was trained on.
    checked: bool
    #: Under what the rows are called, how many scored ones were trained on; None where that is not known.
    trained: Mapping[str, int | None] = field(metadata=INLINE)
    #: How many more have an id that other content had in the training; absent where none has.
    same_id: int | None = field(default=None, metadata=IF_GIVEN)
    #: Whether `--allow-overlap` was given.
    allowed: bool


@dataclass(frozen=True, kw_only=True)
class BaselineOrigin:
    """The origin of a checkpoint of `--baseline`, and how much of what is scored it was trained on."""

    provenance: Provenance = field(metadata=INLINE)
    overlap: OverlapDocument


@dataclass(frozen=True, kw_only=True)
class Scores(Generic[DatasetScores]):
    """The content of scores.json, in the order of its keys."""

    #: train, validation or test.
    split: str
    provenance: Provenance = field(metadata=INLINE)
    #: By dataset the hash of its store's content.
    store_hash: Mapping[str, str]
    overlap: OverlapDocument
    #: What a family says of the models that this one is compared with: a record or a mapping.
    compared_with: object = field(metadata=INLINE)
    #: The settings of the evaluation, by key.
    settings: JsonObject
    datasets: Mapping[str, DatasetScores]
    #: What a family says of all datasets together: a record or a mapping.
    over_all: object = field(metadata=INLINE)
    #: By dataset one sentence and what to do next; absent where the family says none.
    verdicts: Mapping[str, Verdict] | None = field(default=None, metadata=IF_GIVEN)

    @property
    def judged(self) -> Mapping[str, Verdict]:
        """The verdicts, none where the family says none."""
        return self.verdicts or {}

    @property
    def by_importance(self) -> dict[str, DatasetScores]:
        """The datasets as a report shows them: what needs attention first, those without a verdict last."""
        first = worst_first(self.judged)
        return {name: self.datasets[name] for name in (*first, *(name for name in self.datasets if name not in first))}
