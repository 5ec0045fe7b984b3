"""The records of xVal's scores.json: what is said of one dataset.

Errors are in the units of the data where nothing else is said. A number is None where it is not finite, or where there
is nothing to compute it from. Intervals are 95 % bootstrap intervals over records: low and high.
"""

from polycli.report.scores import Bounds, ByMethod, Errors
from polycli.xval.scoring.score_records.calibrated import CalibratedCoverage, DecadeCoverage, LevelCoverage
from polycli.xval.scoring.score_records.errors import Coverage, WithInterval
from polycli.xval.scoring.score_records.heads import ClassScores, HeadScores, JudgedScores
from polycli.xval.scoring.score_records.numbers import (
    AllScores,
    BetterBaseline,
    CurveScores,
    DecadeScores,
    Exactness,
    FillScores,
    HoldOutScores,
    InsideOutside,
    KeyScores,
    NumberScores,
    Part,
    StandardisedErrors,
    SweepScores,
)

DatasetScores = FillScores | JudgedScores

__all__ = [
    "AllScores",
    "BetterBaseline",
    "Bounds",
    "ByMethod",
    "CalibratedCoverage",
    "ClassScores",
    "Coverage",
    "CurveScores",
    "DatasetScores",
    "DecadeCoverage",
    "DecadeScores",
    "Errors",
    "Exactness",
    "FillScores",
    "HeadScores",
    "HoldOutScores",
    "InsideOutside",
    "JudgedScores",
    "KeyScores",
    "LevelCoverage",
    "NumberScores",
    "Part",
    "StandardisedErrors",
    "SweepScores",
    "WithInterval",
]
