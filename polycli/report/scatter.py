"""Scatter plots of predicted against true values, one panel each, with the line on which they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.report.figures import BLUE, ORANGE, drawing

#: Points of a panel, at most; an even choice where there are more.
_SHOWN = 3000


@dataclass(frozen=True)
class ScatterPanel:
    """The true and predicted values of one quantity."""

    title: str
    unit: str
    truth: NDArray[Any]
    prediction: NDArray[Any]
    #: An interval of the truth that is marked, such as one that was held out of training.
    marked: tuple[float, float] | None = None


def scatter(file: Path, *, title: str, panels: Sequence[ScatterPanel]) -> None:
    """Prediction over truth, three panels in a row; what is not finite is left out."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    with drawing(file, (0.5 + 3.2 * columns, 0.6 + 3.2 * rows), vector=True) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for axis, panel in zip(axes, panels, strict=False):
            _draw(axis, panel)
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        figure.suptitle(title, fontsize=12)


def _draw(axis: Any, panel: ScatterPanel) -> None:  # noqa: ANN401  # matplotlib is not typed for strict mypy.
    truth, prediction = np.asarray(panel.truth, np.float64), np.asarray(panel.prediction, np.float64)
    finite = np.flatnonzero(np.isfinite(truth) & np.isfinite(prediction))
    shown = finite[:: max(1, len(finite) // _SHOWN)]
    axis.scatter(truth[shown], prediction[shown], s=6, color=BLUE, alpha=0.4, linewidths=0, rasterized=True)
    if len(shown):
        low, high = float(truth[shown].min()), float(truth[shown].max())
        margin = 0.05 * (high - low) or 0.5
        axis.plot([low, high], [low, high], color=ORANGE, linestyle="--", linewidth=1.5)
        # Over the range of the truth: one answer that is far off must not flatten everything else.
        axis.set_xlim(low - margin, high + margin)
        axis.set_ylim(low - 4 * margin, high + 4 * margin)
    if panel.marked is not None:
        axis.axvspan(*panel.marked, color=ORANGE, alpha=0.15, linewidth=0)
    axis.set_title(panel.title)
    unit = f" ({panel.unit})" if panel.unit else ""
    axis.set_xlabel(f"truth{unit}")
    axis.set_ylabel(f"prediction{unit}")
    axis.grid(alpha=0.3)
