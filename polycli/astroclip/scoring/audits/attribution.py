"""Attribution by occlusion: how far an answer moves where a stretch of a spectrum, or a patch of an image, is hidden.

A stretch becomes a straight line between the means beside it, a patch the median of the cutout's border. The answer is
a ridge regression's on the vectors. Where lines lie at the object's redshift is known, so that it can be said how much
of the attribution falls on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.cutouts.middle import first_of_middle
from polycli.astroclip.data.store import ObjectStore, Spectra
from polycli.astroclip.scoring.audits.records import AttributionScores
from polycli.astroclip.scoring.encode import Readable, Values, Vectors
from polycli.astroclip.sources.mock.cosmology import MAX_REDSHIFT, kpc_per_arcsec
from polycli.astroclip.sources.mock.spectra import LINES
from polycli.report.bootstrap import Bootstrap

Floats = NDArray[np.float64]
#: Pixels of a hidden stretch, fewest stretches of a spectrum, patches along a side of an image, pixels of its border.
STRETCH, _FEWEST, PATCHES, _BORDER = 64, 8, 8, 4
#: Half-light radii within which a patch is the galaxy's.
_RADII = 2.0


class Encodes(Protocol):
    """An encoder of values that were read from a store."""

    store: Readable
    batch_size: int

    def encode(self, values: Values, /) -> Vectors:
        """Returns (n, d) vectors."""
        ...


@dataclass(frozen=True)
class Attributed:
    """The attribution of one object."""

    row: int
    #: (stretches,) of a spectrum, or (patches, patches) of an image: how far the answer moves.
    moves: Floats
    #: The same shape: whether a line lies in the stretch, or the patch is the galaxy's; None where nobody knows.
    expected: NDArray[np.bool_] | None


def ridge_answer(vectors: Floats, target: Floats) -> Callable[[Vectors], Floats]:
    """Returns the function from vectors to the target, learnt from training objects."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    line = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-3, 6, 19))).fit(vectors, target)
    return lambda asked: np.asarray(line.predict(asked.astype(np.float64)), np.float64)


def of_spectrum(encoder: Encodes, row: int, answer: Callable[[Vectors], Floats], redshift: float) -> Attributed:
    """Attribution of one spectrum; lines are expected where the redshift puts them."""
    store = encoder.store
    spectra = store.read_spectra(np.array([row]))
    hidden = hidden_stretches(spectra.flux[0])
    count = len(hidden)
    repeated = replace(spectra.take(np.zeros(count, np.int64)), flux=hidden)
    moves = _moves(encoder, spectra, repeated, answer)
    expected = None
    if isinstance(store, ObjectStore) and spectra.wavelength is not None and np.isfinite(redshift):
        expected = stretches_with_lines(spectra.wavelength[0], redshift)
    return Attributed(row, moves, expected)


def of_image(encoder: Encodes, row: int, answer: Callable[[Vectors], Floats], size: int) -> Attributed:
    """Attribution of the middle `size` pixels of one image; a galaxy of a simulation is expected within two radii."""
    store = encoder.store
    image = store.read_images(np.array([row]))
    moves = _moves(encoder, image, hidden_patches(image[0], size), answer)
    return Attributed(row, moves.reshape(PATCHES, PATCHES), on_galaxy(store, row, size))


def stretch_of(pixels: int) -> int:
    """The pixels of a hidden stretch of a spectrum of so many pixels: fewer of a short one.

    >>> stretch_of(7781), stretch_of(50)
    (64, 6)
    """
    return max(1, min(STRETCH, pixels // _FEWEST))


def hidden_stretches(flux: NDArray[np.float32]) -> NDArray[np.float32]:
    """(stretches, wavelength) a spectrum (wavelength,) with one stretch after the other made a straight line."""
    stretch = stretch_of(len(flux))
    beside = max(1, stretch // 2)
    starts = range(0, len(flux) - stretch + 1, stretch)
    hidden = np.repeat(flux[None], len(starts), axis=0)
    for index, start in enumerate(starts):
        stop = start + stretch
        sides = [flux[max(0, start - beside) : start], flux[stop : stop + beside]]
        ends = [float(side.mean()) for side in sides if len(side)]
        hidden[index, start:stop] = np.linspace(ends[0], ends[-1], stretch)
    return hidden


def hidden_patches(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """(patches, bands, y, x) an image with one patch of its middle `size` pixels after the other made background."""
    border = np.ones(image.shape[-2:], bool)
    border[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    background = np.median(image[:, border], axis=1)[:, None, None]
    hidden = np.repeat(image[None], PATCHES**2, axis=0)
    rows, columns = (_edges(length, size) for length in image.shape[-2:])
    for index in range(PATCHES**2):
        y, x = divmod(index, PATCHES)
        hidden[index, :, rows[y] : rows[y + 1], columns[x] : columns[x + 1]] = background
    return hidden


def stretches_with_lines(wavelength: Floats, redshift: float) -> NDArray[np.bool_]:
    """(stretches,) whether one of the strong lines of galaxies lies in each."""
    stretch = stretch_of(len(wavelength))
    count = len(wavelength) // stretch
    pixels = np.searchsorted(wavelength, np.array(LINES) * (1 + redshift))
    inside = pixels[(pixels > 0) & (pixels < count * stretch)]
    found = np.zeros(count, np.bool_)
    found[inside // stretch] = True
    return found


def line_redshifts(store: ObjectStore, rows: NDArray[np.int64]) -> Floats:
    """(n,) by how much the lines of objects are shifted: their redshifts, or 0 where spectra are in the rest frame."""
    spectrum, redshifts = store.about.spectrum, store.target("redshift", rows)
    return np.zeros(len(rows)) if spectrum is not None and spectrum.frame == "rest" else redshifts


def attribution_scores(found: list[Attributed], bootstrap: Bootstrap) -> AttributionScores | None:
    """The share of attribution that falls where it is expected; None where nobody knows where."""
    known = [(one.moves, one.expected) for one in found if one.expected is not None and one.moves.sum() > 0]
    if not known:
        return None
    within = np.array([moves[expected].sum() / moves.sum() for moves, expected in known])
    return AttributionScores(
        objects=len(known),
        share=float(within.mean()),
        interval=bootstrap.mean(within).tolist(),
        chance=float(np.mean([expected.mean() for _, expected in known])),
    )


def scored(found: Mapping[str, list[Attributed]], bootstrap: Bootstrap) -> dict[str, AttributionScores]:
    """Scores by modality, where there are any."""
    scores = {name: attribution_scores(objects, bootstrap) for name, objects in found.items()}
    return {name: score for name, score in scores.items() if score is not None}


def _moves(encoder: Encodes, whole: Values, hidden: Values, answer: Callable[[Vectors], Floats]) -> Floats:
    before = answer(encoder.encode(whole))
    count = len(hidden.flux) if isinstance(hidden, Spectra) else len(hidden)
    parts = []
    for start in range(0, count, encoder.batch_size):
        some = slice(start, start + encoder.batch_size)
        if isinstance(hidden, Spectra):
            batch: Values = hidden.take(np.arange(count)[some])
        else:
            batch = hidden[some]
        parts.append(answer(encoder.encode(batch)))
    return np.abs(np.concatenate(parts) - before)


def _edges(length: int, size: int, patches: int = PATCHES) -> NDArray[np.int64]:
    """(patches + 1,) the edges of patches of the middle `size` of so many pixels."""
    size = min(size, length)
    return first_of_middle(length, size) + np.arange(patches + 1) * size // patches


def on_galaxy(store: Readable, row: int, size: int, *, patches: int = PATCHES) -> NDArray[np.bool_] | None:
    """(patches, patches) whether a patch's middle is within two half-light radii; None where no radius is known."""
    if not isinstance(store, ObjectStore) or store.about.image is None or "radius" not in store.columns:
        return None
    radius, redshift = (float(store.target(name, [row])[0]) for name in ("radius", "redshift"))
    if store.unit("radius") != "kpc" or not np.isfinite(radius) or not 0 < redshift <= MAX_REDSHIFT:
        return None
    scale = float(kpc_per_arcsec(np.array([redshift]))[0]) * store.about.image.pixel_scale_arcsec
    lengths = store.about.image.size
    edges = [_edges(n, size, patches) for n in lengths]
    middles = [(ends[1:] + ends[:-1] - n) / 2 for n, ends in zip(lengths, edges, strict=True)]
    patch = min(size, *lengths) / patches
    return np.asarray(np.hypot(middles[0][:, None], middles[1]) <= max(_RADII * radius / scale, patch))
