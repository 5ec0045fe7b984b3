"""Intervals of a head's numbers that a calibration says hold: how deviations are measured, and how far to stretch.

A deviation is how far the truth lies from the median, in units of the head's own interval of that level on that side. A
head that predicts a mean alone has no interval: redshifts are then measured in units of 1 + z, others in their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.loaded import LoadedAstroClip
from polycli.astroclip.recipe.model import PropertySection
from polycli.astroclip.scoring.posteriors.distributions import Distributions, levels_of
from polycli.checkpoints.calibration import CalibratedData, calibration_beside
from polycli.console import note, warn
from polycli.errors import StoreError
from polycli.paths import plain_path
from polycli.report.reach import Reach
from polycli.sections import UsedCalibration
from polycli.workflow.calibrated import find_calibration

Floats = NDArray[np.float64]
#: In the settings of a calibration: how it measured.
MEASURE = "reach"
_MEDIAN = 0.5
_SMALLEST_UNIT = 1e-3
#: Magnitudes by which an object may lie beyond the last that calibrated; some of a few hundred always do by a little.
_NEAR = 0.5


def label_of(column: str, level: float, place: int = 0, bins: int = 1) -> str:
    """The group of a calibration that has the bound of a column at a level, in a bin of magnitude, brightest first.

    >>> label_of("redshift", 0.68), label_of("redshift", 0.95, 2, 3)
    ('redshift 68 %', 'redshift 95 %, magnitudes 3 of 3')
    """
    return f"{column} {100 * level:.6g} %" + (f", magnitudes {place + 1} of {bins}" if bins > 1 else "")


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


def catalogue_magnitudes(store: ObjectStore, rows: NDArray[np.int64]) -> Floats:
    """(n,) in r, by which objects fall into the bins of a calibration; NaN where unknown.

    Raises:
        StoreError: the store has none.
    """
    magnitudes = store.magnitudes(rows)
    if magnitudes is None:
        raise StoreError(
            f"{store.path}: has no magnitudes in g, r and z, by which intervals are calibrated",
            hint="prepare it with mag_g, mag_r and mag_z or fluxes, calibrate with --set by=none, or take none with "
            "--set bands.use=never",
        )
    found: Floats = magnitudes[:, 1]
    return found


@dataclass(frozen=True)
class Bounds:
    """The bounds that one dataset gave: the edges of its bins of magnitude, and the stretch by label."""

    #: Between the bins; none where all objects are one.
    edges: tuple[float, ...]
    stretch: Mapping[str, float]
    #: The brightest and the faintest magnitude that it had; None where a calibration does not say.
    ends: tuple[float, float] | None = None

    def factor(self, column: str, level: float, magnitude: Floats | None, count: int) -> Floats | None:
        """(count,): the stretch of each object; of one without magnitude the largest. None where there is no bound."""
        bins = len(self.edges) + 1
        known = [self.stretch.get(label_of(column, level, place, bins)) for place in range(bins)]
        if all(bound is None for bound in known):
            return None
        # A bin with too few objects for a bound promises nothing.
        by_bin = np.array([np.inf if bound is None else bound for bound in known])
        if bins == 1 or magnitude is None:
            return np.full(count, by_bin.max())
        placed = by_bin[np.searchsorted(self.edges, np.nan_to_num(magnitude), side="right")]
        return np.where(np.isfinite(magnitude), placed, by_bin.max())


@dataclass(frozen=True)
class CalibratedIntervals:
    """The stretch of each column's intervals at each level of a calibration."""

    levels: tuple[float, ...]
    #: One for each dataset; the widest holds for each object.
    bounds: Sequence[Bounds]
    file: Path

    @property
    def by_magnitude(self) -> bool:
        """Whether there are bins of magnitude, so that magnitudes must be known."""
        return any(found.edges for found in self.bounds)

    def magnitudes_of(self, store: ObjectStore, rows: NDArray[np.int64]) -> Floats | None:
        """(n,) the magnitudes that place objects in the bins; None without bins. Those beyond the bins are said.

        Raises:
            StoreError: there are bins, and the store has no magnitudes.
        """
        if not self.by_magnitude:
            return None
        magnitude = catalogue_magnitudes(store, rows)
        self._say_beyond(store.name, magnitude)
        return magnitude

    def _say_beyond(self, name: str, magnitude: Floats) -> None:
        """Warn of objects of a store that are brighter or fainter, by half a magnitude, than all that calibrated."""
        ends = [found.ends for found in self.bounds if found.ends is not None]
        if not ends:
            return
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        beyond = int(((magnitude < low - _NEAR) | (magnitude > high + _NEAR)).sum())
        if beyond:
            warn(
                f"{name}: {beyond:,} of {len(magnitude):,} objects are brighter or fainter than those of "
                f"{self.file.name}, r {low:.2f} to {high:.2f}: their intervals are "
                "those of the outermost bin, and nothing says that they hold"
            )

    def around(
        self, column: str, section: PropertySection, answers: NDArray[np.float32], magnitude: Floats | None
    ) -> dict[float, tuple[Floats, Floats]]:
        """Low and high of each object by level; levels that the calibration has no bound for are absent.

        Each level is calibrated by itself, so a wider level may come out narrower: it then has the other's ends.
        """
        found: dict[float, tuple[Floats, Floats]] = {}
        inner: tuple[Floats, Floats] | None = None
        for level in sorted(self.levels):
            factors = [each.factor(column, level, magnitude, len(answers)) for each in self.bounds]
            known = [factor for factor in factors if factor is not None]
            if known:
                low, high = reach_of(column, section, answers, level).stretched(np.maximum.reduce(known))
                inner = (low, high) if inner is None else (np.minimum(low, inner[0]), np.maximum(high, inner[1]))
                found[level] = inner
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
    bounds = [_bounds(data, calibration.levels) for data in calibration.data.values()]
    section, one = loaded.model.property_head().section, np.zeros(1)
    without = [
        name
        for name in section.regression
        if all(each.factor(name, level, one, 1) is None for each in bounds for level in calibration.levels)
    ]
    if without:
        warn(f"{path}: no intervals of {', '.join(without)}: too few objects had values")
    shares = ", ".join(f"{100 * level:g}" for level in calibration.levels)
    note(f"intervals of {shares} % are those of {path.name}, from {', '.join(calibration.data)}")
    return CalibratedIntervals(calibration.levels, bounds, path)


def _bounds(data: CalibratedData, levels: Sequence[float]) -> Bounds:
    """The bounds of one dataset; of a group, made for one level, that level's alone."""
    stretch: dict[str, float] = {}
    for label, group in data.groups.items():
        for place, level in enumerate(levels):
            if f" {100 * level:.6g} %" in label:
                bound = group.bounds[place]
                stretch[label] = np.inf if bound is None else bound
    given = data.about.get("edges")
    edges = tuple(float(edge) for edge in given) if isinstance(given, list | tuple) else ()
    said = data.about.get("magnitudes")
    ends = (float(said[0]), float(said[1])) if isinstance(said, list | tuple) and len(said) == 2 else None
    return Bounds(edges, stretch, ends)
