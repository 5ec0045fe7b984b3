"""Shows the model each object again, with other noise and in another orientation, for retrieval within a modality.

An image is turned by 180 degrees and gets noise as strong as what it has, measured at its borders; a spectrum gets
noise as strong as its inverse variance says. Both are a function of the seed and the object's row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from polycli.astroclip.data.augmentations import noisier_spectra
from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.data.store import Spectra

#: Pixels along each border from which the noise of a cutout is measured.
_BORDER = 8


def another_image(images: NDArray[np.float32], rows: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """(n, bands, H, W) in nanomaggies."""
    turned = images[:, :, ::-1, ::-1].copy()
    for index, row in enumerate(rows.tolist()):
        noise = np.random.default_rng([seed, row]).standard_normal(turned[index].shape, dtype=np.float32)
        turned[index] += noise * _noise(turned[index])[:, None, None]
    return turned


def another_spectrum(spectra: Spectra, rows: NDArray[np.int64], seed: int) -> Spectra:
    """Flux with as much noise again; the inverse variance says so too."""
    keys = keys_of(seed, torch.from_numpy(rows))
    flux, ivar = noisier_spectra(torch.from_numpy(spectra.flux), torch.from_numpy(spectra.ivar), keys, 1.0)
    return replace(spectra, flux=flux.numpy(), ivar=ivar.numpy())


def _noise(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """(bands,) standard deviation of the background, from the median absolute deviation at the borders."""
    border = np.ones(image.shape[-2:], bool)
    border[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    pixels = image[:, border]
    centre = np.median(pixels, axis=1, keepdims=True)
    return (1.4826 * np.median(np.abs(pixels - centre), axis=1)).astype(np.float32)  # type: ignore[no-any-return]
