"""Spectra and images on another grid than their source's, where a recipe asks for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.description import SpectrumDescription
from polycli.astroclip.data.source import Listing
from polycli.astroclip.recipe.preparing import ResampleSection
from polycli.errors import SourceError

#: Part of a new grid that the old one must reach: of less, most pixels of every object would be masked.
_REACHED = 0.5
#: A pixel of the new grid of which less than this part was measured is masked.
_COVERED = 0.5


def target_grid(
    listings: Sequence[Listing], section: ResampleSection
) -> tuple[SpectrumDescription | None, NDArray[np.float64] | None]:
    """The wavelengths of the store, and what they are: the source's, or the recipe's; None where each has its own.

    Raises:
        SourceError: the recipe's grid does not overlap with the source's.
    """
    listing = next((listing for listing in listings if listing.spectrum is not None), None)
    if listing is None or listing.spectrum is None:
        return None, None
    if listing.wavelength is None:  # each spectrum has its own
        return listing.spectrum, None
    wanted = recipe_grid(section)
    if wanted is None:
        return listing.spectrum, listing.wavelength
    refuse_without_overlap(listing.wavelength, wanted, what=listing.source)
    about = listing.spectrum.model_copy(
        update={"pixels": wanted.size, "first": float(wanted[0]), "last": float(wanted[-1]), "step": section.step}
    )
    return about, wanted


def recipe_grid(section: ResampleSection) -> NDArray[np.float64] | None:
    """The grid that a recipe names: first, first + step, ... up to last."""
    if section.first is None or section.last is None or section.step is None:
        return None
    count = int(np.floor((section.last - section.first) / section.step + 1e-6)) + 1
    grid: NDArray[np.float64] = section.first + section.step * np.arange(count, dtype=np.float64)
    return grid


def refuse_without_overlap(given: NDArray[np.float64], wanted: NDArray[np.float64], *, what: str) -> None:
    """Make sure that wavelengths reach at least half of the grid that is asked for.

    Raises:
        SourceError: they share none with it, or less than half.
    """
    reached = min(given[-1], wanted[-1]) - max(given[0], wanted[0])
    share = reached / (wanted[-1] - wanted[0])
    if reached >= 0 and share >= _REACHED:
        return
    found = f"{given[0]:g} to {given[-1]:g} A were found, {wanted[0]:g} to {wanted[-1]:g} A are asked for"
    hint = "wavelengths are in Angstrom; look at the unit of the file, or at resample in the recipe"
    if reached < 0:
        raise SourceError(f"{what}: the wavelengths do not overlap: {found}", hint=hint)
    raise SourceError(
        f"{what}: the wavelengths overlap with {share:.0%} of the grid alone: {found}; half of it was expected",
        hint=hint,
    )


def describe_grid(wavelength: NDArray[np.float64], *, what: str) -> SpectrumDescription:
    """Describes a wavelength grid as a store does.

    Raises:
        SourceError: it does not rise, is not finite, or is no vector.
    """
    if wavelength.ndim != 1 or wavelength.size < 2:
        raise SourceError(f"{what}: wavelengths are {wavelength.shape}, one vector was expected")
    steps = np.diff(wavelength)
    if not np.isfinite(wavelength).all() or (steps <= 0).any():
        raise SourceError(f"{what}: wavelengths must be finite and rise from pixel to pixel")
    even = np.allclose(steps, steps.mean(), rtol=1e-4)
    return SpectrumDescription(
        pixels=wavelength.size,
        first=float(wavelength[0]),
        last=float(wavelength[-1]),
        step=float((wavelength[-1] - wavelength[0]) / (wavelength.size - 1)) if even else None,
    )


def resample_spectra(
    flux: NDArray[np.float32],
    ivar: NDArray[np.float32],
    mask: NDArray[np.bool_],
    found: NDArray[np.float64],
    wanted: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """(n, new) flux density, inverse variance and mask on another grid, each new pixel the mean over its width.

    Flux is conserved: means are weighted by the overlap of old and new pixels, which is a matrix with few entries in
    each row. Variances are those of the means for independent pixels. Masked pixels do not enter.
    """
    weights = _overlap(_edges(found), _edges(wanted))
    used = (~mask & (ivar > 0)).astype(np.float64)
    covered = used @ weights
    total = (np.where(used > 0, flux, 0).astype(np.float64)) @ weights
    variance = np.divide(1.0, ivar, out=np.zeros(ivar.shape), where=used > 0) @ weights.power(2)
    width = np.diff(_edges(wanted))
    good = covered > _COVERED * width
    mean = np.divide(total, covered, out=np.zeros_like(total), where=good)
    weight = np.divide(covered**2, variance, out=np.zeros_like(total), where=good & (variance > 0))
    return mean.astype(np.float32), weight.astype(np.float32), ~good


def _edges(wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
    middles = (wavelength[1:] + wavelength[:-1]) / 2
    return np.concatenate([[2 * wavelength[0] - middles[0]], middles, [2 * wavelength[-1] - middles[-1]]])


def _overlap(given: NDArray[np.float64], wanted: NDArray[np.float64]):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """(old, new) sparse: how many Angstrom of each old pixel lie in each new one."""
    from scipy.sparse import coo_array

    edges = np.union1d(given, wanted)
    edges = edges[(edges >= max(given[0], wanted[0])) & (edges <= min(given[-1], wanted[-1]))]
    middles = (edges[1:] + edges[:-1]) / 2
    old = np.clip(np.searchsorted(given, middles) - 1, 0, given.size - 2)
    new = np.clip(np.searchsorted(wanted, middles) - 1, 0, wanted.size - 2)
    return coo_array((np.diff(edges), (old, new)), shape=(given.size - 1, wanted.size - 1)).tocsr()


def rescale_images(images: NDArray[np.float32], factor: float, size: tuple[int, int]) -> NDArray[np.float32]:
    """(n, band, *size) nanomaggies per pixel, `factor` new pixels to each old one, about the same centre.

    Flux is conserved: every new pixel takes the part of each old pixel that it covers.
    """
    rows = _cover(images.shape[2], size[0], factor)
    columns = _cover(images.shape[3], size[1], factor)
    scaled: NDArray[np.float32] = np.einsum("yi,nbij,xj->nbyx", rows, images, columns, optimize=True).astype(np.float32)
    return scaled


def _cover(old: int, new: int, factor: float) -> NDArray[np.float64]:
    """(new, old): the part of each old pixel that each new one covers, along one axis."""
    edges = np.arange(old + 1) - old / 2
    wanted = (np.arange(new + 1) - new / 2) / factor
    low = np.maximum(edges[None, :-1], wanted[:-1, None])
    high = np.minimum(edges[None, 1:], wanted[1:, None])
    part: NDArray[np.float64] = np.clip(high - low, 0, None)
    return part
