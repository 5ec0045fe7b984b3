"""Intervals of a head's numbers that a calibration says hold: how deviations are measured, and how far to stretch.

A deviation is how far the truth lies from the median, in units of the head's own interval of that level on that side. A
head that predicts a mean alone has no interval: redshifts are then measured in units of 1 + z, others in their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.model.loaded import LoadedAstroClip
from polycli.astroclip.recipe.model import PropertySection
from polycli.astroclip.scoring.posteriors.distributions import Distributions, levels_of
from polycli.checkpoints.calibration import Calibration, calibration_beside
from polycli.console import note, warn
from polycli.paths import plain_path
from polycli.report.reach import Reach
from polycli.sections import UsedCalibration
from polycli.workflow.calibrated import find_calibration

Floats = NDArray[np.float64]
#: In the settings of a calibration: how it measured.
MEASURE = "reach"
_MEDIAN = 0.5
_SMALLEST_UNIT = 1e-3


def label_of(column: str, level: float) -> str:
    """The group of a calibration that has the bound of a column at a level.

    >>> label_of("redshift", 0.68)
    'redshift 68 %'
    """
    return f"{column} {100 * level:.6g} %"


def reach_of(column: str, section: PropertySection, answers: NDArray[np.float32], level: float) -> Reach:
    """The head's own interval of a level, or the widest that it has; of a mean, a fixed reach.

    Args:
        column: the property.
        section: the head's.
        answers: (n, levels) quantiles at `distributions.levels_of`, or (n, 1) means.
        level: the share of the interval.
    """
    values = answers.astype(np.float64)
    if len(section.quantiles) < 2:
        middle = values[:, 0]
        unit = np.maximum(1 + middle, _SMALLEST_UNIT) if column == "redshift" else np.ones_like(middle)
        return Reach(middle, unit, unit)
    found = Distributions(levels_of(section), values)
    tail = max((1 - level) / 2, found.levels[0])
    head = min((1 + level) / 2, found.levels[-1])
    median = min(max(_MEDIAN, found.levels[0]), found.levels[-1])
    return Reach.between(found.at(tail), found.at(median), found.at(head))


@dataclass(frozen=True)
class CalibratedIntervals:
    """The stretch of each column's intervals at each level of a calibration."""

    levels: tuple[float, ...]
    #: By label: infinite where so many objects failed.
    stretch: Mapping[str, float]
    file: Path

    def around(
        self, column: str, section: PropertySection, answers: NDArray[np.float32]
    ) -> dict[float, tuple[Floats, Floats]]:
        """Low and high of each object by level; levels that the calibration has no bound for are absent."""
        found = {}
        for level in self.levels:
            factor = self.stretch.get(label_of(column, level))
            if factor is not None:
                found[level] = reach_of(column, section, answers, level).stretched(factor)
        return found


def intervals_of(loaded: LoadedAstroClip, bands: UsedCalibration) -> CalibratedIntervals | None:
    """Those of the calibration that the settings name, or that is beside the weights; None where there is none.

    Raises:
        CheckpointError: the calibration is damaged, or of other weights.
        UserError: there is none, and there must be one.
    """
    given = None if bands.file is None else plain_path(bands.file)
    calibration = find_calibration(loaded, family="astroclip", use=bands.use, file=given)
    if calibration is None:
        return None
    path = calibration_beside(loaded.model_file) if given is None else given
    stretch = _stretch(calibration)
    section = loaded.model.property_head().section
    without = [name for name in section.regression if not any(label_of(name, x) in stretch for x in calibration.levels)]
    if without:
        warn(f"{path}: no intervals of {', '.join(without)}: too few objects had values")
    shares = ", ".join(f"{100 * level:g}" for level in calibration.levels)
    note(f"intervals of {shares} % are those of {path.name}, from {', '.join(calibration.data)}")
    return CalibratedIntervals(calibration.levels, stretch, path)


def _stretch(calibration: Calibration) -> dict[str, float]:
    """The stretch by label; of several datasets the widest holds for each."""
    found: dict[str, float] = {}
    for data in calibration.data.values():
        for label, group in data.groups.items():
            for place, level in enumerate(calibration.levels):
                if label.endswith(f" {100 * level:.6g} %"):
                    bound = group.bounds[place]
                    found[label] = max(found.get(label, -np.inf), np.inf if bound is None else bound)
    return found
