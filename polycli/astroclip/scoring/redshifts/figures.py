"""Draws learned templates over rest wavelengths, with the lines of galaxies marked."""

from __future__ import annotations

from pathlib import Path

from polycli.astroclip.scoring.redshifts.templates import Curves
from polycli.report.figures import BLUE, ORANGE, drawing

#: Lines that galaxies commonly show, Angstrom in vacuum; the hydrogen lines are seen in emission and absorption.
LINES = {
    "[O II]": 3728.5,
    "K": 3934.8,
    "H": 3969.6,
    "H\N{GREEK SMALL LETTER DELTA}": 4102.9,
    "G": 4305.6,
    "H\N{GREEK SMALL LETTER GAMMA}": 4341.7,
    "H\N{GREEK SMALL LETTER BETA}": 4862.7,
    "[O III]": 5008.2,
    "Mg b": 5176.6,
    "Na D": 5895.6,
    "H\N{GREEK SMALL LETTER ALPHA}": 6564.6,
    "[S II]": 6725.5,
    "Ca II": 8544.4,
}


def draw_templates(file: Path, curves: Curves, *, title: str) -> None:
    """Draws the mean template, and below it what spectra differ by most."""
    panels = [("mean", curves.mean), *((f"difference {place}", curve) for place, curve in enumerate(curves.main, 1))]
    low, high = float(curves.wavelength[0]), float(curves.wavelength[-1])
    with drawing(file, (9.0, 1.1 + 1.6 * len(panels))) as figure:
        axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True).flatten()
        for axis, (name, curve) in zip(axes, panels, strict=True):
            for line in LINES.values():
                if low < line < high:
                    axis.axvline(line, color=ORANGE, linewidth=0.8, linestyle=":")
            axis.axhline(0, color="#999999", linewidth=0.6)
            axis.plot(curves.wavelength, curve, color=BLUE, linewidth=1.0)
            axis.set(xlim=(low, high), ylabel=name)
        for height, (name, line) in enumerate((name, line) for name, line in LINES.items() if low < line < high):
            # At three heights in turn, since some lines are neighbours.
            axes[0].annotate(
                name,
                (line, 1.0 + 0.09 * (height % 3)),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="bottom",
                fontsize=7,
                color=ORANGE,
            )
        axes[-1].set_xlabel("rest wavelength [Å]")
        figure.suptitle(title, fontsize=12)
