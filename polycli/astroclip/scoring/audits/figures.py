"""Figures of attribution: what moves an answer, over the spectrum or the image that it was of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.scoring.audits.attribution import Attributed, stretch_of
from polycli.report.figures import BLUE, ORANGE, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Objects that are drawn.
SHOWN = 4


def draw_spectra(file: Path, store: ObjectStore, found: Sequence[Attributed]) -> None:
    """One panel for each spectrum: its flux, how far each hidden stretch moves the answer, and where lines lie."""
    shown = found[:SHOWN]
    with drawing(file, (9.0, 0.6 + 2.0 * len(shown))) as figure:
        axes = figure.subplots(len(shown), 1, squeeze=False).flatten()
        for axis, one in zip(axes, shown, strict=True):
            spectra = store.read_spectra([one.row])
            flux, wavelength = spectra.flux[0], spectra.wavelength
            if wavelength is None:
                raise TypeError("these spectra come without wavelengths")
            stretch = stretch_of(len(flux))
            middles = wavelength[0, : len(one.moves) * stretch].reshape(-1, stretch).mean(axis=1)
            axis.plot(
                middles, flux[: len(middles) * stretch].reshape(-1, stretch).mean(axis=1), color=BLUE, linewidth=0.8
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
    shown = found[:SHOWN]
    with image_panels(file, store, [one.row for one in shown], title="Attribution by hidden patches") as panels:
        for one, (_, below) in zip(shown, panels, strict=True):
            below.imshow(one.moves, origin="lower", cmap="viridis", vmin=0)


@contextmanager
def image_panels(
    file: Path, store: ObjectStore, rows: Sequence[int], *, title: str
) -> Iterator[list[tuple[NDArray[np.float32], Axes]]]:
    """A figure of some images (the middle band, stretched): what is shown of each, and the empty axes below it."""
    with drawing(file, (0.8 + 2.2 * len(rows), 5.0)) as figure:
        panels = []
        for row, (above, below) in zip(rows, figure.subplots(2, len(rows), squeeze=False).T, strict=True):
            image = store.read_images([row])[0]
            plane = np.arcsinh(image[len(image) // 2] / 0.02)
            above.imshow(plane, origin="lower", cmap="gray")
            above.set_title(store.id_texts([row])[0], fontsize=8)
            for axis in (above, below):
                axis.set_axis_off()
            panels.append((plane, below))
        yield panels
        figure.suptitle(title, fontsize=12)
