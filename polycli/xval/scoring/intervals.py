"""Intervals around answers: the model's own, or those that a calibration says hold.

A calibration measures how far the truth lies from the model's median, in units of the way from there to its outermost
quantile on that side, and stretches the model's interval by as much on both (conformalised quantile regression: Romano,
Patterson and Candes 2019; stretched, as Sesia and Candes 2020 compare it). So an interval is wide where the model says
that it is unsure, at every level. For a model without quantiles the way is one scaled unit, the same everywhere. Files
of earlier versions widen the model's own interval by one amount instead, and are still read so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.checkpoints.calibration import Calibration, calibration_beside
from polycli.console import note, warn
from polycli.errors import RecipeError
from polycli.nn.quantiles import middle_of
from polycli.paths import plain_path
from polycli.report.reach import Reach
from polycli.sections import UsedCalibration
from polycli.workflow.calibrated import find_calibration
from polycli.xval.model.loaded import LoadedNumformer
from polycli.xval.numbers.scaling import Scaling
from polycli.xval.records.records import Records
from polycli.xval.scoring.fill import Answers

Floats = NDArray[np.float64]
#: In the settings of a calibration: how it measured.
MEASURE = "reach"
#: Quantiles that an interval of its own needs: two bounds and a middle.
_NEEDED = ("low", "middle", "high")


def own_bounds(answers: Answers) -> tuple[Floats, Floats]:
    """Returns the outermost quantiles of each number; the answer twice, where the model has no two of them."""
    if answers.quantiles.shape[1] > 1:
        return answers.quantiles[:, 0], answers.quantiles[:, -1]
    return answers.values, answers.values


def reach_of(answers: Answers, records: Records, scaling: Scaling, levels: Sequence[float]) -> Reach:
    """The median and the way to the outermost quantiles, in scaled units; without quantiles the answer and one unit."""
    keys, paths = records.number_keys, records.key_paths
    if len(levels) < len(_NEEDED):
        middle = scaling.apply(answers.values, keys, paths)
        return Reach(middle, np.ones_like(middle), np.ones_like(middle))
    places = (0, middle_of(levels), -1)
    return Reach.between(*(scaling.apply(answers.quantiles[:, place], keys, paths) for place in places))


def deviations(records: Records, answers: Answers, scaling: Scaling, levels: Sequence[float]) -> Floats:
    """How far each number lies from the model's median, in units of its interval's reach on that side.

    Infinite where the answer is no number.
    """
    truth = scaling.apply(records.numbers, records.number_keys, records.key_paths)
    return reach_of(answers, records, scaling, levels).deviations(truth)


@dataclass(frozen=True)
class Intervals:
    """The bounds that answers are given."""

    scaling: Scaling
    #: By key path, how far the model's own interval is stretched; empty where nothing is calibrated.
    stretch: Mapping[str, float]
    #: The share of true values that they are to hold; None where the model has no intervals of its own either.
    level: float | None
    calibrated: bool
    #: Of the model's quantiles.
    levels: Sequence[float] = ()
    #: Whether the model's own interval is widened by `stretch` instead, as by calibrations of earlier versions.
    widened: bool = False

    def around(self, answers: Answers, records: Records) -> tuple[Floats, Floats]:
        """Low and high of every number; NaN where there is no interval."""
        low, high = own_bounds(answers)
        if not self.calibrated:
            return (
                (low, high)
                if answers.quantiles.shape[1] > 1
                else (np.full_like(low, np.nan), np.full_like(low, np.nan))
            )
        keys, paths = records.number_keys, records.key_paths
        by_path = np.array([self.stretch.get(path, np.nan) for path in paths], dtype=np.float64)
        factor = by_path[keys] if len(by_path) else np.empty(0)
        if self.widened:
            scaled_low, scaled_high = self._widened(low, high, records, factor)
        else:
            scaled_low, scaled_high = reach_of(answers, records, self.scaling, self.levels).stretched(factor)
        return self.scaling.invert(scaled_low, keys, paths), self.scaling.invert(scaled_high, keys, paths)

    def _widened(self, low: Floats, high: Floats, records: Records, wider: Floats) -> tuple[Floats, Floats]:
        keys, paths = records.number_keys, records.key_paths
        scaled_low = self.scaling.apply(low, keys, paths) - wider
        scaled_high = self.scaling.apply(high, keys, paths) + wider
        # An interval that is narrowed beyond its middle is its middle.
        middle = (scaled_low + scaled_high) / 2
        return np.minimum(scaled_low, middle), np.maximum(scaled_high, middle)


def intervals_of(loaded: LoadedNumformer, level: float | None, bands: UsedCalibration) -> Intervals:
    """Returns those of the calibration that the settings name, or that is beside the weights, else the model's own.

    Raises:
        CheckpointError: the calibration is damaged, or of other weights.
        UserError: there is none, and there must be one; or it has no bounds for the level that is asked for.
    """
    levels = loaded.model.section.quantiles
    own = levels[-1] - levels[0] if len(levels) > 1 else None
    given = None if bands.file is None else plain_path(bands.file)
    calibration = find_calibration(loaded, family="xval", use=bands.use, file=given)
    scaling = loaded.tokenization.scaling
    if calibration is None:
        if level is not None and bands.use == "never":
            raise RecipeError(
                f"interval: intervals at {level:g} are those of a calibration, and bands.use=never takes none",
                hint="leave out one of the two",
            )
        if level is not None:
            raise RecipeError(
                f"interval: {loaded.model_file} is not calibrated, so nothing is known of intervals at {level:g}",
                hint=f"polycli calibrate xval --checkpoint {loaded.model_file}",
            )
        return Intervals(scaling, {}, own, calibrated=False)
    path = calibration_beside(loaded.model_file) if given is None else given
    chosen = _level(calibration, level, path=str(path), own=own)
    bounds = _stretch(calibration, chosen)
    without = [key for key in loaded.tokenization.language.key_paths if key not in bounds]
    if without:
        warn(f"{path}: no intervals at {', '.join(without[:5])}: too few records had numbers there")
    note(f"intervals at {100 * chosen:g} % are those of {path.name}, from {', '.join(calibration.data)}")
    return Intervals(scaling, bounds, chosen, calibrated=True, levels=levels, widened=is_widened(calibration))


def all_intervals(loaded: LoadedNumformer, bands: UsedCalibration) -> list[Intervals]:
    """Returns the intervals of the calibration at each of its levels; none where there is no calibration.

    Raises:
        CheckpointError: the calibration is damaged, or of other weights.
        UserError: there is none, and there must be one.
    """
    given = None if bands.file is None else plain_path(bands.file)
    calibration = find_calibration(loaded, family="xval", use=bands.use, file=given)
    scaling = loaded.tokenization.scaling
    levels = () if calibration is None else calibration.levels
    return [
        Intervals(
            scaling,
            _stretch(calibration, level),
            level,
            calibrated=True,
            levels=loaded.model.section.quantiles,
            widened=is_widened(calibration),
        )
        for level in levels
        if calibration is not None
    ]


def is_widened(calibration: Calibration) -> bool:
    """Returns whether a calibration widens intervals by an amount, as those do that do not say how they measured."""
    return calibration.settings.get("measure") != MEASURE


def _stretch(calibration: Calibration, level: float) -> dict[str, float]:
    """Maps each key path to how far the model's own interval is stretched at a level."""
    place = calibration.levels.index(level)
    bounds: dict[str, float] = {}
    for data in calibration.data.values():
        for key, group in data.groups.items():
            bound = group.bounds[place]
            # Of several datasets the widest holds for each.
            bounds[key] = max(bounds.get(key, -np.inf), np.inf if bound is None else bound)
    return bounds


def _level(calibration: Calibration, level: float | None, *, path: str, own: float | None) -> float:
    """The level that is asked for, else the one nearest to the model's own, or to 0.9."""
    if level is None:
        return min(calibration.levels, key=lambda known: abs(known - (own or 0.9)))
    if level not in calibration.levels:
        raise RecipeError(
            f"interval: {path} has bounds for {', '.join(f'{known:g}' for known in calibration.levels)}, {level:g} was "
            "asked for",
            hint=f"calibrate with --set 'levels=[{level:g}]' --set overwrite=true",
        )
    return level
