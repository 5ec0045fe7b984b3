"""How often intervals of a calibration hold the truth of records that it never saw, by key and by power of ten.

Numbers are asked for as the calibration asked: one of each record, or group, and key path. These do not depend on each
other, so the shares have binomial intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.report.binomial import beta_interval
from polycli.report.table import Table, interval, number
from polycli.xval.model.loaded import LoadedNumformer
from polycli.xval.numbers.statistics import decades_of
from polycli.xval.recipe.settings import EvalSettings
from polycli.xval.scoring.coverage.one_each import answer_one_each
from polycli.xval.scoring.hidden_numbers import Subset
from polycli.xval.scoring.intervals import all_intervals
from polycli.xval.scoring.score_records import CalibratedCoverage, DecadeCoverage, FillScores, LevelCoverage
from polycli.xval.scoring.summarise import LEAST_IN_DECADE, key_name

Held = NDArray[np.bool_]


def calibrated_coverage(
    loaded: LoadedNumformer, subset: Subset, settings: EvalSettings, patterns: Sequence[str]
) -> CalibratedCoverage | None:
    """Coverage at every level of the calibration; None where there is none.

    `patterns` are key paths that are scored together. Numbers without bounds, which too few records had, do not count.
    """
    levels = all_intervals(loaded, settings.bands)
    if not levels:
        return None
    # As predict mostly does: the others of the record are known.
    found = answer_one_each(loaded, subset, share=None, seed=settings.seed, batch_tokens=settings.batch_tokens)
    drawn, records = found.drawn, found.records
    truth, keys = records.numbers[drawn], records.number_keys[drawn]
    held, known = [], np.ones(len(drawn), dtype=np.bool_)
    for each in levels:
        low, high = (side[drawn] for side in each.around(found.answers, records))
        held.append((truth >= low) & (truth <= high))
        known &= ~(np.isnan(low) | np.isnan(high))
    shares = _Shares([float(each.level or 0) for each in levels], np.array(held)[:, known])
    names = [key_name(path, records.key_paths, patterns) for path in records.key_paths]
    of_key = np.array([names[key] for key in keys[known]], dtype=object)
    size = np.abs(truth[known])
    decade = np.full(len(size), np.iinfo(np.int64).min)
    decade[size > 0] = decades_of(size[size > 0])
    counts = {int(value): int((decade == value).sum()) for value in np.unique(decade[size > 0])}
    return CalibratedCoverage(
        all=shares.of(np.ones(len(size), dtype=np.bool_)),
        keys={name: shares.of(of_key == name) for name in dict.fromkeys(of_key.tolist())},
        decades=[
            DecadeCoverage(decade=value, levels=shares.of(decade == value))
            for value, count in counts.items()
            if count >= LEAST_IN_DECADE
        ],
    )


class _Shares:
    """Counts what was held at each level."""

    def __init__(self, levels: Sequence[float], held: Held) -> None:
        self._levels, self._held = levels, held

    def of(self, chosen: Held) -> list[LevelCoverage]:
        count = int(chosen.sum())
        entries: list[LevelCoverage] = []
        for level, held in zip(self._levels, self._held, strict=True):
            inside = int(held[chosen].sum())
            limits = list(beta_interval(inside, count)) if count else None
            share = inside / count if count else None
            entries.append(LevelCoverage(nominal=level, numbers=count, measured=share, interval=limits))
        return entries


def calibrated_table(name: str, scores: FillScores, *, most: int) -> Table:
    """One row for all numbers, each key and each power of ten; at most so many keys."""
    found = scores.calibrated or CalibratedCoverage(all=(), keys={}, decades=())
    parts = [("all", found.all)] * bool(found.all)
    parts += list(found.keys.items())[:most]
    parts += [(f"1e{entry.decade} to 1e{entry.decade + 1}", entry.levels) for entry in found.decades]
    rows = [[part, f"{entries[0].numbers:,}", *_cells(entries, _percent)] for part, entries in parts]
    levels = [entry.nominal for entry in found.all]
    columns = ["", "numbers", *(cell for level in levels for cell in (f"of {100 * level:g} %", "binomial"))]
    caption = "Shares of true numbers within the calibrated intervals; one number of each record and key, hidden alone."
    return Table(f"{name}: coverage of the calibrated intervals", columns, rows, caption)


def _cells(entries: Sequence[LevelCoverage], percent: Callable[[float], float]) -> list[str]:
    cells = []
    for entry in entries:
        limits = None if entry.interval is None else [percent(side) for side in entry.interval]
        share = None if entry.measured is None else percent(entry.measured)
        cells += [number(share), interval(limits)]
    return cells


def _percent(share: float) -> float:
    return 100 * share
