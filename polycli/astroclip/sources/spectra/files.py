"""Reads the spectrum of one FITS file: a table with a row for each pixel or with vectors, or images of one axis.

Columns and extensions are found by their usual names, or by those that the recipe gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.table_files import nearest_names
from polycli.astroclip.recipe.preparing import FLUX_UNIT, SpectraSection
from polycli.astroclip.sources.spectra.axes import Medium, axis_of, has_axis, medium_of, values_of
from polycli.astroclip.sources.spectra.units import to_flux_density
from polycli.astroclip.sources.weights import ivar_of_errors
from polycli.errors import SourceError
from polycli.files.fits_files import open_fits

#: Names in small letters, the first that is there.
FLUX = ("flux", "flam", "flux_lambda", "f_lambda", "spectrum")
WAVELENGTH = ("wavelength", "wave", "lambda", "lam", "wavelengths")
LOGARITHMS = ("loglam", "loglambda", "log_wave", "log_wavelength")
IVAR = ("ivar", "invvar", "inverse_variance", "flux_ivar")
ERROR = ("error", "err", "sigma", "flux_err", "flux_error", "error_flux", "noise", "std", "stddev", "uncertainty")
VARIANCE = ("variance", "var", "stat")
MASK = ("mask", "and_mask", "quality", "dq", "flags")


@dataclass(frozen=True)
class FileSpectrum:
    """One spectrum, its wavelengths rising, in the units of a store."""

    #: Angstrom.
    wavelength: NDArray[np.float64]
    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]
    mask: NDArray[np.bool_]
    has_ivar: bool
    medium: Medium | None
    #: Header cards of the spectrum, and those of the file.
    cards: Mapping[str, object]


@dataclass(frozen=True)
class _Raw:
    """Arrays of a file by their names in small letters, with their units, and the header that describes the flux."""

    arrays: Mapping[str, NDArray[Any]]
    units: Mapping[str, str]
    flux: str
    header: Any
    is_image: bool


def is_spectrum(file: Any) -> bool:  # noqa: ANN401  # astropy's list of HDUs
    """Whether a file has a table with fluxes and wavelengths, or an image of one axis with wavelengths."""
    for unit in file:
        names = {name.lower() for name in getattr(getattr(unit, "columns", None), "names", ())}
        if names & {*FLUX} and names & {*WAVELENGTH, *LOGARITHMS}:
            return True
        if unit.is_image and unit.header.get("NAXIS") == 1 and unit.header.get("NAXIS1", 0) > 1:
            return has_axis(unit.header) or any(other.name.lower() in (*WAVELENGTH, *LOGARITHMS) for other in file)
    return False


def read_file(path: Path, section: SpectraSection) -> FileSpectrum:
    """The spectrum of a file.

    Raises:
        SourceError: there is none, several could be meant, or its units are not known.
    """
    with open_fits(path) as file:
        raw = _table(file, section, path) or _images(file, section, path)
        cards = {str(name).upper(): value for unit in (file[0], raw) for name, value in unit.header.items() if name}
        header = raw.header
    pixels = raw.arrays[raw.flux].size
    for name, values in raw.arrays.items():
        if values.size != pixels:
            raise SourceError(f"{path}: {name} has {values.size} values, {pixels} were expected from {raw.flux}")
    wavelength = _wavelength(raw, pixels, section, path)
    factor = _flux_factor(raw, section, path)
    flux = raw.arrays[raw.flux].astype(np.float64).ravel() * factor
    mask = ~np.isfinite(flux)
    ivar = _ivar(raw, factor, section, path)
    if ivar is not None:
        mask |= ~np.isfinite(ivar)
    flags = _named(raw.arrays, section.mask, MASK, path)
    if flags is not None:
        mask |= raw.arrays[flags].ravel() != 0
    order = slice(None, None, -1 if wavelength[0] > wavelength[-1] else 1)
    weight = np.isfinite(flux).astype(np.float32) if ivar is None else ivar.astype(np.float32)
    wavelength = wavelength[order]
    if wavelength.size < 2 or not np.isfinite(wavelength).all() or (np.diff(wavelength) <= 0).any():
        raise SourceError(f"{path}: wavelengths are not finite, or do not rise or fall from pixel to pixel")
    return FileSpectrum(
        wavelength=wavelength,
        flux=flux[order].astype(np.float32),
        ivar=weight[order],
        mask=mask[order],
        has_ivar=ivar is not None,
        medium=medium_of(header, section, path),
        cards=cards,
    )


def _table(file: Any, section: SpectraSection, path: Path) -> _Raw | None:  # noqa: ANN401
    """The first table that has the flux; one row of vectors, or one row for each pixel."""
    for unit in file:
        columns = getattr(unit, "columns", None)
        if columns is None:
            continue
        names = {column.name.lower(): column for column in columns}
        flux = _named(names, section.flux, FLUX, None)
        if flux is None:
            continue
        if not (_named(names, section.wavelength, (*WAVELENGTH, *LOGARITHMS), None)):
            raise SourceError(
                f"{path}: {unit.name or 'the table'} has {flux} and no wavelengths",
                hint=nearest_names("wavelength", list(names), "The key spectra.wavelength names them."),
            )
        arrays = {name: np.asarray(unit.data[column.name]) for name, column in names.items()}
        is_vector = arrays[flux].ndim == 2
        if is_vector and len(arrays[flux]) != 1:
            raise SourceError(f"{path}: the table has {len(arrays[flux])} rows of spectra, one was expected")
        same = {name: each.ravel() for name, each in arrays.items() if each.ndim == arrays[flux].ndim}
        kept = {
            name: each for name, each in same.items() if each.size == arrays[flux].size and each.dtype.kind in "fiub"
        }
        units = {name: str(column.unit or "") for name, column in names.items()}
        return _Raw(kept, units, flux, unit.header, is_image=False)
    return None


def _images(file: Any, section: SpectraSection, path: Path) -> _Raw:  # noqa: ANN401
    """The first image with a wavelength axis, or that is named, and images of one axis beside it."""
    found = [
        unit for unit in file if unit.is_image and unit.header.get("NAXIS", 0) and unit.header.get("NAXIS1", 0) > 1
    ]
    names = {(unit.name or "primary").lower(): unit for unit in reversed(found)}
    flux = _named(names, section.flux, FLUX, None if section.flux is None else path)
    if flux is None:
        flux = next(((unit.name or "primary").lower() for unit in found if has_axis(unit.header)), None)
    if flux is None and found:
        flux = (found[0].name or "primary").lower()
    if flux is None:
        raise SourceError(f"{path}: has neither a table with fluxes nor an image: no spectrum")
    main = names[flux]
    if int(np.prod(main.shape[:-1])) != 1:
        raise SourceError(
            f"{path}: the image {flux} is {main.shape}, one spectrum was expected",
            hint="write each spectrum into a file of its own, or give them to --source arrays",
        )
    arrays = {name: np.asarray(unit.data).ravel() for name, unit in names.items() if unit.shape[-1] == main.shape[-1]}
    kept = {name: each for name, each in arrays.items() if each.size == main.shape[-1]}
    return _Raw(
        kept, {name: str(unit.header.get("BUNIT", "")) for name, unit in names.items()}, flux, main.header, True
    )


def _named(there: Mapping[str, Any], wanted: str | None, usual: tuple[str, ...], path: Path | None) -> str | None:
    """The name that the recipe gives, or else the first usual one that is there.

    Raises:
        SourceError: the recipe's is not there; `path` is the file that lacks it, None where another part may have it.
    """
    if wanted is None:
        return next((name for name in usual if name in there), None)
    if wanted.lower() in there:
        return wanted.lower()
    if path is not None:
        raise SourceError(f"{path}: has no {wanted}", hint=nearest_names(wanted, list(there)))
    return None


def _wavelength(raw: _Raw, pixels: int, section: SpectraSection, path: Path) -> NDArray[np.float64]:
    written = raw.is_image and section.wavelength is None and has_axis(raw.header)
    name = None if written else _named(raw.arrays, section.wavelength, (*WAVELENGTH, *LOGARITHMS), path)
    if name is not None:
        logarithmic = name in LOGARITHMS
        return values_of(raw.arrays[name], raw.units.get(name, ""), section, path, logarithmic=logarithmic)
    if not has_axis(raw.header):
        raise SourceError(
            f"{path}: has no wavelengths: neither CRVAL1 with CDELT1 or CD1_1, nor an extension such as WAVELENGTH",
            hint="spectra.wavelength names it",
        )
    return axis_of(raw.header, pixels, section, path)


def _flux_factor(raw: _Raw, section: SpectraSection, path: Path) -> float:
    if section.flux_unit is not None:
        return section.flux_unit / FLUX_UNIT
    unit = raw.units.get(raw.flux, "").strip()
    factor = to_flux_density(unit) if unit else None
    if factor is None:
        said = f"is {unit}, one of erg/s/cm2/A was expected" if unit else "is not said"
        raise SourceError(
            f"{path}: the unit of {raw.flux} {said}",
            hint="say how many erg/s/cm2/A a flux of 1 is: --set spectra.flux_unit=1e-17",
        )
    return factor / FLUX_UNIT


def _ivar(raw: _Raw, factor: float, section: SpectraSection, path: Path) -> NDArray[np.float64] | None:
    """Inverse variances in the store's unit; None where the file has neither these nor errors or variances."""
    name = _named(raw.arrays, section.ivar, IVAR, path)
    if name is not None:
        scale = _noise_factor(raw, name, -2, factor, section=section, path=path)
        return np.asarray(raw.arrays[name].astype(np.float64).ravel() * scale)
    name = _named(raw.arrays, section.error, ERROR, path)
    if name is not None:
        scale = _noise_factor(raw, name, 1, factor, section=section, path=path)
        return ivar_of_errors(raw.arrays[name].ravel()) / scale**2
    name = _named(raw.arrays, None, VARIANCE, path)
    if name is None:
        return None
    variance = raw.arrays[name].astype(np.float64).ravel()
    # A variance below 0 is as wrong as an error below 0, and shown as such.
    errors = np.sign(variance) * np.sqrt(np.abs(variance))
    return ivar_of_errors(errors) / _noise_factor(raw, name, 2, factor, section=section, path=path)


def _noise_factor(raw: _Raw, name: str, power: int, factor: float, *, section: SpectraSection, path: Path) -> float:
    """Finds the factor that brings noise to the store's unit, by its own unit where that is another than the flux's.

    A unit to the power of 1 is taken for the flux's own, as of errors in other columns, which many writers copy there.

    Raises:
        SourceError: its unit is none of flux densities.
    """
    unit, of_flux = raw.units.get(name, "").strip(), raw.units.get(raw.flux, "").strip()
    if not unit or unit == of_flux or section.flux_unit is not None:
        return factor**power
    for exponent in dict.fromkeys((power, 1)):
        own = to_flux_density(unit, exponent)
        if own is not None:
            return float((own / FLUX_UNIT**exponent) ** (power / exponent))
    raise SourceError(
        f"{path}: the unit of {name} is {unit}, that of {raw.flux} to the power of {power} was expected",
        hint="mend the unit, or say for both how many erg/s/cm2/A a flux of 1 is: --set spectra.flux_unit=1e-17",
    )
