"""Intervals around answers: the model's own, or those that a calibration says hold.

A calibration measures by how much the truth lies outside of the model's own interval, in scaled units, and widens it
by as much on both sides (conformalised quantile regression: Romano, Patterson and Candes 2019); for a model without
quantiles that interval is its answer alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.checkpoints.calibration import Calibration, calibration_beside
from polycli.console import note, warn
from polycli.errors import RecipeError
from polycli.paths import plain_path
from polycli.sections import UsedCalibration
from polycli.workflow.calibrated import find_calibration
from polycli.xval.model.loaded import LoadedNumformer
from polycli.xval.numbers.scaling import Scaling
from polycli.xval.records.records import Records
from polycli.xval.scoring.fill import Answers

Floats = NDArray[np.float64]


def own_bounds(answers: Answers) -> tuple[Floats, Floats]:
    """Returns the outermost quantiles of each number; the answer twice, where the model has no two of them."""
    if answers.quantiles.shape[1] > 1:
        return answers.quantiles[:, 0], answers.quantiles[:, -1]
    return answers.values, answers.values


def deviations(records: Records, answers: Answers, scaling: Scaling) -> Floats:
    """How far each number lies outside of the model's own interval, in scaled units; below 0 within.

    Infinite where the answer is no number.
    """
    keys, paths = records.number_keys, records.key_paths
    truth, low, high = (scaling.apply(values, keys, paths) for values in (records.numbers, *own_bounds(answers)))
    found = np.maximum(low - truth, truth - high)
    return np.where(np.isfinite(found), found, np.inf)


@dataclass(frozen=True)
class Intervals:
    """The bounds that answers are given."""

    scaling: Scaling
    #: By key path, how much the model's own interval is widened; empty where nothing is calibrated.
    widening: Mapping[str, float]
    #: The share of true values that they are to hold; None where the model has no intervals of its own either.
    level: float | None
    calibrated: bool

    def around(self, answers: Answers, records: Records) -> tuple[Floats, Floats]:
        """Low and high of every number; NaN where there is no interval."""
        low, high = own_bounds(answers)
        if not self.calibrated:
            return (
                (low, high)
                if answers.quantiles.shape[1] > 1
                else (np.full_like(low, np.nan), np.full_like(low, np.nan))
            )
        widths = np.array([self.widening.get(path, np.nan) for path in records.key_paths], dtype=np.float64)
        wider = widths[records.number_keys] if len(widths) else np.empty(0)
        keys, paths = records.number_keys, records.key_paths
        scaled_low, scaled_high = (
            self.scaling.apply(low, keys, paths) - wider,
            self.scaling.apply(high, keys, paths) + wider,
        )
        # An interval that is narrowed beyond its middle is its middle.
        middle = (scaled_low + scaled_high) / 2
        scaled_low, scaled_high = np.minimum(scaled_low, middle), np.maximum(scaled_high, middle)
        return self.scaling.invert(scaled_low, keys, paths), self.scaling.invert(scaled_high, keys, paths)


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
    bounds = _widening(calibration, chosen)
    without = [key for key in loaded.tokenization.language.key_paths if key not in bounds]
    if without:
        warn(f"{path}: no intervals at {', '.join(without[:5])}: too few records had numbers there")
    note(f"intervals at {100 * chosen:g} % are those of {path.name}, from {', '.join(calibration.data)}")
    return Intervals(scaling, bounds, chosen, calibrated=True)


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
        Intervals(scaling, _widening(calibration, level), level, calibrated=True)
        for level in levels
        if calibration is not None
    ]


def _widening(calibration: Calibration, level: float) -> dict[str, float]:
    """Maps each key path to how much the model's own interval is widened at a level."""
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
