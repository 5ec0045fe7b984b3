"""How often bands hold on trajectories that they were not made from: by field, step and level, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from polycli.mpp.predicting.band_facts import Horizon
from polycli.mpp.predicting.bands import Bands, Validity
from polycli.mpp.scoring.bands.meter import BandMeter, largest_so_far
from polycli.mpp.scoring.score_records import BandCoverage, BandScores, ForecastScores, HorizonScores
from polycli.report.binomial import beta_interval
from polycli.report.conformal import expected_coverage
from polycli.report.table import Table, interval, number

Floats = NDArray[np.float64]


def coverage_scores(
    bands: Bands,
    validity: Validity,
    meter: BandMeter,
    vrmse: Floats,
    *,
    fields: Mapping[str, float],
    between_frames: float,
) -> BandScores:
    """`bands` of a dataset: the share of trajectories that each band holds, and how many stay valid to the horizon.

    Args:
        bands: Those that are tested.
        validity: The horizon that they promise.
        meter: The scores of the rollouts, (trajectory, step, field).
        vrmse: The model's errors, likewise.
        fields: The standard deviation of each field, beside which widths are given.
        between_frames: The time between two frames.
    """
    tested, steps = len(meter.deviation), min(bands.steps, meter.deviation.shape[1])
    held = meter.deviation[None, :, :steps] <= bands.half_width[:, None, :steps]
    # Where draws scale the bands, their width on average over points and trajectories.
    widths = bands.half_width[:, :steps] * meter.spread[None, :, :steps].mean(axis=1)
    facts = bands.facts(validity, interval=between_frames, fields=tuple(fields))
    return BandScores(
        origin=replace(facts.bands, steps=steps),
        trajectories_tested=tested,
        levels=list(bands.levels),
        expected={f"{level:g}": list(expected_coverage(level, bands.units, tested)) for level in bands.levels},
        coverage={
            field: {
                f"{level:g}": _coverage(
                    held[row, :, :, index],
                    widths[row, :, index],
                    spread,
                    draws=bands.settings.draws,
                    inside=_inside(meter, row, index, steps),
                )
                for row, level in enumerate(bands.levels)
            }
            for index, (field, spread) in enumerate(fields.items())
        },
        validity_horizon=_valid(facts.validity_horizon, vrmse),
    )


def coverage_table(datasets: Mapping[str, ForecastScores]) -> Table:
    """One row for each dataset, field and level: coverage at the first, the middle and the last step."""
    rows = []
    ends = set()
    for name, dataset in datasets.items():
        bands = dataset.bands
        if bands is None:
            continue
        steps = bands.origin.steps
        shown = (0, (steps - 1) // 2, steps - 1)
        for field, levels in bands.coverage.items():
            for level, band in levels.items():
                cells = [f"{_percent(band.share[step])} ({_between(band.interval, step)})" for step in shown]
                mean = _percent(float(np.mean(band.share)))
                widths = [width for width in band.relative_width if width is not None]
                width = number(float(np.mean(widths))) if len(widths) == steps else number(None)
                rows.append([name, field, _percent(float(level)), *cells, mean, width])
            ends.add(len(rows) - 1)
    columns = ["dataset", "field", "band", "step 1", "middle step", "last step", "mean of steps", "width"]
    caption = (
        "Share of trajectories whose forecast a band holds, in percent, with its 95 % interval (Clopper and Pearson). "
        "Width: the half-width (with draws its mean over points and trajectories) over the field's standard deviation, "
        "mean over steps."
    )
    return Table("Coverage of the bands", columns, rows, caption, 3, frozenset(ends))


def horizon_table(datasets: Mapping[str, ForecastScores]) -> Table:
    """One row for each dataset: the validity horizon, and how many trajectories were valid up to it."""
    rows = []
    for name, dataset in datasets.items():
        if dataset.bands is not None:
            tested = dataset.bands.validity_horizon
            promised = tested.promised
            rows.append(
                [
                    name,
                    dataset.bands.origin.calibrated_on,
                    f"VRMSE < {promised.vrmse_below:g}",
                    _percent(promised.share_of_trajectories),
                    str(promised.steps),
                    number(promised.time),
                    _percent(tested.held),
                    interval([100 * bound for bound in tested.interval]),
                ]
            )
    columns = ["dataset", "calibrated on", "valid", "promised", "steps", "time", "held", "95 % interval"]
    return Table("Validity horizon", columns, rows, "", 3)


def _coverage(
    held: NDArray[np.bool_], half_width: Floats, spread: float, *, draws: int, inside: list[float] | None
) -> BandCoverage:
    """Counts how many trajectories a band holds at each step, (trajectory, step).

    Where draws scale a band, it has another half-width at each point, and the one that is given is their mean.
    """
    counts = held.sum(axis=0).tolist()
    bounds = [beta_interval(count, len(held)) for count in counts]
    return BandCoverage(
        share=held.mean(axis=0).tolist(),
        interval=[[low for low, _ in bounds], [high for _, high in bounds]],
        half_width=half_width.tolist() if draws == 1 else None,
        mean_half_width=None if draws == 1 else half_width.tolist(),
        relative_width=(half_width / spread).tolist() if spread > 0 else [None] * len(half_width),
        points_inside=inside,
    )


def _inside(meter: BandMeter, level: int, field: int, steps: int) -> list[float] | None:
    """Averages over trajectories the share of points that lie within the band at each step."""
    return None if meter.inside is None else meter.inside[level, :, :steps, field].mean(axis=0).tolist()


def _valid(promised: Horizon, vrmse: Floats) -> HorizonScores:
    """Counts the trajectories whose error stays below the limit up to the horizon."""
    largest = largest_so_far(vrmse)[:, :, 0]
    steps = min(promised.steps, largest.shape[1])
    held = np.ones(len(largest), np.bool_) if steps == 0 else largest[:, steps - 1] <= promised.vrmse_below
    low, high = beta_interval(int(held.sum()), len(held))
    return HorizonScores(promised=promised, held=float(held.mean()), interval=[low, high])


def _percent(share: float) -> str:
    return f"{100 * share:.3g}"


def _between(bounds: Sequence[Sequence[float]], step: int) -> str:
    low, high = (100 * side[step] for side in bounds)
    return f"{low:.3g} to {high:.3g}"
