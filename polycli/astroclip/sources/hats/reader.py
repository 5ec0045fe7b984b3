"""Reads images and spectra out of Parquet files, a block of objects at a time, and looks at what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.description import ZERO_POINT, ImageDescription
from polycli.astroclip.data.source import Payload
from polycli.astroclip.recipe.preparing import FLUX_UNIT, ArraysSection, MmuSection, PrepareRecipe
from polycli.astroclip.sources.hats.cursor import BUFFER, ROWS, leaves, read_parquet_rows
from polycli.astroclip.sources.hats.layout import Image, Spectrum
from polycli.astroclip.sources.hats.nested import dense, nested_field, padded
from polycli.astroclip.sources.multimodal.layout import bands_of, pixel_factor
from polycli.astroclip.sources.payloads import read_by_file
from polycli.astroclip.sources.plausible import in_angstrom, refuse_other_units
from polycli.astroclip.sources.row_grids import GridScan, RowGrid, SourceSpectra
from polycli.astroclip.sources.weights import ivar_of_errors
from polycli.errors import SourceError
from polycli.files.parquet import open_parquet


@dataclass(frozen=True)
class ParquetReader:
    """Reads objects of Parquet files in the store's units, with the bands in the store's order."""

    files: tuple[Path, ...]
    image: Image | None
    spectrum: Spectrum | None
    arrays: ArraysSection
    mmu: MmuSection
    #: By file: where each of the store's bands is; empty where there are no images.
    bands: tuple[tuple[int, ...], ...]
    grid: RowGrid | None
    #: (band, y, x) of an image in the files; None where there are none.
    shape: tuple[int, int, int] | None

    def narrowed(self, files: Sequence[int]) -> ParquetReader:
        """A reader of these files alone."""
        chosen = tuple(self.files[number] for number in files)
        return replace(self, files=chosen, bands=tuple(self.bands[number] for number in files))

    def read(self, files: NDArray[np.int32], rows: NDArray[np.int64]) -> Payload:
        """Images in nanomaggies, spectra on the grid of all files."""
        return read_by_file(files, rows, self._read)

    def _read(self, number: int, rows: NDArray[np.int64]) -> Payload:
        path, payload = self.files[number], Payload()
        image, spectrum = self.image, self.spectrum
        with open_parquet(path) as file:
            wanted = [] if image is None else [leaves(file, image.column, "flux" if image.is_struct else None)]
            wanted += [] if spectrum is None else list(_spectrum_leaves(file, spectrum).values())
        table = read_parquet_rows(path, wanted, rows)
        if image is not None:
            column = table[image.column]
            pixels = nested_field(column, "flux") if image.is_struct else column
            flux = dense(pixels, 3, what=f"{path}: {image.column}", shape=self.shape)
            factor = pixel_factor(self.mmu)
            if not image.is_struct:
                factor = np.float32(10 ** (0.4 * (ZERO_POINT - self.arrays.ab_zero_point)))
            payload = replace(payload, image=flux[:, list(self.bands[number])] * factor)
        if spectrum is not None and self.grid is not None:
            found = _spectra(table, spectrum, self.arrays, path)
            flux, ivar, mask, wavelength = self.grid.place(found, what=str(path))
            payload = replace(payload, spectrum=flux, ivar=ivar, mask=mask, wavelength=wavelength)
        return payload


def look_at_images(path: Path, image: Image, recipe: PrepareRecipe) -> ImageDescription | None:
    """Bands, size and pixel scale of a file's images; None where it has none.

    Raises:
        SourceError: bands or scales differ from object to object, or there are none.
    """
    what = f"{path}: {image.column}"
    with open_parquet(path, buffer=BUFFER) as file:
        wanted = [image.column]
        if image.is_struct:
            wanted = [leaves(file, image.column, field) for field in ("flux", "band", "scale")]
        size = _first_shape(file, image, wanted[0], what)
        if size is None:
            return None
        if not image.is_struct:
            bands = recipe.arrays.bands
            scale = recipe.arrays.pixel_scale_arcsec
        else:
            texts, scales = set(), set()
            for batch in file.iter_batches(ROWS * 32, columns=wanted[1:]):
                texts |= {tuple(row) for row in nested_field(batch[image.column], "band").drop_null().to_pylist()}
                found = nested_field(batch[image.column], "scale").drop_null().flatten()
                scales |= set(np.round(np.asarray(found, np.float64), 4).tolist())
            bands, scale = _one_kind(texts, scales, recipe.mmu, what)
    if size[0] != len(bands):
        raise SourceError(
            f"{what}: images have {size[0]} planes, and the bands are {', '.join(bands)}",
            hint=None if image.is_struct else "arrays.bands names them in order",
        )
    return ImageDescription(bands=bands, size=(size[1], size[2]), pixel_scale_arcsec=scale)


def _first_shape(file: Any, image: Image, leaf: str, what: str) -> tuple[int, ...] | None:  # noqa: ANN401
    for batch in file.iter_batches(1, columns=[leaf], use_threads=False):
        pixels = nested_field(batch[image.column], "flux") if image.is_struct else batch[image.column]
        if not pixels.null_count:
            return dense(pixels, 3, what=what).shape[1:]
    return None


def _one_kind(
    texts: set[tuple[str, ...]], scales: set[float], section: MmuSection, what: str
) -> tuple[tuple[str, ...], float]:
    if len(texts) != 1 or len(scales) != 1:
        named = " and ".join(", ".join(bands) for bands in sorted(texts)[:2]) or "none"
        shown = " to ".join(f"{scale:g}" for scale in sorted({min(scales), max(scales)})) if scales else "none"
        raise SourceError(
            f"{what}: the bands are {named}, the pixel scales {shown} arcsec: one of each was expected",
            hint="prepare them into different stores",
        )
    return bands_of(next(iter(texts)), section, what=what), scales.pop()


def look_at_wavelengths(path: Path, spectrum: Spectrum, section: ArraysSection, *, whole: bool) -> GridScan:
    """The wavelengths of the first object, and if `whole`, or where they are padded or SDSS's, of all.

    What is not looked at here is compared when it is read.
    """
    scan, what = GridScan(), f"{path}: {spectrum.wavelength}"
    with open_parquet(path, buffer=BUFFER) as file:
        leaf = _spectrum_leaves(file, spectrum)["wavelength"]
        for batch in file.iter_batches(ROWS, columns=[leaf], use_threads=False):
            column = batch[spectrum.flux if spectrum.is_struct else spectrum.wavelength]
            part = nested_field(column, spectrum.wavelength) if spectrum.is_struct else column
            scan.add(_wavelengths(part, section, what=what))
            if scan.first is not None and scan.same and not scan.lattice and not whole:
                break
    if scan.first is not None and section.wavelength_unit is None:
        refuse_other_units(np.sort(scan.first), what=what)
    return scan


def _wavelengths(column: Any, section: ArraysSection, *, what: str) -> NDArray[np.float64]:  # noqa: ANN401
    """Angstrom, -1 where there is no pixel."""
    found = padded(column, -1, what=what)
    there = np.isfinite(found) & (found > 0)
    return np.where(there, in_angstrom(found, section.wavelength_unit or "Angstrom"), -1)


def _spectrum_leaves(file: Any, spectrum: Spectrum) -> dict[str, str]:  # noqa: ANN401  # pyarrow's ParquetFile
    """Names of what pyarrow is asked for, by part of the spectrum."""
    parts = {"flux": spectrum.flux, "ivar": spectrum.ivar, "mask": spectrum.mask, "wavelength": spectrum.wavelength}
    parts["error"] = spectrum.error
    if not spectrum.is_struct:
        return {part: name for part, name in parts.items() if name is not None}
    fields = {**parts, "flux": "flux"}
    return {part: leaves(file, spectrum.flux, name) for part, name in fields.items() if name is not None}


def _spectra(table: Any, spectrum: Spectrum, section: ArraysSection, path: Path) -> SourceSpectra:  # noqa: ANN401
    def part(name: str | None, filler: float) -> NDArray[np.float64] | None:
        if name is None:
            return None
        column = nested_field(table[spectrum.flux], name) if spectrum.is_struct else table[name]
        return padded(column, filler, what=f"{path}: {name}")

    waves = (
        nested_field(table[spectrum.flux], spectrum.wavelength) if spectrum.is_struct else table[spectrum.wavelength]
    )
    wavelength = _wavelengths(waves, section, what=f"{path}: {spectrum.wavelength}")
    flux = part("flux" if spectrum.is_struct else spectrum.flux, 0)
    ivar, mask = part(spectrum.ivar, 0), part(spectrum.mask, 1)
    if spectrum.error is not None and (error := part(spectrum.error, 0)) is not None:
        ivar = ivar_of_errors(error)
    assert flux is not None  # noqa: S101  # every layout has it
    for name, values in (("wavelengths", wavelength), ("variances", ivar), ("masks", mask)):
        if values is not None and values.shape != flux.shape:
            raise SourceError(f"{path}: spectra have {flux.shape[1]} pixels, and their {name} {values.shape[1]}")
    factor = 1.0 if spectrum.is_struct else section.flux_scale / FLUX_UNIT
    bad = ~(np.isfinite(wavelength) & (wavelength > 0))
    if mask is not None:
        bad |= mask != 0
    if ivar is None:
        ivar = np.isfinite(flux).astype(np.float64)
    else:
        bad |= ~np.isfinite(ivar)
        ivar = ivar / factor**2
    return SourceSpectra(wavelength, (flux * factor).astype(np.float32), ivar.astype(np.float32), bad)
