"""The figure of posteriors: the distribution function at the true values, as a histogram and against a uniform one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from polycli.astroclip.scoring.posteriors.records import PitScores
from polycli.report.figures import BLUE, ORANGE, drawing


def draw_pit(file: Path, *, title: str, pit: PitScores) -> None:
    """PIT of a column: its histogram with what chance allows, and its cumulated share less that of a uniform one."""
    from scipy.stats import binom

    counts = np.asarray(pit.counts, np.float64)
    objects, bins = int(counts.sum()), len(counts)
    edges = np.linspace(0, 1, bins + 1)
    low, high = (binom.ppf(tail, objects, 1 / bins) for tail in (0.025, 0.975))
    with drawing(file, (8.4, 3.2)) as figure:
        left, right = figure.subplots(1, 2)
        left.axhspan(low, high, color=ORANGE, alpha=0.25, linewidth=0)
        left.stairs(counts, edges, color=BLUE, fill=True, alpha=0.6)
        left.axhline(objects / bins, color=ORANGE, linewidth=1.2)
        left.set(xlabel="PIT", ylabel="objects", xlim=(0, 1))
        reached = np.concatenate([[0.0], counts.cumsum() / objects])
        right.axhline(0, color=ORANGE, linewidth=1.2)
        right.plot(edges, reached - edges, color=BLUE, marker=".", linewidth=1.2)
        # Beyond it a Kolmogorov-Smirnov test speaks at 5 %.
        limit = 1.358 / np.sqrt(objects)
        right.axhspan(-limit, limit, color=ORANGE, alpha=0.25, linewidth=0)
        right.set(xlabel="PIT", ylabel="share below it, less PIT", xlim=(0, 1))
        right.set_title(f"KS {pit.ks:.3g}, p {pit.p_value:.2g}")
        figure.suptitle(title, fontsize=12)
