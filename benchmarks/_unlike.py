"""Objects of kinds that training never saw, made of galaxies that test, and what simple statistics see of any object.

Each kind keeps what does not make it one: a star has the flux, the seeing and the noise of the galaxy that it stands
for, a spectrum of a star its median flux and inverse variances, so that nothing else gives it away.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from polycli.astroclip.data.store import ObjectStore, Spectra

Floats = NDArray[np.float64]
Images = NDArray[np.float32]
#: Lines of hot stars and of cool ones, in Angstrom, in vacuum.
_HYDROGEN = (3890.1, 3971.2, 4102.9, 4341.7, 4862.7, 6564.6)
_METALS = (3934.8, 3969.6, 4227.9, 4305.6, 5176.6, 5271.0, 5895.6, 8500.4, 8544.4, 8664.5)
#: Where DESI's cameras meet, in Angstrom.
_CAMERAS = (5780.0, 7570.0)
_NOISIER = 3.0
_WINDOWS = 16
#: Pixels of 0.8 A.
_SMOOTHED = 3


def images_of(store: ObjectStore, rows: NDArray[np.int64]) -> dict[str, Images]:
    """(n, 3, y, x) by kind, in the place of these galaxies."""
    images = store.read_images(rows).astype(np.float32)
    psf, noise = (
        np.stack([store.target(f"{name}_{band}", rows) for band in "grz"], axis=1) for name in ("psf_fwhm", "noise")
    )
    return {
        "stars": _stars(images, psf / store.about.image.pixel_scale_arcsec / 2.3548, noise),  # type: ignore[union-attr]
        "trails and empty pixels": _artefacts(images),
        "two galaxies": images + np.roll(np.roll(images, 1, axis=0), (6, 6), axis=(2, 3)),
        "three times the noise": images + _more(noise[:, :, None, None], images.shape),
    }


def spectra_of(store: ObjectStore, rows: NDArray[np.int64]) -> dict[str, Spectra]:
    """Flux, inverse variance and mask by kind, in the place of these galaxies."""
    spectra, grid = store.read_spectra(rows), np.asarray(store.wavelength, np.float64)
    flux, ivar, mask = spectra
    sigma = np.where(ivar > 0, 1 / np.sqrt(np.where(ivar > 0, ivar, 1)), 0)
    response = _response(len(rows), grid)
    # The light of the other one without its noise, which a second galaxy in the fibre does not bring along.
    other = gaussian_filter1d(np.roll(np.where(mask, 0, flux), 1, axis=0), _SMOOTHED, axis=1)
    return {
        "stars": _as(_star_light(flux, mask, grid) + sigma * _drawn(flux.shape), ivar, mask),
        "wrong calibration": _as(flux * response, ivar / response**2, mask),
        "two galaxies": _as(flux + other, ivar, mask),
        "three times the noise": _as(flux + _more(sigma, flux.shape), ivar, mask),
    }


def image_statistics(images: Images) -> Floats:
    """(n, 30): flux, concentration, size, asymmetry, sky and noise of each band, by pixels alone."""
    size = images.shape[2]
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    radius, exact = np.hypot(x, y), images.astype(np.float64)
    border = radius > size / 2
    sky, whole = exact[:, :, border].mean(axis=2), exact[:, :, radius < size / 3].sum(axis=2)
    scale = np.maximum(np.abs(whole), 1e-3)
    inner = [exact[:, :, radius < limit].sum(axis=2) / scale for limit in (2, 4, 8)]
    second = (np.abs(exact) * radius**2 * (radius < size / 3)).sum(axis=(2, 3)) / scale
    turned = np.abs(exact - exact[:, :, ::-1, ::-1]).sum(axis=(2, 3)) / scale
    steps = np.median(np.abs(np.diff(exact, axis=3)), axis=(2, 3))
    largest = exact.max(axis=(2, 3)) / scale
    across = np.arcsinh(exact.sum(axis=2).max(axis=2) / scale)
    made = (np.arcsinh(whole / 0.1), *inner, np.log(second + 1e-3), np.log(turned + 1e-6), sky, largest, across)
    return np.concatenate([*made, np.log(steps + 1e-6)], axis=1)


def spectrum_statistics(spectra: Spectra) -> Floats:
    """(n, 23): level, shape in windows, and scatter and peaks in each third beside the noise, by pixels alone.

    Not the noise itself, which nearly all spectra of the mock have alike, and which would give away what scales it.
    """
    flux, ivar, mask = spectra
    used = (mask == 0) & (ivar > 0)
    level = np.maximum(np.abs(np.median(np.where(used, flux, 0), axis=1)), 1e-2)
    parts = np.array_split(np.arange(flux.shape[1]), _WINDOWS)
    shape = [np.arcsinh(np.where(used, flux, 0)[:, part].mean(axis=1) / level) for part in parts]
    deviation = np.where(used, flux * np.sqrt(ivar), 0)
    seen: list[Floats] = []
    for part in np.array_split(np.arange(flux.shape[1]), 3):
        some = deviation[:, part]
        scatter = np.median(np.abs(np.diff(some, axis=1)), axis=1)
        seen += [np.log(scatter + 1e-3), np.arcsinh(np.quantile(some, 0.999, axis=1))]
    return np.stack([*shape, *seen, np.log(level)], axis=1)


def _drawn(shape: tuple[int, ...], seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape)


def _more(noise: Floats, shape: tuple[int, ...]) -> Images:
    return (np.sqrt(_NOISIER**2 - 1) * noise * _drawn(shape)).astype(np.float32)


def _as(flux: Floats, ivar: Floats, mask: NDArray[np.bool_]) -> Spectra:
    return Spectra(flux.astype(np.float32), ivar.astype(np.float32), mask)


def _stars(images: Images, psf: Floats, noise: Floats) -> Images:
    generator, size = np.random.default_rng(1), images.shape[2]
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    red = np.maximum(images[:, 1].sum(axis=(1, 2)), 1)
    blue, infrared = (generator.normal(*colour, len(images)) for colour in ((0.6, 0.25), (0.4, 0.2)))
    flux = red[:, None] * np.stack([10 ** (-0.4 * blue), np.ones_like(red), 10 ** (0.4 * infrared)], axis=1)
    width = psf[:, :, None, None]
    light = flux[:, :, None, None] * np.exp(-(x**2 + y**2) / (2 * width**2)) / (2 * np.pi * width**2)
    return (light + noise[:, :, None, None] * _drawn(images.shape)).astype(np.float32)


def _artefacts(images: Images) -> Images:
    generator, changed, size = np.random.default_rng(2), images.copy(), images.shape[2]
    for image in changed:
        image[:, :, int(generator.integers(size))] += 5
        image[int(generator.integers(3)), : size // 3] = 0
    return changed


def _star_light(flux: Floats, mask: NDArray[np.bool_], grid: Floats) -> Floats:
    generator = np.random.default_rng(3)
    light = np.empty(flux.shape)
    for place in range(len(flux)):
        temperature = 10 ** generator.uniform(3.55, 4.1)
        made = grid**-5 / np.expm1(1.4388e8 / (grid * temperature))
        for centre in _HYDROGEN if temperature > 7000 else _METALS:
            width = 8.0 if temperature > 7000 else 3.0
            made *= 1 - generator.uniform(0.2, 0.6) * np.exp(-0.5 * ((grid - centre) / width) ** 2)
        level = np.median(flux[place][~mask[place]])
        light[place] = made / np.median(made) * max(float(level), 0.1)
    return light


def _response(count: int, grid: Floats) -> Floats:
    """(n, pixels): each camera on a scale of its own, and a tilt over all."""
    generator = np.random.default_rng(4)
    cameras = np.searchsorted(_CAMERAS, grid)
    tilt = generator.normal(0, 0.5, (count, 1)) * np.log(grid / grid[len(grid) // 2])
    return np.exp(generator.normal(0, 0.3, (count, 3))[:, cameras] + tilt)


#: Statistics of either modality.
STATISTICS: dict[str, Callable[..., Floats]] = {"image": image_statistics, "spectrum": spectrum_statistics}
