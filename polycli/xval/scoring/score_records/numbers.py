"""The records of a dataset whose numbers were filled in, key path by key path.

Errors are in the units of the data where nothing else is said. A number is None where it is not finite, or where there
is nothing to compute it from. Intervals are 95 % bootstrap intervals over records: low and high.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polycli.json_records import IF_GIVEN, INLINE
from polycli.report.scores import Bounds, ByMethod, Errors
from polycli.xval.scoring.score_records.calibrated import CalibratedCoverage
from polycli.xval.scoring.score_records.errors import Coverage, WithInterval
from polycli.xval.scoring.score_records.heads import ClassScores


@dataclass(frozen=True, kw_only=True)
class Exactness:
    """The shares of answers that round to the truth: 0 to 1."""

    #: With as many decimals as the key's numbers have in training; None where they have many, or nothing is known.
    written: float | None
    #: At the third significant figure of the truth; None without numbers.
    three_figures: float | None


@dataclass(frozen=True, kw_only=True)
class KeyScores:
    """The scores of one key path, or of several that are scored together."""

    numbers: int
    mae: Errors
    rmse: WithInterval
    median_absolute_error: ByMethod
    #: None where all true values are the same.
    r2: ByMethod
    #: None where the model states no intervals.
    coverage: Coverage | None
    #: The share of the model's answers that are no number: 0 to 1.
    undecodable: float
    exact: Exactness | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, kw_only=True)
class StandardisedErrors:
    """Errors of all numbers, and how they compare with each simpler model's for the same records."""

    errors: Errors = field(metadata=INLINE)
    #: By simpler model the interval of the model's mean over its: above 1 it is better, below 1 the model.
    over: Mapping[str, Bounds]


@dataclass(frozen=True, kw_only=True)
class AllScores:
    """Errors of all numbers together, in standard deviations of each key path in training."""

    standardised_mae: StandardisedErrors


@dataclass(frozen=True, kw_only=True)
class DecadeScores:
    """The error for numbers of one size: from 10^decade to 10^(decade + 1)."""

    decade: int
    numbers: int
    #: |error| / |truth|.
    median_relative_error: WithInterval
    #: Absent where the model states no intervals.
    coverage: Coverage | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Errors for some numbers; None where there are none."""

    numbers: int
    records: int
    mae: Errors | None
    #: The model's.
    median_absolute_error: float | None


@dataclass(frozen=True, kw_only=True)
class InsideOutside:
    """Errors on both sides of a hold-out."""

    inside: Part
    outside: Part
    #: The model's mean absolute error inside over that outside.
    ratio: float | None


@dataclass(frozen=True, kw_only=True)
class HoldOutScores:
    """Errors on both sides of one rule's interval."""

    rule: str
    #: A pattern of key paths, and the interval of their values that training did not see.
    pattern: str
    low: float
    high: float
    #: Of the numbers that the rule is about.
    answered: InsideOutside = field(metadata=INLINE)
    #: Of the other numbers in records that show the model one that was held out, and in those that do not.
    given: InsideOutside


@dataclass(frozen=True, kw_only=True)
class BetterBaseline:
    """A key path for which a simpler model has the smaller mean absolute error."""

    key: str
    baseline: str
    #: The baseline's and the model's mean absolute error.
    mae: float
    model: float


@dataclass(frozen=True, kw_only=True)
class CurveScores:
    """How continuous the answer for one number is while another is varied; None where too few answers are numbers."""

    record: str
    key_path: str
    #: The size of a change that counts as a jump.
    jump_above: float | None
    jumps: int | None
    largest_change: float | None
    #: The share of neighbours with the same answer.
    equal_neighbours: float | None
    #: The sum of all changes over the largest difference: 1 for a curve that only rises or only falls.
    travel: float | None
    #: The share of answers that are no number.
    undecodable: float


@dataclass(frozen=True, kw_only=True)
class SweepScores:
    """A sweep: the key path that is varied, over how many values between which, and the curves of the answers."""

    vary: str
    points: int
    low: float
    high: float
    curves: Sequence[CurveScores]


@dataclass(frozen=True, kw_only=True)
class NumberScores:
    """Everything that is computed from the hidden numbers of a dataset and from the answers for them."""

    #: Records with a hidden number, and how many of those there are.
    records: int
    numbers: int
    undecodable: float
    all: AllScores
    #: By key path, or by the pattern of those that are scored together.
    keys: Mapping[str, KeyScores]
    decades: Sequence[DecadeScores]
    #: The error in the worst decade over that in the best: 1 where size does not matter.
    decade_ratio: float | None
    hold_out: Sequence[HoldOutScores]
    better_baselines: Sequence[BetterBaseline]


@dataclass(frozen=True, kw_only=True)
class FillScores:
    """The scores of a dataset whose numbers were hidden and filled in."""

    scores: NumberScores = field(metadata=INLINE)
    #: As the model reads them, on average.
    tokens_per_record: float
    #: How many records the split has.
    records_available: int
    tokens_per_number: int
    #: The share of a record's numbers that is hidden at once; None where it is one at a time.
    hidden_share: float | None
    #: By pattern of key paths.
    units: Mapping[str, str]
    sweep: SweepScores | None
    #: None where the model is not calibrated.
    calibrated: CalibratedCoverage | None = None
    #: By key path; absent where the model knows no classes.
    classes: Mapping[str, ClassScores] | None = field(default=None, metadata=IF_GIVEN)
