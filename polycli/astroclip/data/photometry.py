"""Measures magnitudes, colours and shapes on the pixels of cutouts, without any learning.

The baselines of an image encoder: a few numbers by hand, from moments around the middle of the cutout, where the object
is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Radii in pixels of the apertures.
APERTURES = (4.0, 10.0, 24.0)
#: Softening of magnitudes, in nanomaggies: about the noise of a cutout's flux (Lupton, Gunn and Szalay 1999).
SOFTENING = 0.1


def photometry(images: NDArray[np.float32]) -> Floats:
    """Asinh magnitudes in the largest aperture and their differences from band to band: (n, 2 bands - 1).

    Args:
        images: (n, bands, H, W) in nanomaggies.
    """
    return with_colours(asinh_magnitudes(_apertures(images)[-1]))


def with_colours(magnitudes: Floats) -> Floats:
    """(n, bands) magnitudes, and behind them their differences from band to band."""
    return np.concatenate([magnitudes, magnitudes[:, :-1] - magnitudes[:, 1:]], axis=1)


def asinh_magnitudes(flux: Floats) -> Floats:
    """Converts nanomaggies to magnitudes that are finite for a flux that is zero or negative too."""
    return np.asarray(22.5 - 2.5 / np.log(10) * (np.arcsinh(flux / (2 * SOFTENING)) + np.log(SOFTENING)))


def image_features(images: NDArray[np.float32]) -> Floats:
    """Photometry, concentration in every band, and size, axis ratio and asymmetry of the sum of all bands.

    Args:
        images: (n, bands, H, W) in nanomaggies.
    """
    fluxes = [asinh_magnitudes(flux) for flux in _apertures(images)]
    concentration = np.concatenate([fluxes[0] - fluxes[1], fluxes[1] - fluxes[2]], axis=1)
    return np.concatenate([photometry(images), concentration, _shape(images.sum(axis=1).astype(np.float64))], axis=1)


def _apertures(images: NDArray[np.float32]) -> list[Floats]:
    """Flux within each aperture: three of (n, bands)."""
    distance = np.hypot(*_axes(images.shape[-2:]))
    return [images[..., distance <= radius].sum(axis=-1, dtype=np.float64) for radius in APERTURES]


def _shape(image: Floats) -> Floats:
    """Root mean square size in pixels, axis ratio, asymmetry under a turn by 180 degrees: (n, 3)."""
    y, x = _axes(image.shape[-2:])
    inside = np.hypot(y, x) <= APERTURES[-1]
    weight = np.where(inside, np.maximum(image, 0), 0)
    total = np.maximum(weight.sum(axis=(1, 2)), 1e-9)
    xx, yy, xy = ((weight * moment).sum(axis=(1, 2)) / total for moment in (x * x, y * y, x * y))
    middle, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    size = np.sqrt(middle)
    axis_ratio = np.sqrt(np.maximum(middle - spread, 0) / np.maximum(middle + spread, 1e-9))
    turned = np.abs(image - image[:, ::-1, ::-1])
    asymmetry = np.where(inside, turned, 0).sum(axis=(1, 2)) / total
    return np.stack([size, axis_ratio, asymmetry], axis=1)


def _axes(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Distances in pixels from the middle of the cutout: (H, 1) and (1, W)."""
    y, x = (np.arange(length, dtype=np.float64) - (length - 1) / 2 for length in shape)
    return y[:, None], x[None, :]
