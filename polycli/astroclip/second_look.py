"""The same object seen again: other noise, another orientation. What in-modal retrieval searches with.

An image is turned by 180 degrees and gets noise as strong as what it has, measured at its borders; a spectrum gets
noise as strong as its inverse variance says. Both are a function of the seed and the object's row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.store import Spectra

#: Pixels along each border from which the noise of a cutout is measured.
_BORDER = 8


def another_image(images: NDArray[np.float32], rows: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """(n, bands, H, W) in nanomaggies."""
    turned = images[:, :, ::-1, ::-1].copy()
    for place, row in enumerate(rows.tolist()):
        noise = np.random.default_rng([seed, row]).standard_normal(turned[place].shape, dtype=np.float32)
        turned[place] += noise * _noise(turned[place])[:, None, None]
    return turned


def another_spectrum(spectra: Spectra, rows: NDArray[np.int64], seed: int) -> Spectra:
    """Flux with more noise; the inverse variance says so too."""
    deviation = np.where(spectra.ivar > 0, 1 / np.sqrt(np.where(spectra.ivar > 0, spectra.ivar, 1)), 0)
    flux = spectra.flux.copy()
    for place, row in enumerate(rows.tolist()):
        noise = np.random.default_rng([seed, row]).standard_normal(flux.shape[1], dtype=np.float32)
        flux[place] += noise * deviation[place]
    return Spectra(flux, spectra.ivar / np.float32(2), spectra.mask)


def _noise(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """(bands,) standard deviation of the background, from the median absolute deviation at the borders."""
    border = np.ones(image.shape[-2:], bool)
    border[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    pixels = image[:, border]
    centre = np.median(pixels, axis=1, keepdims=True)
    return (1.4826 * np.median(np.abs(pixels - centre), axis=1)).astype(np.float32)  # type: ignore[no-any-return]
