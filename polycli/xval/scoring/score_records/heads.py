"""The records of classes that are filled in, and of a model with a head, which answers one question about a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polycli.json_records import IF_GIVEN
from polycli.xval.scoring.score_records.errors import WithInterval


@dataclass(frozen=True, kw_only=True)
class HeadScores:
    """The scores of a model that answers one question about each record."""

    #: The key path that is asked for.
    target: str
    #: `regression` or `classification`.
    kind: str
    records: int
    #: By name what the method is, such as `baseline`: `mean`.
    methods: Mapping[str, str]
    #: By name of the measure.
    measures: Mapping[str, WithInterval]
    better_baselines: Sequence[str]
    #: Of a classification.
    classes: Sequence[object] | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, kw_only=True)
class JudgedScores:
    """The scores of a dataset about whose records a model with a head was asked."""

    head: HeadScores
    #: How many were scored, and how many the split has.
    records: int
    records_available: int


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """The scores of a column of few different texts, or of true and false, each value hidden alone."""

    #: With a value that the model knows, how many values it knows, and how many records have another one.
    records: int
    classes: int
    unknown: int
    #: By method the share of records whose likeliest value is the true one.
    accuracy: WithInterval
    #: By method the mean of -log(probability of the true value), in nats.
    log_loss: WithInterval
