"""Finds the columns of a Parquet file with images or spectra by name, those of cross-matched surveys by their suffix.

In a table that was made of two, columns have the survey's name behind theirs: `image-mmu_legacysurvey_dr10_south_21`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycli.astroclip.data.table_files import nearest_names
from polycli.astroclip.recipe.preparing import ArraysSection
from polycli.astroclip.sources.hats.nested import depth, has_field
from polycli.errors import SourceError

#: What stands between the name of a column and its survey's.
_BEFORE_SUFFIX = ("-", "_", ".")
#: Columns of pictures that are no data, though their names begin like those that are.
_WAVELENGTHS = ("lambda", "wavelength")


@dataclass(frozen=True)
class Image:
    """The column of images: a struct with `flux` and `band`, or lists of (band, y, x) alone."""

    column: str
    is_struct: bool


@dataclass(frozen=True)
class Spectrum:
    """The columns of spectra: a struct with all of them, or a list of numbers each."""

    flux: str
    ivar: str | None
    mask: str | None
    wavelength: str
    is_struct: bool
    #: Standard deviations, where there is no `ivar`.
    error: str | None = None

    def columns(self) -> tuple[str, ...]:
        """Names of all columns that hold a part of the spectra."""
        return tuple(
            name for name in (self.flux, self.ivar, self.error, self.mask, self.wavelength) if name is not None
        )


@dataclass(frozen=True)
class Layout:
    """Columns of a file by what they hold."""

    image: Image | None
    spectrum: Spectrum | None
    #: What stands behind the names of the columns that belong to the data: of the spectra, else of the images.
    suffix: str
    #: Columns with one value for each object.
    plain: tuple[str, ...]

    def named(self, name: str) -> str | None:
        """The column of that name, as it is or with the suffix; None where there is neither."""
        return next((found for found in (name, name + self.suffix) if found in self.plain), None)

    def own_names(self) -> list[str]:
        """The names of the columns with one value for each object, without the suffix."""
        return [name.removesuffix(self.suffix) for name in self.plain]


def layout_of(schema: Any, section: ArraysSection, path: Path) -> Layout:  # noqa: ANN401  # pyarrow's schema
    """The columns of a Parquet file.

    Raises:
        SourceError: there is neither an image nor a spectrum, several could be meant, or wavelengths are missing.
    """
    types = {field.name: field.type for field in schema}
    image, spectrum = _image(types, section, path), _spectrum(types, section, path)
    if image is None and spectrum is None:
        raise SourceError(
            f"{path}: has no column of images or spectra: a struct with flux, or lists of numbers, called "
            f"{section.image} or {section.spectrum} was expected",
            hint=nearest_names(str(section.image), list(types), "Names are set in arrays.image and arrays.spectrum."),
        )
    suffix = spectrum.flux.removeprefix(str(section.spectrum)) if spectrum is not None else ""
    if spectrum is None and image is not None:
        suffix = image.column.removeprefix(str(section.image))
    plain = tuple(name for name, kind in types.items() if not _is_nested(kind))
    return Layout(image, spectrum, suffix, plain)


def _image(types: Mapping[str, Any], section: ArraysSection, path: Path) -> Image | None:
    if section.image is None:
        return None
    fits = {name: _is_image(kind) for name, kind in types.items()}
    name = _chosen(section.image, [name for name, yes in fits.items() if yes], path, key="arrays.image")
    if name is None:
        return None
    is_struct = has_field(types[name], "flux")
    if is_struct and not has_field(types[name], "scale"):
        raise SourceError(f"{path}: {name} has no field scale with the pixel scale in arcsec")
    return Image(name, is_struct)


def _is_image(kind: Any) -> bool:  # noqa: ANN401
    return (has_field(kind, "flux") and has_field(kind, "band")) or depth(kind) == 3


def _spectrum(types: Mapping[str, Any], section: ArraysSection, path: Path) -> Spectrum | None:
    if section.spectrum is None:
        return None
    structs = [name for name, kind in types.items() if has_field(kind, "flux") and not has_field(kind, "band")]
    lists = [name for name, kind in types.items() if depth(kind) == 1]
    name = _chosen(section.spectrum, [*structs, *lists], path, key="arrays.spectrum")
    if name is None:
        return None
    if name in structs:
        wave = next((wave for wave in _WAVELENGTHS if has_field(types[name], wave)), None)
        if wave is None:
            raise SourceError(f"{path}: {name} has no field lambda with the wavelengths of each object")
        ivar, mask = (part if has_field(types[name], part) else None for part in ("ivar", "mask"))
        return Spectrum(name, ivar, mask, wave, is_struct=True)
    suffix = name.removeprefix(section.spectrum)
    beside = [
        next((found for found in (part, f"{part}{suffix}") if found in lists), None)
        for part in (section.ivar, section.mask, section.wavelength, section.error)
    ]
    if beside[2] is None:
        raise SourceError(
            f"{path}: has spectra, {name}, and no column {section.wavelength} with the wavelengths of each object",
            hint=nearest_names(section.wavelength, lists),
        )
    error = beside[3] if beside[0] is None else None
    return Spectrum(name, beside[0], beside[1], beside[2], is_struct=False, error=error)


def _chosen(wanted: str, candidates: list[str], path: Path, *, key: str) -> str | None:
    """The column of that name, or the only one that has it before a suffix; None where there is none."""
    if wanted in candidates:
        return wanted
    found = [name for name in candidates if name.startswith(tuple(wanted + mark for mark in _BEFORE_SUFFIX))]
    if len(found) > 1:
        raise SourceError(
            f"{path}: {' and '.join(found)} could each be {wanted}", hint=f"say which: --set '{key}={found[0]}'"
        )
    return found[0] if found else None


def _is_nested(kind: Any) -> bool:  # noqa: ANN401
    import pyarrow as pa

    return bool(pa.types.is_nested(kind) or isinstance(kind, pa.ExtensionType))
