"""Wavelength axes of FITS headers: linear or logarithmic steps, in air or vacuum, in the unit that the header names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.recipe.preparing import SpectraSection
from polycli.astroclip.sources.plausible import in_angstrom, refuse_other_units
from polycli.astroclip.sources.spectra.units import to_angstrom
from polycli.errors import SourceError

Medium = Literal["vacuum", "air"]
#: Below, a number is no wavelength of light in Angstrom or nanometres, but may be a logarithm, or micrometres.
_LOGARITHMS_END = 10.0


def has_axis(header: Any) -> bool:  # noqa: ANN401  # astropy's header
    """Whether the first axis of an image has a first value and a step."""
    return "CRVAL1" in header and ("CDELT1" in header or "CD1_1" in header)


def axis_of(header: Any, pixels: int, section: SpectraSection, path: Path) -> NDArray[np.float64]:  # noqa: ANN401
    """Angstrom of each pixel of an image's first axis.

    Raises:
        SourceError: steps may be linear or logarithmic, or the unit is none of wavelengths.
    """
    first, step = float(header["CRVAL1"]), float(header.get("CDELT1", header.get("CD1_1", np.nan)))
    if "CD1_1" in header:
        step = float(header["CD1_1"])
    offsets = (np.arange(pixels, dtype=np.float64) + 1 - float(header.get("CRPIX1", 1))) * step
    kind = str(header.get("CTYPE1", "")).upper()
    if kind in ("WAVE-LOG", "AWAV-LOG") and section.wavelength_scale is None:
        # Natural logarithms as the FITS standard has them (Greisen et al. 2006, equation 5).
        return _in_angstrom(first * np.exp(offsets / first), str(header.get("CUNIT1", "")), section, path)
    if _is_logarithmic(header, kind, first, section, path):
        # The unit is then of the logarithm, and says nothing that headers agree on.
        return _in_angstrom(10.0 ** (first + offsets), "", section, path)
    return _in_angstrom(first + offsets, str(header.get("CUNIT1", "")), section, path)


def _is_logarithmic(header: Any, kind: str, first: float, section: SpectraSection, path: Path) -> bool:  # noqa: ANN401
    if section.wavelength_scale is not None:
        return section.wavelength_scale == "log10"
    if "DC-FLAG" in header:
        return bool(header["DC-FLAG"])
    if "LOG" in kind:
        return True
    if first < _LOGARITHMS_END and not header.get("CUNIT1") and section.wavelength_unit is None:
        raise SourceError(
            f"{path}: CRVAL1 is {first:g}, a logarithm of wavelengths or micrometres, which the header does not say",
            hint="--set spectra.wavelength_scale=log10, or --set spectra.wavelength_unit=micrometre",
        )
    return False


def values_of(
    values: NDArray[Any], unit: str, section: SpectraSection, path: Path, *, logarithmic: bool
) -> NDArray[np.float64]:
    """Angstrom of wavelengths that are written out, or of their logarithms."""
    exact = np.asarray(values, np.float64).ravel()
    if section.wavelength_unit == "log10_Angstrom":
        return in_angstrom(exact, section.wavelength_unit)
    if logarithmic or section.wavelength_scale == "log10":
        return _in_angstrom(10.0**exact, "", section, path)
    return _in_angstrom(exact, unit, section, path)


def _in_angstrom(
    wavelength: NDArray[np.float64], unit: str, section: SpectraSection, path: Path
) -> NDArray[np.float64]:
    if section.wavelength_unit is not None:
        return in_angstrom(wavelength, section.wavelength_unit)
    if unit.strip():
        factor = to_angstrom(unit)
        if factor is None:
            raise SourceError(
                f"{path}: the unit of the wavelengths is {unit.strip()}, Angstrom, nm or um was expected",
                hint="--set spectra.wavelength_unit says which it is",
            )
        inside = wavelength[np.isfinite(wavelength) & (wavelength > 0)] * factor
        if inside.size and inside.max() < _LOGARITHMS_END:
            raise SourceError(
                f"{path}: wavelengths are up to {inside.max():.3g} Angstrom by their unit, {unit.strip()}: are they "
                "logarithms?",
                hint="--set spectra.wavelength_unit=log10_Angstrom, or =micrometre and others",
            )
        return wavelength * factor
    refuse_other_units(np.sort(wavelength), what=str(path), key="spectra.wavelength_unit")
    return wavelength


def medium_of(header: Any, section: SpectraSection, path: Path) -> Medium | None:  # noqa: ANN401
    """Whether wavelengths are in air or vacuum; None where neither header nor recipe says.

    Raises:
        SourceError: they say different things.
    """
    said: Medium | None = None
    kind, words = str(header.get("CTYPE1", "")).upper(), str(header.get("AIRORVAC", "")).lower()
    if kind.startswith("AWAV") or words.startswith("air"):
        said = "air"
    elif kind.startswith("WAVE") or words.startswith("vac") or header.get("VACUUM") is True:
        said = "vacuum"
    if section.medium is not None and said is not None and said != section.medium:
        raise SourceError(
            f"{path}: spectra.medium is {section.medium}, and the header says {said} "
            f"({'CTYPE1' if kind[:4] in ('AWAV', 'WAVE') else 'AIRORVAC'})",
            hint="leave spectra.medium out, or mend the header",
        )
    return section.medium or said
