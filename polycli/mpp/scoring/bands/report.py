"""The part of a report that shows bands: how often they hold at each step, beside what was promised."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from polycli.mpp.scoring.score_records import BandScores
from polycli.names import picture_file
from polycli.report.figures import CurvePanel, Line, curves
from polycli.report.html import Figure


def coverage_figure(name: str, bands: BandScores, between_frames: float, figures: Path) -> Figure:
    """Coverage over time, a panel for each field and a line for each level, with the counts' intervals.

    `between_frames` is the time between two frames.
    """
    file = picture_file(figures, name, "coverage")
    panels = [
        CurvePanel(
            field.rsplit(".", maxsplit=1)[-1].replace("_", " "),
            "time after the last frame known",
            "trajectories held (%)",
            np.arange(1, bands.origin.steps + 1) * between_frames,
            [
                Line(
                    f"band of {100 * float(level):g} %",
                    100 * np.array(band.share, dtype=np.float64),
                    100 * np.array(band.interval, dtype=np.float64),
                )
                for level, band in levels.items()
            ],
            marks=[(100 * float(level), f"{100 * float(level):g} % promised") for level in levels],
        )
        for field, levels in bands.coverage.items()
    ]
    curves(file, title=f"{name}: how often the bands hold", panels=panels)
    expected = "; ".join(
        f"{100 * float(level):g} %: {100 * low:.3g} to {100 * high:.3g}"
        for level, (low, high) in bands.expected.items()
    )
    return Figure(
        file,
        f"Share of {bands.trajectories_tested} trajectories whose forecast the band holds: at least "
        f"{100 * bands.origin.points:g} % of the field's points within the half-width. Bands were calibrated on "
        f"{bands.origin.trajectories} trajectories of {bands.origin.calibrated_on}. Shaded: the 95 % interval of each "
        "count. "
        f"Where the promise is kept, 95 % of such counts lie within ({expected}).",
    )
