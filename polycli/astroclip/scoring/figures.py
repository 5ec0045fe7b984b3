"""Figures of an AstroCLIP evaluation: galleries, predicted against true, maps of vectors, reconstructed spectra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import Spectra
from polycli.report.figures import BLUE, ORANGE, drawing

Floats = NDArray[np.float64]
#: Pixels of a spectrum that are averaged for a picture of thumbnail size.
_SMOOTHING = 16


def against_truth(file: Path, *, title: str, unit: str, truth: Floats, predicted: Sequence[tuple[str, Floats]]) -> None:
    """Predicted against true values, and their differences below, one column for each input."""
    columns = len(predicted)
    label = f" [{unit}]" if unit else ""
    with drawing(file, (0.8 + 3.1 * columns, 4.6)) as figure:
        axes = figure.subplots(2, columns, squeeze=False, sharex=True, height_ratios=(3, 1))
        low, high = (float(value) for value in np.quantile(truth, (0.002, 0.998)))
        for column, (name, values) in enumerate(predicted):
            upper, lower = axes[0, column], axes[1, column]
            upper.plot(truth, values, ".", color=BLUE, markersize=2, alpha=0.5, rasterized=True)
            upper.plot([low, high], [low, high], color=ORANGE, linewidth=1.2)
            upper.set(title=name, xlim=(low, high), ylim=(low, high))
            lower.plot(truth, values - truth, ".", color=BLUE, markersize=2, alpha=0.5, rasterized=True)
            lower.axhline(0, color=ORANGE, linewidth=1.2)
            reach = float(np.quantile(np.abs(values - truth), 0.99)) or 1.0
            lower.set(ylim=(-reach, reach), xlabel=f"true{label}")
            if column == 0:
                upper.set_ylabel(f"predicted{label}")
                lower.set_ylabel("difference")
        figure.suptitle(title, fontsize=12)


def maps(file: Path, *, title: str, places: Floats, colours: Sequence[tuple[str, Floats]]) -> None:
    """Points (n, 2) coloured by one quantity after the other; unknown values are left out."""
    columns = min(3, len(colours))
    rows = -(-len(colours) // columns)
    with drawing(file, (3.6 * columns, 0.5 + 3.2 * rows)) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for axis, (name, values) in zip(axes, colours, strict=False):
            known = np.isfinite(values)
            low, high = np.quantile(values[known], (0.02, 0.98)) if known.any() else (0.0, 1.0)
            dots = axis.scatter(
                *places[known].T, c=values[known], s=4, vmin=low, vmax=high, cmap="viridis", linewidths=0
            )
            axis.set(title=name, xticks=[], yticks=[])
            figure.colorbar(dots, ax=axis)
        for axis in axes[len(colours) :]:
            axis.set_visible(False)
        figure.suptitle(title, fontsize=12)


def gallery(
    file: Path,
    *,
    title: str,
    pictures: Sequence[Sequence[tuple[str, str, NDArray[np.float32] | None, Spectra | None]]],
) -> None:
    """One row for each query: the query and what was found, each as image (H, W, 3) over spectrum.

    Of the two texts of each, the caption stands above it and its values stand below.
    """
    columns = max(len(row) for row in pictures)
    both = 2 if pictures[0][0][3] is not None and pictures[0][0][2] is not None else 1
    with drawing(file, (1.9 * columns, 0.6 + (1.95 + 0.7 * both) * len(pictures))) as figure:
        axes = figure.subplots(
            both * len(pictures), columns, squeeze=False, height_ratios=(3, 1.4)[:both] * len(pictures)
        )
        for row, shown in enumerate(pictures):
            for column, (caption, values, image, spectra) in enumerate(shown):
                place = both * row
                if image is not None:
                    axes[place, column].imshow(np.clip(image, 0, 1), origin="lower", interpolation="nearest")
                    axes[place, column].set(xticks=[], yticks=[])
                    axes[place, column].spines[:].set_visible(False)
                if spectra is not None and spectra.wavelength is not None:
                    axis = axes[place + both - 1, column]
                    axis.plot(_smooth(spectra.wavelength[0]), _smooth(spectra.flux[0]), color=BLUE, linewidth=0.6)
                    axis.set(xticks=[], yticks=[])
                colour = ORANGE if caption.endswith("*") or column == 0 else "#000000"
                axes[place, column].set_title(caption, fontsize=8, color=colour)
                axes[place + both - 1, column].set_xlabel(values, fontsize=7)
            for column in range(len(shown), columns):
                for part in range(both):
                    axes[both * row + part, column].set_visible(False)
        figure.suptitle(title, fontsize=12)


def reconstructions(file: Path, *, title: str, panels: Sequence[tuple[str, Floats, Floats, NDArray[np.bool_]]]) -> None:
    """True and reconstructed pixel values in token order, the hidden stretches shaded: one panel for each spectrum."""
    with drawing(file, (9.0, 0.6 + 2.0 * len(panels))) as figure:
        axes = figure.subplots(len(panels), 1, squeeze=False).flatten()
        for axis, (name, truth, guess, hidden) in zip(axes, panels, strict=True):
            axis.plot(truth, color="#999999", linewidth=0.7, label="spectrum")
            axis.plot(np.where(hidden, guess, np.nan), color=ORANGE, linewidth=1.0, label="reconstructed")
            low, high = np.quantile(truth, (0.002, 0.998))
            axis.fill_between(
                np.arange(len(truth)), low, high, where=hidden.tolist(), color=BLUE, alpha=0.12, linewidth=0
            )
            axis.set(title=name, ylim=(low, high), xlim=(0, len(truth)), ylabel="standardised flux")
        axes[0].legend(loc="upper right", frameon=False)
        axes[-1].set_xlabel("pixel")
        figure.suptitle(title, fontsize=12)


def _smooth(values: NDArray[np.float32] | Floats) -> Floats:
    whole = len(values) // _SMOOTHING * _SMOOTHING
    return np.asarray(values[:whole].reshape(-1, _SMOOTHING).mean(axis=1), np.float64)
