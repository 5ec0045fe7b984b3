"""The records of a model with a head, which answers one question about each record."""

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
