"""How the model that is scored was trained: curves of its loss and of its speed, from what its run measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polycli.report.html import Block, Figure, Heading
from polycli.report.table import number

#: Points of a curve, at most; an even choice where there are more.
_SHOWN = 2000


@dataclass(frozen=True, kw_only=True)
class TrainingLine:
    """The numbers that a run measured at one step."""

    step: int
    #: Of the training or, where `validation` is true, of held-out rows.
    loss: float
    validation: bool = False
    samples_per_second: float | None = None
    step_seconds: float | None = None
    #: The share of the time that a step waited for data: 0 to 1.
    data_wait_share: float | None = None
    peak_memory_bytes: float | None = None


def training_blocks(lines: Sequence[TrainingLine], figures: Path, *, scored: int | None = None) -> list[Block]:
    """A section with the curves of a run; nothing where less than two steps were measured.

    Args:
        lines: in the order of steps.
        figures: the folder of figures.
        scored: the step whose weights are scored, if it is known.
    """
    # Drawn here alone: verbs that only read a checkpoint need no drawing library, which writes to the home folder.
    from polycli.report.figures import CurvePanel, Line, curves

    train, validation = (_thinned([line for line in lines if line.validation is kind]) for kind in (False, True))
    if len(train) < 2:
        return []
    steps = np.array([line.step for line in train], dtype=np.float64)
    drawn = [Line("training", np.array([line.loss for line in train]))]
    if validation:
        # On the steps of the training, so that one legend and one abscissa serve both.
        at = [line.step for line in validation]
        drawn.append(Line("validation", np.interp(steps, at, [line.loss for line in validation], left=np.nan)))
    positive = all(line.loss > 0 for line in (*train, *validation))
    panels = [CurvePanel("loss", "step", "loss", steps, drawn, logarithmic=positive, depth=1e-6)]
    speed = np.array([line.samples_per_second or np.nan for line in train])
    if np.isfinite(speed).any():
        panels.append(CurvePanel("speed", "step", "samples per second", steps, [Line("training", speed)]))
    file = figures / "training.png"
    curves(file, title="Training of the model that is scored", panels=panels)
    which = "" if scored is None else f"The weights that are scored are those of step {scored:,}. "
    return [Heading("Training"), Figure(file, f"{which}{_speed(train)}", lines=True)]


def _thinned(lines: list[TrainingLine]) -> list[TrainingLine]:
    return lines[:: max(1, len(lines) // _SHOWN)]


def _speed(lines: Sequence[TrainingLine]) -> str:
    """Says medians over steps of what is known."""
    parts = []
    for values, text in (
        ([line.samples_per_second for line in lines], "{} samples per second"),
        ([line.step_seconds for line in lines], "{} s for a step"),
        (
            [100 * line.data_wait_share for line in lines if line.data_wait_share is not None],
            "{} % of it waiting for data",
        ),
    ):
        known = [value for value in values if value is not None]
        if known:
            parts.append(text.format(number(float(np.median(known)))))
    peaks = [line.peak_memory_bytes for line in lines if line.peak_memory_bytes is not None]
    if peaks:
        parts.append(f"{number(max(peaks) / 1e9)} GB of memory at the peak")
    return f"Medians over steps: {', '.join(parts)}." if parts else ""
