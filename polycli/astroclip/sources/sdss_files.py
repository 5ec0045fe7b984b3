"""The layout of a spectrum file of SDSS, BOSS or eBOSS: the coadded spectrum, and what the pipelines say of its object.

The first extension is the coadd: flux, ivar, loglam, and_mask. The second is one row about the object (SPALL or
SPECOBJ). Names are in small letters up to data release 17 and in capitals after it. Full files have every exposure
behind these, lite files do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError
from polycli.files.fits_files import open_fits

#: Pixels of one factor of ten in wavelength: all coadds of SDSS are sampled in steps of 1e-4 in log10.
PER_DECADE = 10_000
#: How far, in pixels, a wavelength may lie off the lattice: loglam is float32, which is good to 0.003 of one.
_OFF_LATTICE = 0.05
#: Angstrom that a spectrum may span: from the far ultraviolet to the near infrared, in log10.
_LOG_RANGE = (3.0, 5.0)
#: What becomes a property of the object, with its kind.
_KEPT = {
    **dict.fromkeys(("CLASS", "SUBCLASS", "SURVEY"), str),
    **dict.fromkeys(("ZWARNING", "PLATE", "MJD", "FIBERID"), int),
    **dict.fromkeys(("Z_ERR", "SN_MEDIAN_ALL", "VDISP"), float),
}


@dataclass(frozen=True)
class SdssSpectrum:
    """The coadd of one file, from pixel `first` of the lattice on."""

    first: int
    #: 1e-17 erg/s/cm2/A.
    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]
    #: True where every exposure has a flag, or nothing was measured.
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class SdssObject:
    """Everything about the object of one file that is small."""

    id: str
    #: Whether the id is the file's own SPECOBJID, which numbers have that 64 signed bits do not hold.
    numbered: bool
    ra: float
    dec: float
    redshift: float
    #: A galaxy whose redshift carries no warning.
    good: bool
    #: Pixel of the lattice where the spectrum begins, and how many follow.
    first: int
    pixels: int
    #: By name: text, integer, float or None where the file does not say.
    properties: dict[str, str | int | float | None]


def is_sdss(file: Any) -> bool:  # noqa: ANN401  # astropy's list of HDUs
    """Whether the first extension is a table with a flux, its inverse variance and logarithmic wavelengths."""
    names = getattr(getattr(file[1], "columns", None), "names", ()) if len(file) > 1 else ()
    return {"flux", "ivar", "loglam"} <= {name.lower() for name in names}


def wavelengths(first: int, pixels: int) -> NDArray[np.float64]:
    """Angstrom in vacuum of pixels of the lattice.

    >>> wavelengths(36_000, 2).round(3).tolist()
    [3981.072, 3981.988]
    """
    lattice: NDArray[np.float64] = 10.0 ** (np.arange(first, first + pixels, dtype=np.float64) / PER_DECADE)
    return lattice


def read_spectrum(path: Path) -> SdssSpectrum:
    """The coadd of a file.

    Raises:
        SourceError: it is damaged, or not on the lattice.
    """
    with open_fits(path) as file:
        coadd = _columns(file[1], ("flux", "ivar", "loglam", "and_mask"))
    flux, ivar = coadd["flux"].astype(np.float32), coadd["ivar"].astype(np.float32)
    flags = coadd.get("and_mask", np.zeros(len(flux), np.int64))
    mask = (flags != 0) | ~(ivar > 0) | ~np.isfinite(ivar) | ~np.isfinite(flux)
    first, _ = _place(coadd["loglam"], path)
    return SdssSpectrum(first, np.where(np.isfinite(flux), flux, 0), np.where(mask, 0, ivar), mask)


def read_object(file: Any, path: Path) -> SdssObject:  # noqa: ANN401
    """Returns what an open file tells of its object, by the row behind the coadd or else by the header.

    Raises:
        SourceError: wavelengths are not on the lattice, or the file holds several objects.
    """
    first, pixels = _place(_columns(file[1], ("loglam",))["loglam"], path)
    row = _row(file, path)
    header = {str(name).upper(): value for name, value in file[0].header.items() if name}
    number = _text(row.get("SPECOBJID")) or ""
    numbered = number not in ("", "0")
    redshift, warning = _number(row.get("Z")), _number(row.get("ZWARNING"))
    return SdssObject(
        id=number if numbered else path.name.split(".")[0].removeprefix("spec-"),
        numbered=numbered,
        ra=_first(row, header, ("PLUG_RA", "RACAT", "RA")),
        dec=_first(row, header, ("PLUG_DEC", "DECCAT", "DEC")),
        redshift=redshift,
        good=np.isfinite(redshift) and warning == 0 and _text(row.get("CLASS")) == "GALAXY",
        first=first,
        pixels=pixels,
        properties={name: _value(row.get(name), kind) for name, kind in _KEPT.items()},
    )


def _columns(table: Any, names: Iterable[str]) -> dict[str, NDArray[Any]]:  # noqa: ANN401
    """The columns of these names, written in small letters or in capitals; those that are not there are left out."""
    there = {name.lower(): name for name in table.columns.names}
    return {name: np.asarray(table.data[there[name]]) for name in names if name in there}


def _place(loglam: NDArray[Any], path: Path) -> tuple[int, int]:
    """Pixel of the lattice where these wavelengths begin, and how many there are."""
    exact = loglam.astype(np.float64) * PER_DECADE
    places = np.round(exact)
    if loglam.ndim != 1 or len(loglam) < 2 or not np.isfinite(exact).all():
        raise SourceError(f"{path}: loglam is {loglam.shape} or not finite, one vector of logarithms was expected")
    low, high = float(loglam.min()), float(loglam.max())
    if low < _LOG_RANGE[0] or high > _LOG_RANGE[1]:
        raise SourceError(
            f"{path}: loglam is {low:g} to {high:g}, log10 of wavelengths in Angstrom was expected, about 3.55 to 4.02",
            hint="spectra in other units are read by --source arrays",
        )
    if np.abs(exact - places).max() > _OFF_LATTICE or (np.diff(places) != 1).any():
        raise SourceError(
            f"{path}: loglam is not in steps of 1e-4 from a multiple of it: {loglam[0]:g}, {loglam[1]:g} ... {high:g}",
            hint="spectra on other grids are read by --source arrays",
        )
    return int(places[0]), len(places)


def _row(file: Any, path: Path) -> dict[str, object]:  # noqa: ANN401
    """The values of the table behind the coadd by capital names; none where there is no such table."""
    if len(file) < 3 or getattr(file[2], "columns", None) is None:
        return {}
    table = file[2]
    if len(table.data) != 1:
        raise SourceError(f"{path}: the second extension has {len(table.data)} rows, one about the object was expected")
    return {name.upper(): table.data[name][0] for name in table.columns.names}


def _first(row: dict[str, object], header: dict[str, object], names: Iterable[str]) -> float:
    """The first of these names that the row, else the header, has as a number; NaN where none has."""
    found = (_number(where.get(name)) for where in (row, header) for name in names)
    return next((value for value in found if np.isfinite(value)), np.nan)


def _number(value: Any) -> float:  # noqa: ANN401
    is_number = np.ndim(value) == 0 and isinstance(value, (int, float, np.integer, np.floating))
    return float(value) if is_number else np.nan


def _text(value: Any) -> str | None:  # noqa: ANN401
    """Text without the blanks that some releases put before and others behind; whole numbers digit by digit."""
    return None if value is None or np.ndim(value) else str(value).strip()


def _value(value: Any, kind: type) -> str | int | float | None:  # noqa: ANN401
    if kind is str:
        return _text(value)
    number = _number(value)
    return None if not np.isfinite(number) else kind(number)
