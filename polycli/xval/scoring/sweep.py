"""The continuity sweep: one number of a record is varied finely, another predicted, and the answer's jumps counted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polycli.errors import RecipeError, UserError
from polycli.xval.numbers.statistics import NumberStatistics
from polycli.xval.recipe.settings import SweepSection
from polycli.xval.records.keypaths import KeyPatterns, refuse_unknown
from polycli.xval.records.records import Records
from polycli.xval.scoring.fill import Filler
from polycli.xval.scoring.score_records import CurveScores, SweepScores

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """The answers for one number of one record over all values of the one that is varied."""

    record: str
    key_path: str
    #: What the record itself has: the number that is varied, and the one that is predicted.
    own: tuple[float, float]
    answers: Floats


@dataclass(frozen=True)
class Sweep:
    """The curves of all answers, over one abscissa."""

    vary: str
    values: Floats
    curves: tuple[Curve, ...]
    #: Size of a change that counts as a jump, by curve.
    thresholds: tuple[float, ...]

    def scores(self) -> SweepScores:
        """Returns the sweep as scores.json has it."""
        return SweepScores(
            vary=self.vary,
            points=len(self.values),
            low=float(self.values[0]),
            high=float(self.values[-1]),
            curves=[
                continuity(curve, threshold) for curve, threshold in zip(self.curves, self.thresholds, strict=True)
            ],
        )


def continuity(curve: Curve, threshold: float) -> CurveScores:
    """Measures how continuous a curve is: jumps above the threshold, equal neighbours, and how far it travels."""
    finite = curve.answers[np.isfinite(curve.answers)]
    changes = np.abs(np.diff(finite))
    known = len(finite) > 1
    reach = float(np.ptp(finite)) if known else 0.0
    return CurveScores(
        record=curve.record,
        key_path=curve.key_path,
        jump_above=threshold,
        jumps=int((changes > threshold).sum()) if known else None,
        largest_change=float(changes.max()) if known else None,
        equal_neighbours=float((changes == 0).mean()) if known else None,
        travel=(float(changes.sum() / reach) if reach else 1.0) if known else None,
        undecodable=1 - len(finite) / len(curve.answers) if known else 1.0,
    )


def run_sweep(
    filler: Filler, records: Records, section: SweepSection, statistics: dict[str, NumberStatistics]
) -> Sweep | None:
    """Sweep the first records that have both numbers; None where no record has.

    Raises:
        RecipeError: a key path does not exist, or is a pattern where one number is to be varied; or the encoding of the
            model cannot write a number of the sweep.
    """
    if section.vary is None:
        return None
    refuse_unknown([section.vary], records.key_paths, where="sweep.vary")
    refuse_unknown(section.predict, records.key_paths, where="sweep.predict")
    if section.vary not in records.key_paths:
        raise RecipeError(f"sweep.vary: {section.vary} must be one key path, a pattern cannot be varied")
    varied = records.number_keys == records.key_paths.index(section.vary)
    if not varied.any():
        return None
    known = statistics.get(section.vary)
    numbers = records.numbers[varied]
    low = section.low if section.low is not None else (known.min if known else float(numbers.min()))
    high = section.high if section.high is not None else (known.max if known else float(numbers.max()))
    values = np.linspace(low, high, section.points)
    patterns = KeyPatterns(section.predict)
    wanted = np.array([patterns.match(path) for path in records.key_paths], dtype=np.bool_)[records.number_keys]
    curves: list[Curve] = []
    thresholds: list[float] = []
    swept = 0
    for row in range(len(records)):
        place = records.numbers_of(row)
        own, asked = np.flatnonzero(varied[place]), np.flatnonzero(wanted[place])
        if len(own) != 1 or not len(asked):
            continue
        try:
            answers = _answers(filler, records.select([row]), int(own[0]), wanted[place], values)
        except UserError as error:
            raise RecipeError(
                f"sweep.vary: {error.message}",
                hint="say where the sweep begins and ends: --set sweep.low=X --set sweep.high=Y",
            ) from error
        for number in asked[: 4 if len(asked) > 4 else None]:
            path = records.key_paths[records.number_keys[place.start + number]]
            spread = statistics[path].std if path in statistics else float(np.nanstd(answers[:, number]))
            name = records.ids[row] if records.ids else str(row)
            truth = records.numbers[place]
            curves.append(Curve(name, path, (float(truth[own[0]]), float(truth[number])), answers[:, number]))
            thresholds.append(section.jump * spread)
        swept += 1
        if swept == section.records:
            break
    return Sweep(section.vary, values, tuple(curves), tuple(thresholds)) if curves else None


def _answers(filler: Filler, record: Records, own: int, wanted: NDArray[np.bool_], values: Floats) -> Floats:
    """Returns the answers for all numbers of the record at each value, (values, numbers)."""
    copies = record.select(np.zeros(len(values), dtype=np.int64))
    width = len(wanted)
    numbers = copies.numbers.copy()
    numbers[own::width] = values
    filled = filler.fill(replace(copies, numbers=numbers), np.tile(wanted, len(values)))
    return filled.values.reshape(len(values), width)
