"""Reads FITS files with one spectrum each, whose wavelengths may differ from file to file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.source import Listing, Payload, file_ids, find_files
from polycli.astroclip.recipe.preparing import PrepareRecipe, SpectraSection
from polycli.astroclip.sources.row_grids import GridScan, RowGrid, SourceSpectra, plan_grid
from polycli.astroclip.sources.sdss_files import is_sdss
from polycli.astroclip.sources.spectra.files import FileSpectrum, is_spectrum, read_file
from polycli.console import note, warn
from polycli.errors import SourceError
from polycli.files.fits_files import open_fits

SUFFIXES = (".fits", ".fit", ".fits.gz")
_POSITIONS = (
    ("RA", "DEC"),
    ("RA_TARG", "DEC_TARG"),
    ("RA_OBJ", "DEC_OBJ"),
    ("PLUG_RA", "PLUG_DEC"),
    ("OBJRA", "OBJDEC"),
)
_REDSHIFTS = ("REDSHIFT", "Z")


@dataclass(frozen=True)
class SpectraReader:
    """Reads the spectra of files, one in each, onto the grid of all."""

    files: tuple[Path, ...]
    section: SpectraSection
    grid: RowGrid

    def narrowed(self, files: Sequence[int]) -> SpectraReader:
        """A reader of these files alone."""
        return SpectraReader(tuple(self.files[number] for number in files), self.section, self.grid)

    def read(self, files: NDArray[np.int32], rows: NDArray[np.int64]) -> Payload:
        """Flux, inverse variance and mask; every file has one row."""
        del rows
        found = [read_file(self.files[number], self.section) for number in files.tolist()]
        shape = (len(found), max(each.flux.size for each in found))
        padded = SourceSpectra(
            np.full(shape, -1.0), np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.ones(shape, np.bool_)
        )
        for row, each in enumerate(found):
            here = slice(0, each.flux.size)
            padded.wavelength[row, here], padded.flux[row, here] = each.wavelength, each.flux
            padded.ivar[row, here], padded.mask[row, here] = each.ivar, each.mask
        placed = self.grid.place(padded, what=str(self.files[int(files[0])]))
        return Payload(spectrum=placed.flux, ivar=placed.ivar, mask=placed.mask, wavelength=placed.wavelength)


class SpectraSource:
    """Finds spectra by what is in their files; names decide nothing."""

    def accepts(self, path: Path) -> bool:
        """Whether it is a FITS file with one spectrum, and none of SDSS, which has more to tell."""
        if not path.name.lower().endswith(SUFFIXES) or not path.is_file():
            return False
        with open_fits(path) as file:
            return is_spectrum(file) and not is_sdss(file)

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Listing:
        """The spectra of all files, one of each; see `Source.open`."""
        named = {path.resolve() for path in inputs}
        found: list[tuple[Path, str, FileSpectrum]] = []
        scans: list[tuple[str, GridScan]] = []
        for path, name in find_files(inputs, SUFFIXES, source="spectra"):
            if limit is not None and len(found) == limit:
                break
            if path.resolve() not in named and not self._has_spectrum(path, recipe.spectra):
                warn(f"left out: {path} has no spectrum with wavelengths")
                continue
            spectrum = read_file(path, recipe.spectra)
            found.append((path, name, spectrum))
            scans.append((name, GridScan()))
            scans[-1][1].add(spectrum.wavelength[None])
        if not found:
            raise SourceError("no file among the inputs has a spectrum with wavelengths")
        medium = _one_medium(found)
        grid = plan_grid(scans, recipe.resample)
        about = grid.describe(what=found[0][1])
        ivar = "measured" if _all_have_ivar(found) else "unknown"
        files = tuple(path for path, _, _ in found)
        positions = [_position(spectrum.cards, recipe.spectra) for _, _, spectrum in found]
        return Listing(
            source="spectra",
            reader=SpectraReader(files, recipe.spectra, grid),
            ids=_ids(found, recipe.spectra),
            id_name=recipe.spectra.object_id or "file",
            ra=np.array([ra for ra, _ in positions], np.float64),
            dec=np.array([dec for _, dec in positions], np.float64),
            redshift=np.array([_redshift(spectrum.cards, recipe.spectra) for _, _, spectrum in found], np.float64),
            file=np.arange(len(files), dtype=np.int32),
            row=np.zeros(len(files), np.int64),
            files=files,
            file_names=tuple(name for _, name, _ in found),
            spectrum=about.model_copy(update={"medium": medium, "ivar": ivar}),
            wavelength=grid.axis,
            ids_given=recipe.spectra.object_id is not None,
        )

    @staticmethod
    def _has_spectrum(path: Path, section: SpectraSection) -> bool:
        with open_fits(path) as file:
            return section.flux is not None or is_spectrum(file)


def _one_medium(found: Sequence[tuple[Path, str, FileSpectrum]]) -> str:
    """Air or vacuum, for all files.

    Raises:
        SourceError: some are in air and others in vacuum, or some do not say.
    """
    first = found[0][2].medium
    for path, _, spectrum in found:
        if spectrum.medium != first:
            raise SourceError(
                f"{path}: wavelengths are in {spectrum.medium or 'a medium that is not said'}, those of {found[0][0]} "
                f"in {first or 'one that is not said'}",
                hint="prepare them into different stores, or say it for all: --set spectra.medium=vacuum",
            )
    if first is None:
        note("no header says whether wavelengths are in air or vacuum: taken for vacuum (spectra.medium)")
    return first or "vacuum"


def _all_have_ivar(found: Sequence[tuple[Path, str, FileSpectrum]]) -> bool:
    first = found[0]
    for path, _, spectrum in found:
        if spectrum.has_ivar != first[2].has_ivar:
            one, other = (path, first[0]) if spectrum.has_ivar else (first[0], path)
            raise SourceError(
                f"{one} has inverse variances or errors, {other} has none", hint="prepare them into different stores"
            )
    return first[2].has_ivar


def _ids(found: Sequence[tuple[Path, str, FileSpectrum]], section: SpectraSection) -> NDArray[np.object_]:
    """Takes ids from the header card that the recipe names, or else from the names of the files."""
    if section.object_id is None:
        return file_ids([name for _, name, _ in found])
    ids = np.empty(len(found), dtype=object)
    for row, (path, _, spectrum) in enumerate(found):
        value = str(spectrum.cards.get(section.object_id.upper(), "")).strip()
        if not value:
            raise SourceError(f"{path}: the header has no {section.object_id}", hint="spectra.object_id names the card")
        ids[row] = value
    return ids


def _position(cards: Mapping[str, object], section: SpectraSection) -> tuple[float, float]:
    """Degrees, also where a header has hours, minutes and seconds; NaN where it has no position."""
    given = ((section.ra, section.dec),) if section.ra and section.dec else _POSITIONS
    for names in given:
        ra, dec = (cards.get(name.upper()) for name in names)
        if _is_given(ra) and _is_given(dec):
            return _degrees(ra, "hourangle"), _degrees(dec, "deg")
    return np.nan, np.nan


def _is_given(value: object) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, str) and bool(value.strip()))


def _number(value: object) -> float | None:
    """The number that a card holds, or spells; None where it is another text, or a truth value."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _degrees(value: object, unit: str) -> float:
    """A number as it is; a text such as 12:34:56, 12 34 56 or 12h34m56s by its letters, else in the unit."""
    from astropy.coordinates import Angle

    number = _number(value)
    if number is not None:
        return number
    try:
        return float(Angle(str(value).strip(), unit).degree)
    except ValueError:
        # More than 24 hours, which is no position and is refused as such, or no angle at all.
        return np.nan if unit == "deg" else 15 * _degrees(value, "deg")


def _redshift(cards: Mapping[str, object], section: SpectraSection) -> float:
    names = (section.redshift,) if section.redshift else _REDSHIFTS
    found = (_number(cards[name.upper()]) for name in names if name.upper() in cards)
    return next((number for number in found if number is not None), np.nan)
