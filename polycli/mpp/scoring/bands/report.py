"""The part of a report that shows bands: how often they hold at each step, beside what was promised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from polycli.names import file_stem
from polycli.report.figures import CurvePanel, Line, curves
from polycli.report.html import Figure


def coverage_figure(name: str, dataset: Mapping[str, Any], figures: Path) -> Figure:
    """Coverage over time, a panel for each field and a line for each level, with the counts' intervals."""
    bands, between_frames = dataset["bands"], dataset["rollout"]["interval"]
    file = figures / f"{file_stem(f'{name}.coverage')}.png"
    panels = [
        CurvePanel(
            field.rsplit(".", maxsplit=1)[-1].replace("_", " "),
            "time after the last frame known",
            "trajectories held (%)",
            np.arange(1, bands["steps"] + 1) * between_frames,
            [
                Line(
                    f"band of {100 * float(level):g} %",
                    100 * np.array(found["share"], dtype=np.float64),
                    100 * np.array(found["interval"], dtype=np.float64),
                )
                for level, found in levels.items()
            ],
            marks=[(100 * float(level), f"{100 * float(level):g} % promised") for level in levels],
        )
        for field, levels in bands["coverage"].items()
    ]
    curves(file, title=f"{name}: how often the bands hold", panels=panels)
    expected = "; ".join(
        f"{100 * float(level):g} %: {100 * low:.3g} to {100 * high:.3g}"
        for level, (low, high) in bands["expected"].items()
    )
    return Figure(
        file,
        f"Share of {bands['trajectories_tested']} trajectories whose forecast the band holds: at least "
        f"{100 * bands['points']:g} % of the field's points within the half-width. Bands were calibrated on "
        f"{bands['trajectories']} trajectories of {bands['calibrated_on']}. Shaded: the 95 % interval of each count. "
        f"Where the promise is kept, 95 % of such counts lie within ({expected}).",
    )
