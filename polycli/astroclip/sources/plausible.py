"""Whether arrays of one's own are what they are said to be: the order of bands, and units of wavelengths and fluxes.

A file of plain arrays says neither, and a wrong guess trains without a complaint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.recipe.preparing import ArraysSection, WavelengthUnit
from polycli.console import note, warn
from polycli.errors import SourceError

#: Bands from blue to red: nearly every galaxy has more nanomaggies in each than in the one before.
_REDDER = ("g", "r", "z")
#: Not half: of noise without a galaxy half are.
_MOST = 0.75
#: By unit of wavelengths: how many Angstrom it is.
_ANGSTROM: dict[WavelengthUnit, float] = {"Angstrom": 1.0, "nanometre": 10.0, "micrometre": 1e4}
#: Spectra that end below so many Angstrom are of the ultraviolet, and seldom; in nanometres nearly all end there.
_SHORTEST_END = 3000.0
#: Below it hydrogen lets nothing through: spectra that begin there are in nanometres.
_LYMAN_LIMIT = 912.0
#: log10 of the wavelengths in Angstrom of all that spectrographs of galaxies see.
_LOGARITHMS = (3.0, 4.7)
#: Median absolute flux in 1e-17 erg/s/cm2/A that a galaxy can have: a tenth of a percent of DESI's noise, Sirius.
_FLUXES = (1e-4, 1e7)
#: The brightest pixel of a cutout in nanomaggies, for half of the cutouts: far below any survey's noise, and a star of
#: magnitude 10 in one pixel.
_PIXELS = (1e-4, 1e5)
#: Integers that large in half of the cutouts are counts.
_COUNTS = 100.0
#: Scatter from pixel to pixel over what inverse variances say, squared, beyond which they are of something else.
_SCATTER = (0.1, 300.0)
#: A spectrum of visible light that ends below this is in micrometres, else in nanometres.
_MICROMETRES = 100.0


def warn_of_band_order(images: NDArray[Any], bands: Sequence[str], *, what: str) -> None:
    """Warn where most of some galaxies, (n, bands, y, x), get fainter from the first to the last of g, r, z."""
    known = [band for band in _REDDER if band in bands]
    if len(known) < 2:
        return
    rows, columns = (slice(side // 4, side - side // 4) for side in images.shape[2:])
    planes = [images[:, bands.index(band), rows, columns] for band in (known[0], known[-1])]
    blue, red = (np.nansum(plane, axis=(1, 2), dtype=np.float64) for plane in planes)
    fainter, count = int((red < blue).sum()), len(images)
    if fainter >= _MOST * count:
        warn(
            f"{what}: {fainter} of {count} objects are fainter in {known[-1]} than in {known[0]}, as galaxies are not: "
            f"do the bands lie in the order {', '.join(bands)}? arrays.bands says in which"
        )


def in_angstrom(wavelength: NDArray[np.float64], unit: WavelengthUnit) -> NDArray[np.float64]:
    """Wavelengths, or their logarithms to the base of 10, in Angstrom."""
    if unit == "log10_Angstrom":
        with np.errstate(over="ignore"):
            return np.asarray(10.0**wavelength)
    return wavelength * _ANGSTROM[unit]


def refuse_other_units(wavelength: NDArray[np.float64], *, what: str, key: str = "arrays.wavelength_unit") -> None:
    """Make sure that rising wavelengths whose unit nobody named, with the recipe's `key`, are in Angstrom.

    Raises:
        SourceError: they look like nanometres, micrometres or logarithms.
    """
    first, last = float(wavelength[0]), float(wavelength[-1])
    if first >= _LYMAN_LIMIT and last >= _SHORTEST_END:
        return
    likely = "micrometre" if last < _MICROMETRES else "nanometre"
    guess, further = f"in {likely}s", ""
    if _LOGARITHMS[0] <= first and last <= _LOGARITHMS[1]:
        likely, further = "log10_Angstrom", ", =micrometre"
        guess = "logarithms of Angstrom, as SDSS's loglam, or micrometres"
    raise SourceError(
        f"{what}: wavelengths are {first:g} to {last:g}, which in Angstrom is not visible light: are they {guess}?",
        hint=f"--set {key}={likely}{further}, or =Angstrom if that is what they are",
    )


def refuse_other_flux(flux: NDArray[np.float64], *, what: str) -> None:
    """Make sure that spectra, (n, pixels), whose unit nobody named can be in 1e-17 erg/s/cm2/A.

    Raises:
        SourceError: they are far too small or too large.
    """
    known = np.abs(flux[np.isfinite(flux) & (flux != 0)])
    if not known.size:
        return
    middle = float(np.median(known))
    if _FLUXES[0] <= middle <= _FLUXES[1]:
        return
    unit = "1" if middle < _FLUXES[0] else "X"
    said = "in erg/s/cm2/A as such" if middle < _FLUXES[0] else "counts, or in another unit"
    raise SourceError(
        f"{what}: the median flux is {middle:.3g}, which no galaxy has in 1e-17 erg/s/cm2/A: are they {said}?",
        hint=f"--set arrays.flux_unit={unit}, the erg/s/cm2/A that a flux of 1 stands for, or =1e-17 if that is so",
    )


def refuse_other_pixels(images: NDArray[Any], *, what: str) -> None:
    """Make sure that images, (n, bands, y, x), whose unit nobody named can be in nanomaggies.

    Raises:
        SourceError: they are pictures or counts, or far too faint or too bright.
    """
    hint = (
        "--set arrays.pixel_unit=nanomaggy if that is what they are, =jansky and others, or arrays.zero_point, the AB "
        "magnitude of a pixel value of 1"
    )
    if images.dtype == np.uint8:
        raise SourceError(
            f"{what}: pixels are integers of 8 bits, as of colour pictures, and nanomaggies were expected", hint=hint
        )
    exact = np.where(np.isfinite(images), images, 0).astype(np.float64).reshape(len(images), -1)
    peak = float(np.median(np.abs(exact).max(axis=1)))
    if images.dtype.kind in "iu" and peak > _COUNTS:
        raise SourceError(
            f"{what}: pixels are integers up to {peak:g} in half of the images, as counts are, and nanomaggies were "
            "expected",
            hint=hint,
        )
    if peak and not _PIXELS[0] <= peak <= _PIXELS[1]:
        raise SourceError(
            f"{what}: the brightest pixel of an image is {peak:.3g} in the median, which galaxies do not have in "
            "nanomaggies",
            hint=hint,
        )


def say_pixels(section: ArraysSection, *, what: str) -> None:
    """Say in which unit pixels are taken to be whose unit their files do not name, and who decided it."""
    if section.zero_point is not None:
        taken = f"an AB magnitude of {section.zero_point:g} for a pixel value of 1, as arrays.zero_point says"
    elif section.pixel_unit is not None:
        taken = f"{section.pixel_unit}, as arrays.pixel_unit says"
    else:
        taken = "nanomaggies, which is a guess; arrays.pixel_unit or arrays.zero_point declare it"
    note(f"{what}: nothing names the unit of the pixels; taken are {taken}")


def say_guesses(section: ArraysSection, *, image: bool, spectrum: bool, what: str) -> None:
    """Say in which units arrays are taken to be where the recipe declares none: numbers only rule some out."""
    if image and section.pixel_unit is None and section.zero_point is None:
        say_pixels(section, what=f"{what}: {section.image}")
    if spectrum and section.flux_unit is None:
        note(
            f"{what}: {section.spectrum}: nothing names the unit of the fluxes; taken are 1e-17 erg/s/cm2/A, which is "
            "a guess; arrays.flux_unit declares it"
        )


def warn_of_ivar(flux: NDArray[np.float64], ivar: NDArray[np.float64], *, what: str) -> None:
    """Warn where spectra scatter from pixel to pixel in another way than their inverse variances say."""
    used = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    both = used[:, 1:] & used[:, :-1]
    if not both.any():
        return
    steps = np.diff(np.where(used, flux, 0), axis=1)[both]
    # A third of the differences lies beyond one standard deviation of noise; lines and steps are few.
    scatter = float(np.median(np.abs(steps)) / 0.6745) ** 2 / 2
    ratio = scatter * float(np.median(ivar[used]))
    if not _SCATTER[0] <= ratio <= _SCATTER[1]:
        warn(
            f"{what}: the spectra scatter {np.sqrt(ratio):.2g} times as much from pixel to pixel as their inverse "
            "variances say: are these inverse variances, in the unit of the fluxes? arrays.error reads standard "
            "deviations"
        )
