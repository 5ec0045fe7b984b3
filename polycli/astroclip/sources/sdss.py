"""The source `sdss`: one spectrum per file, spec-PLATE-MJD-FIBER.fits of SDSS, BOSS and eBOSS, full or lite.

All these spectra lie on one lattice of wavelengths, 10**(i / 10,000) Angstrom in vacuum, each on a stretch of its own.
The store's grid is what any of them covers; where one does not reach, it is masked and its inverse variance is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column, column_of
from polycli.astroclip.data.resampling import describe_grid
from polycli.astroclip.data.source import Listing, Payload, find_files
from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.astroclip.sources.sdss_files import SdssObject, is_sdss, read_object, read_spectrum, wavelengths
from polycli.console import note, warn
from polycli.errors import SourceError
from polycli.files.fits_files import open_fits

SUFFIXES = (".fits", ".fits.gz")


@dataclass(frozen=True)
class SdssReader:
    """Reads the spectra of files, one in each, onto the lattice from pixel `first` on."""

    files: tuple[Path, ...]
    first: int
    pixels: int

    def narrowed(self, files: Sequence[int]) -> SdssReader:
        """A reader of these files alone."""
        return SdssReader(tuple(self.files[number] for number in files), self.first, self.pixels)

    def read(self, files: NDArray[np.int32], rows: NDArray[np.int64]) -> Payload:
        """Flux, inverse variance and mask on the grid of all files; every file has one row."""
        flux = np.zeros((len(rows), self.pixels), np.float32)
        ivar, mask = np.zeros_like(flux), np.ones(flux.shape, np.bool_)
        for place, number in enumerate(files.tolist()):
            found = read_spectrum(self.files[number])
            start = found.first - self.first
            here = slice(start, start + len(found.flux))
            flux[place, here], ivar[place, here], mask[place, here] = found.flux, found.ivar, found.mask
        return Payload(spectrum=flux, ivar=ivar, mask=mask)


class SdssSource:
    """Finds out what files are by their first extension; names decide nothing."""

    def accepts(self, path: Path) -> bool:
        """Whether it is a FITS file with a coadd in logarithmic wavelengths."""
        if not path.name.lower().endswith(SUFFIXES) or not path.is_file():
            return False
        with open_fits(path) as file:
            return is_sdss(file)

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Listing:
        """The spectra of all files, one of each; see `Source.open`."""
        del recipe
        named = {path.resolve() for path in inputs}
        objects: list[SdssObject] = []
        kept: list[tuple[Path, str]] = []
        for path, name in find_files(inputs, SUFFIXES, source="sdss"):
            if limit is not None and len(kept) == limit:
                break
            with open_fits(path) as file:
                if is_sdss(file):
                    objects.append(read_object(file, path))
                    kept.append((path, name))
                elif path.resolve() in named:
                    raise SourceError(
                        f"{path}: the first extension is no table with flux, ivar and loglam: no spec-*.fits of SDSS"
                    )
                else:
                    warn(f"left out: {path} has no table with flux, ivar and loglam")
        if not objects:
            raise SourceError("no file with a spectrum of SDSS among the inputs", hint="give files such as spec-*.fits")
        _say_unnumbered(objects)
        first = min(found.first for found in objects)
        wavelength = wavelengths(first, max(found.first + found.pixels for found in objects) - first)
        files = tuple(path for path, _ in kept)
        ids = np.empty(len(objects), dtype=object)
        ids[:] = [found.id for found in objects]
        return Listing(
            source="sdss",
            reader=SdssReader(files, first, wavelength.size),
            ids=ids,
            id_name="SPECOBJID",
            ra=np.array([found.ra for found in objects], np.float64),
            dec=np.array([found.dec for found in objects], np.float64),
            redshift=np.array([found.redshift for found in objects], np.float64),
            file=np.arange(len(files), dtype=np.int32),
            row=np.zeros(len(files), np.int64),
            files=files,
            file_names=tuple(name for _, name in kept),
            spectrum=describe_grid(wavelength, what="sdss"),
            wavelength=wavelength,
            columns=_columns(objects),
            good_redshift=np.array([found.good for found in objects], np.bool_),
        )


def _columns(objects: Sequence[SdssObject]) -> tuple[Column, ...]:
    """Returns the columns that the pipelines fill, less those that no file has."""
    columns = []
    for name in objects[0].properties:
        found = [each.properties[name] for each in objects]
        known = np.array([value is not None for value in found])
        if known.any():
            kind = type(next(value for value in found if value is not None))
            plain = np.array([kind() if value is None else value for value in found])
            columns.append(column_of(name, np.ma.MaskedArray(plain, ~known), source="sdss"))
    return tuple(column for column in columns if column is not None)


def _say_unnumbered(objects: Sequence[SdssObject]) -> None:
    unnumbered = [found.id for found in objects if not found.numbered]
    if unnumbered:
        note(f"no SPECOBJID in {len(unnumbered)} files: their objects are named as the files are, as {unnumbered[0]}")
