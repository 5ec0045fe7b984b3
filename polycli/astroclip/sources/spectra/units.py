"""Units in FITS headers, however written: factors to Angstrom and to erg/s/cm2/A."""

from __future__ import annotations

import re
import warnings

#: Angstrom as many files have it; to astropy A alone is Ampere.
_ANGSTROM = re.compile(r"(?<![A-Za-z])(?:AA?|(?i:Ang|Angstroms?))(?![A-Za-z])")
_ERGS = re.compile(r"(?<![A-Za-z])(?i:ergs?)(?![A-Za-z])")
#: Digits to which factors are kept: units are powers of ten, which products of floats only nearly are.
_DIGITS = 12


def to_angstrom(text: str) -> float | None:
    """How many Angstrom a unit of wavelengths is; None where it is none.

    >>> to_angstrom("nm"), to_angstrom("Angstroms"), to_angstrom("pixel")
    (10.0, 1.0, None)
    """
    return _factor(text, "Angstrom")


def to_flux_density(text: str, power: int = 1) -> float | None:
    """How many erg/s/cm2/A, to a power, a unit of flux densities is; None where it is none per wavelength.

    >>> to_flux_density("1E-17 erg/cm^2/s/Ang"), to_flux_density("Jy"), to_flux_density("cm4 s2 A2 / erg2", -2)
    (1e-17, None, 1.0)
    """
    return _factor(text, "erg s-1 cm-2 Angstrom-1", power)


def _factor(text: str, unit: str, power: int = 1) -> float | None:
    from astropy import units
    from astropy.units import UnitsError, UnitsWarning

    plain = _ERGS.sub("erg", _ANGSTROM.sub("Angstrom", text.strip()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnitsWarning)
            return float(f"{units.Unit(plain).to(units.Unit(unit) ** power):.{_DIGITS}g}")
    except (ValueError, TypeError, UnitsError):
        return None
