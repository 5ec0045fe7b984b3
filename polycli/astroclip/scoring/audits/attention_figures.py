"""Figures of attention: what a head looks at, as a strip along a spectrum and as an overlay on an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polycli.astroclip.data.cutouts.middle import first_of_middle
from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.scoring.audits.attention import Attended
from polycli.astroclip.scoring.audits.attribution import line_redshifts
from polycli.astroclip.scoring.audits.figures import SHOWN, image_panels
from polycli.astroclip.sources.mock.spectra import LINES
from polycli.report.figures import BLUE, drawing
from polycli.report.table import number


def draw_attended_spectra(file: Path, store: ObjectStore, found: Sequence[Attended]) -> None:
    """Each spectrum above a strip of the attention along its wavelengths; dotted: lines at the object's redshift."""
    shown = found[:SHOWN]
    redshifts = line_redshifts(store, np.array([one.row for one in shown]))
    with drawing(file, (9.0, 0.6 + 2.2 * len(shown))) as figure:
        axes = figure.subplots(2 * len(shown), 1, squeeze=False, height_ratios=[4, 1] * len(shown)).flatten()
        for index, one in enumerate(shown):
            line, strip = axes[2 * index], axes[2 * index + 1]
            flux = store.read_spectra([one.row])
            wavelength = np.zeros(0) if flux.wavelength is None else flux.wavelength[0]
            line.plot(wavelength, np.where(flux.mask[0], np.nan, flux.flux[0]), color=BLUE, linewidth=0.5)
            line.set(ylabel="flux", title=store.id_texts([one.row])[0], xticklabels=[])
            if one.wavelength is not None and one.weights.size:  # none of a spectrum shorter than a piece
                # Pieces overlap: each is drawn around its middle, halfway to the next ones.
                middles = one.wavelength.mean(axis=0)
                edges = np.concatenate(
                    [one.wavelength[0, :1], (middles[1:] + middles[:-1]) / 2, one.wavelength[1, -1:]]
                )
                strip.pcolormesh(edges, [0, 1], one.weights[None], cmap="viridis", vmin=0, rasterized=True)
            for axis in (line, strip):
                axis.set_xlim(wavelength[0], wavelength[-1])
                for rest in LINES if np.isfinite(redshifts[index]) else ():
                    if wavelength[0] < rest * (1 + redshifts[index]) < wavelength[-1]:
                        axis.axvline(rest * (1 + redshifts[index]), color="#999999", linewidth=0.6, linestyle=":")
            strip.set_yticks([])
        axes[-1].set_xlabel("wavelength [Angstrom]")
        figure.suptitle("Attention of the spectrum head; dotted: lines at the object's redshift", fontsize=12)


def draw_attended_images(file: Path, store: ObjectStore, found: Sequence[Attended]) -> None:
    """Each image (its middle band, stretched), and the same under the attention on its patches."""
    shown = found[:SHOWN]
    with image_panels(file, store, [one.row for one in shown], title="Attention of the image head") as panels:
        for one, (plane, below) in zip(shown, panels, strict=True):
            below.imshow(plane, origin="lower", cmap="gray")
            # Pixels have their middles at whole numbers, and the encoder sees the middle of the cutout.
            height, width = plane.shape
            size = one.size
            left, bottom = (first_of_middle(length, size) - 0.5 for length in (width, height))
            extent = (left, left + size, bottom, bottom + size)
            below.imshow(
                one.weights, origin="lower", cmap="viridis", vmin=0, alpha=0.6, extent=extent, interpolation="nearest"
            )
            below.set(xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))


def attended_sentence(store: ObjectStore, found: Sequence[Attended], *, kind: str) -> str:
    """Says under a picture what it shows, with the values of each object."""
    where = "pieces with a line" if kind == "spectrum" else "patches within two half-light radii"
    of = "of the wavelengths" if kind == "spectrum" else "of the patches"
    lacking = "on mean and deviation" if kind == "spectrum" else "on no patch"
    said = []
    for one in found[:SHOWN]:
        name = store.id_texts([one.row])[0]
        beside = f"{number(100 * one.elsewhere)} % {lacking}"
        if one.share is None or one.chance is None:
            said.append(f"{name}: {beside}")
        else:
            said.append(
                f"{name}: {number(100 * one.share)} % on {where}, which are {number(100 * one.chance)} % {of}; {beside}"
            )
    return f"Attention of the {kind} head, the mean over its parts. {'. '.join(said)}."
