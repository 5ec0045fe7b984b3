"""The tables of an MPP evaluation, for a terminal and for the report."""

from __future__ import annotations

from collections.abc import Mapping

from polycli.mpp.scoring.bands.coverage import coverage_table, horizon_table
from polycli.mpp.scoring.comparison.report import comparison_table
from polycli.mpp.scoring.parameters.probing import probe_tables
from polycli.mpp.scoring.score_records import ForecastScores
from polycli.report.scores import Bounds, Errors
from polycli.report.table import NOTHING, Table, interval, number

METRICS = {"nrmse": "NRMSE", "vrmse": "VRMSE"}
SPANS = {"step_1": "step 1", "steps_1_to_5": "mean of steps 1 to 5", "trajectory": "mean of all {steps} steps"}
_ENTRY_COLUMNS = ("model", "95 % interval", "persistence", "linear", "model / persistence", "95 % interval")


def overview(datasets: Mapping[str, ForecastScores]) -> list[Table]:
    """The tables that a terminal shows, and a report first."""
    tables = [
        one_step_table(datasets),
        rollout_table(datasets),
        endurance_table(datasets),
        coverage_table(datasets),
        horizon_table(datasets),
        conservation_table(datasets),
        *probe_tables({name: dataset.probes for name, dataset in datasets.items()}),
    ]
    compared = comparison_table(datasets)
    return [table for table in (*tables, *(() if compared is None else (compared,))) if table.rows]


def one_step_table(datasets: Mapping[str, ForecastScores]) -> Table:
    """One row for each dataset and metric."""
    rows = [
        [name, METRICS[metric], *_entry_cells(dataset.one_step.metrics[metric].mean, dataset.trajectories)]
        for name, dataset in datasets.items()
        for metric in METRICS
    ]
    return Table("One step", ["dataset", "metric", *_ENTRY_COLUMNS], rows, _single(datasets), 2, _every(2, len(rows)))


def rollout_table(datasets: Mapping[str, ForecastScores]) -> Table:
    """One row for each dataset, metric and span of steps."""
    rows = []
    ends = set()
    for name, dataset in datasets.items():
        rollout = dataset.rollout
        for metric, shown in METRICS.items():
            for span, text in SPANS.items():
                if span in rollout.metrics[metric].spans:
                    errors = rollout.metrics[metric].spans[span].mean
                    over = text.format(steps=rollout.steps)
                    rows.append([name, shown, over, *_entry_cells(errors, dataset.trajectories)])
        ends.add(len(rows) - 1)
    title = "Rollouts from the first frames, each prediction fed back"
    return Table(title, ["dataset", "metric", "over", *_ENTRY_COLUMNS], rows, "", 3, frozenset(ends))


def endurance_table(datasets: Mapping[str, ForecastScores]) -> Table:
    """Tabulates for how many steps a rollout stays below persistence."""
    rows = []
    for name, dataset in datasets.items():
        for metric, shown in METRICS.items():
            steps = dataset.rollout.metrics[metric].steps_below_persistence
            counts = (steps.mean_curve, steps.median, steps.least)
            rows.append([name, shown, *(f"{count:g}" for count in counts), str(steps.of)])
    columns = ["dataset", "metric", "mean curve", "median trajectory", "worst trajectory", "of steps"]
    return Table("Steps that a rollout stays below persistence", columns, rows, "", 2, _every(2, len(rows)))


def conservation_table(datasets: Mapping[str, ForecastScores]) -> Table:
    """The largest relative drift of each conserved quantity over a rollout, averaged over trajectories."""
    rows = [
        [
            name,
            quantity,
            number(drift.largest["model"]),
            _interval(drift.interval, dataset.trajectories),
            number(drift.largest["truth"]),
        ]
        for name, dataset in datasets.items()
        for quantity, drift in dataset.rollout.conservation.items()
    ]
    caption = (
        "Largest change of a trajectory relative to the last frame known (momentum: to the mean of density times "
        "speed); divergence: its root mean square over that of the velocity gradient."
    )
    columns = ["dataset", "quantity", "model", "95 % interval", "truth"]
    return Table("Drift of what the physics conserves", columns, rows, caption, 2)


def field_table(name: str, dataset: ForecastScores) -> Table:
    """One row for each field and metric, one step and over the whole rollout."""
    rows = []
    whole = {metric: errors.spans["trajectory"] for metric, errors in dataset.rollout.metrics.items()}
    for shown, by_metric in (("one step", dataset.one_step.metrics), ("rollout", whole)):
        for metric, metric_name in METRICS.items():
            rows += [
                [field.rsplit(".", maxsplit=1)[-1], shown, metric_name, *_entry_cells(errors, dataset.trajectories)]
                for field, errors in by_metric[metric].fields.items()
            ]
    columns = ["field", "", "metric", *_ENTRY_COLUMNS]
    return Table(f"{name}, by field", columns, rows, "", 3, _every(len(rows) // 4, len(rows)))


def _entry_cells(errors: Errors, trajectories: int) -> list[str]:
    return [
        number(errors.by_method["model"]),
        _interval(errors.interval, trajectories),
        number(errors.by_method["persistence"]),
        number(errors.by_method.get("linear")),
        number(errors.ratio),
        _interval(errors.ratio_interval, trajectories),
    ]


def _interval(bounds: Bounds, trajectories: int) -> str:
    return interval(bounds) if trajectories > 1 else NOTHING


def _single(datasets: Mapping[str, ForecastScores]) -> str:
    alone = [name for name, dataset in datasets.items() if dataset.trajectories == 1]
    return f"One trajectory alone has no interval: {', '.join(alone)}." if alone else ""


def _every(size: int, rows: int) -> frozenset[int]:
    return frozenset(range(size - 1, rows, max(1, size)))
