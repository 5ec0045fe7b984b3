"""How often bands hold on trajectories that they were not made from: by field, step and level, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.mpp.predicting.bands import Bands, Validity
from polycli.mpp.scoring.bands.meter import BandMeter, largest_so_far
from polycli.report.binomial import beta_interval
from polycli.report.conformal import expected_coverage
from polycli.report.table import Table, interval, number
from polycli.requests import JsonDocument

Floats = NDArray[np.float64]


def coverage_scores(
    bands: Bands,
    validity: Validity,
    meter: BandMeter,
    vrmse: Floats,
    *,
    fields: Mapping[str, float],
    between_frames: float,
) -> JsonDocument:
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
    return {
        **facts["bands"],
        "steps": steps,
        "trajectories_tested": tested,
        "levels": list(bands.levels),
        "expected": {f"{level:g}": list(expected_coverage(level, bands.units, tested)) for level in bands.levels},
        "coverage": {
            field: {
                f"{level:g}": _coverage(
                    held[place, :, :, index], widths[place, :, index], spread, draws=bands.settings.draws
                )
                | {"points_inside": _inside(meter, place, index, steps)}
                for place, level in enumerate(bands.levels)
            }
            for index, (field, spread) in enumerate(fields.items())
        },
        "validity_horizon": {**facts["validity_horizon"], **_valid(validity, vrmse)},
    }


def coverage_table(datasets: Mapping[str, Any]) -> Table:
    """One row for each dataset, field and level: coverage at the first, the middle and the last step."""
    rows = []
    ends = set()
    for name, dataset in datasets.items():
        if "bands" not in dataset:
            continue
        bands = dataset["bands"]
        shown = (0, (bands["steps"] - 1) // 2, bands["steps"] - 1)
        for field, levels in bands["coverage"].items():
            for level, found in levels.items():
                cells = [f"{_percent(found['share'][step])} ({_between(found['interval'], step)})" for step in shown]
                mean = _percent(float(np.mean(found["share"])))
                widths = [width for width in found["relative_width"] if width is not None]
                width = number(float(np.mean(widths))) if len(widths) == bands["steps"] else number(None)
                rows.append([name, field, _percent(float(level)), *cells, mean, width])
            ends.add(len(rows) - 1)
    columns = ["dataset", "field", "band", "step 1", "middle step", "last step", "mean of steps", "width"]
    caption = (
        "Share of trajectories whose forecast a band holds, in percent, with its 95 % interval (Clopper and Pearson). "
        "Width: the half-width (with draws its mean over points and trajectories) over the field's standard deviation, "
        "mean over steps."
    )
    return Table("Coverage of the bands", columns, rows, caption, 3, frozenset(ends))


def horizon_table(datasets: Mapping[str, Any]) -> Table:
    """One row for each dataset: the validity horizon, and how many trajectories were valid up to it."""
    rows = []
    for name, dataset in datasets.items():
        if "bands" in dataset:
            horizon = dataset["bands"]["validity_horizon"]
            rows.append(
                [
                    name,
                    dataset["bands"]["calibrated_on"],
                    f"VRMSE < {horizon['vrmse_below']:g}",
                    _percent(horizon["share_of_trajectories"]),
                    str(horizon["steps"]),
                    number(horizon["time"]),
                    _percent(horizon["held"]),
                    interval([100 * bound for bound in horizon["interval"]]),
                ]
            )
    columns = ["dataset", "calibrated on", "valid", "promised", "steps", "time", "held", "95 % interval"]
    return Table("Validity horizon", columns, rows, "", 3)


def _coverage(held: NDArray[np.bool_], half_width: Floats, spread: float, *, draws: int) -> JsonDocument:
    """Counts how many trajectories a band holds at each step, (trajectory, step).

    Where draws scale a band, it has another half-width at each point, and the one that is given is their mean.
    """
    counts = held.sum(axis=0).tolist()
    bounds = [beta_interval(count, len(held)) for count in counts]
    return {
        "share": held.mean(axis=0).tolist(),
        "interval": [[low for low, _ in bounds], [high for _, high in bounds]],
        "half_width" if draws == 1 else "mean_half_width": half_width.tolist(),
        "relative_width": (half_width / spread).tolist() if spread > 0 else [None] * len(half_width),
    }


def _inside(meter: BandMeter, level: int, field: int, steps: int) -> list[float] | None:
    """Averages over trajectories the share of points that lie within the band at each step."""
    return None if meter.inside is None else meter.inside[level, :, :steps, field].mean(axis=0).tolist()


def _valid(validity: Validity, vrmse: Floats) -> JsonDocument:
    """Counts the trajectories whose error stays below the limit up to the horizon."""
    largest = largest_so_far(vrmse)[:, :, 0]
    steps = min(validity.steps, largest.shape[1])
    held = np.ones(len(largest), np.bool_) if steps == 0 else largest[:, steps - 1] <= validity.below
    low, high = beta_interval(int(held.sum()), len(held))
    return {"held": float(held.mean()), "interval": [low, high]}


def _percent(share: float) -> str:
    return f"{100 * share:.3g}"


def _between(bounds: list[list[float]], step: int) -> str:
    low, high = (100 * side[step] for side in bounds)
    return f"{low:.3g} to {high:.3g}"
