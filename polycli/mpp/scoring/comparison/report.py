"""The table and the figure of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from polycli.mpp.scoring.score_records import ForecastScores
from polycli.report.figures import CurvePanel, Line, curves
from polycli.report.html import Block, Figure, Heading
from polycli.report.table import NOTHING, Table, interval, number

#: Spans of rollouts that the table shows, where trajectories are as long.
SPANS = {"steps_1_to_5": "steps 1-5", "steps_6_to_12": "6-12", "steps_13_to_30": "13-30", "trajectory": "all steps"}
COMPARISON = "VRMSE of several models on the same windows"
ABOUT = (
    "All models forecast the same frames of the same trajectories; one with a shorter history sees the last frames of "
    "the longest. The linear stencil is the change of a field as a sum over all fields at the 3 x 3 points around it "
    "in the last two frames, fitted by least squares on training trajectories of each dataset. Operations are those of "
    "one step of one trajectory; its time is the least of several turns on this machine, in which all models took part."
)


def comparison_table(datasets: Mapping[str, ForecastScores]) -> Table | None:
    """One row for each dataset and model: VRMSE of one step and of rollouts, blow-up and cost; None without any."""
    compared = {name: dataset.comparison for name, dataset in datasets.items() if dataset.comparison is not None}
    if not compared:
        return None
    spans = {
        span: text
        for span, text in SPANS.items()
        if any(
            span in model.rollout["vrmse"].spans
            for comparison in compared.values()
            for model in comparison.models.values()
        )
    }
    rows: list[list[str]] = []
    ends = set()
    for name, comparison in compared.items():
        trajectories = datasets[name].trajectories
        for label, model in comparison.models.items():
            vrmse, cost = model.rollout["vrmse"].spans, model.cost
            bounds = interval(model.one_step["vrmse"].interval) if trajectories > 1 else NOTHING
            rows.append(
                [
                    name,
                    label,
                    cost.kind,
                    number(model.one_step["vrmse"].mean),
                    bounds,
                    *(number(vrmse[span].mean) if span in vrmse else NOTHING for span in spans),
                    f"{model.blow_up.rollouts} of {trajectories}",
                    f"{cost.parameters:,}",
                    number(cost.flops / 1e6),
                    number(cost.milliseconds),
                ]
            )
        ends.add(len(rows) - 1)
    columns = ["dataset", "model", "kind", "one step", "95 % interval", *spans.values()]
    columns += ["blown up", "parameters", "MFLOP", "ms"]
    return Table(COMPARISON, columns, rows, ABOUT, 3, frozenset(ends))


def comparison_blocks(datasets: Mapping[str, ForecastScores], figures: Path) -> list[Block]:
    """The part of a report about other models: the table and the figure; nothing where none takes part."""
    table = comparison_table(datasets)
    if table is None:
        return []
    compared = {name: dataset.comparison for name, dataset in datasets.items() if dataset.comparison is not None}
    labels = list(dict.fromkeys(label for comparison in compared.values() for label in comparison.models))
    panels = []
    for name, comparison in compared.items():
        steps = np.arange(1, comparison.steps + 1)
        unknown = np.full(len(steps), np.nan)
        lines = [
            Line(
                label,
                np.array(comparison.models[label].rollout["vrmse"].growth, dtype=np.float64)
                if label in comparison.models
                else unknown,
            )
            for label in labels
        ]
        panels.append(
            CurvePanel(
                name,
                "time after the last frame known",
                "VRMSE",
                steps * comparison.interval,
                lines,
                logarithmic=True,
                marks=[(1.0, "mean of the field")],
            )
        )
    file = figures / "comparison.png"
    curves(file, title="Growth of the error of several models", panels=panels)
    caption = "VRMSE of rollouts on the same windows, averaged over fields and trajectories."
    return [Heading("Comparison"), Figure(file, caption, lines=True), table]
