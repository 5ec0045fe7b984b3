"""Figures of attribution: what moves an answer, over the spectrum or the image that it was of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.scoring.audits.attribution import STRETCH, Attributed
from polycli.report.figures import BLUE, ORANGE, drawing

#: Objects that are drawn.
_SHOWN = 4


def draw_spectra(file: Path, store: ObjectStore, found: Sequence[Attributed]) -> None:
    """One panel for each spectrum: its flux, how far each hidden stretch moves the answer, and where lines lie."""
    shown = found[:_SHOWN]
    with drawing(file, (9.0, 0.6 + 2.0 * len(shown))) as figure:
        axes = figure.subplots(len(shown), 1, squeeze=False).flatten()
        for axis, one in zip(axes, shown, strict=True):
            spectra = store.read_spectra([one.row])
            flux, wavelength = spectra.flux[0], spectra.wavelength
            if wavelength is None:
                raise TypeError("these spectra come without wavelengths")
            middles = wavelength[0, : len(one.moves) * STRETCH].reshape(-1, STRETCH).mean(axis=1)
            axis.plot(
                middles, flux[: len(middles) * STRETCH].reshape(-1, STRETCH).mean(axis=1), color=BLUE, linewidth=0.8
            )
            axis.set(ylabel="flux", title=store.id_texts([one.row])[0])
            bars = axis.twinx()
            bars.bar(middles, one.moves, width=0.8 * np.diff(middles).mean(), color=ORANGE, alpha=0.6)
            bars.set_ylabel("moves by")
            if one.expected is not None:
                for middle in middles[one.expected]:
                    axis.axvline(middle, color="#999999", linewidth=0.6, linestyle=":")
        axes[-1].set_xlabel("wavelength [Angstrom]")
        figure.suptitle("Attribution by hidden stretches; dotted: stretches with a line", fontsize=12)


def draw_images(file: Path, store: ObjectStore, found: Sequence[Attributed]) -> None:
    """Each image (its middle band, stretched) above how far each hidden patch moves the answer."""
    shown = found[:_SHOWN]
    with drawing(file, (0.8 + 2.2 * len(shown), 5.0)) as figure:
        axes = figure.subplots(2, len(shown), squeeze=False)
        for column, one in enumerate(shown):
            image = store.read_images([one.row])[0]
            axes[0, column].imshow(np.arcsinh(image[len(image) // 2] / 0.02), origin="lower", cmap="gray")
            axes[0, column].set_title(store.id_texts([one.row])[0], fontsize=8)
            axes[1, column].imshow(one.moves, origin="lower", cmap="viridis", vmin=0)
            for axis in axes[:, column]:
                axis.set_axis_off()
        figure.suptitle("Attribution by hidden patches", fontsize=12)
