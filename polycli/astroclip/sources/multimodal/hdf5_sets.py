"""HDF5 files of the Multimodal Universe: one for each healpix cell, all columns and data at the root.

An image set has `image_array` (object, band, y, x) and `image_band`, a spectrum set `spectrum_flux` and the wavelengths
of each object, `spectrum_lambda`; in the oldest sets the first and the last wavelength stand in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column, as_text, column_of
from polycli.astroclip.data.description import ImageDescription
from polycli.astroclip.data.source import Payload
from polycli.astroclip.recipe.preparing import MmuSection, PrepareRecipe
from polycli.astroclip.sources.hdf5_files import check_images, column, dataset, read_rows, same_length
from polycli.astroclip.sources.multimodal.layout import (
    Part,
    bands_of,
    columns_of,
    pixel_factor,
    plain_ids,
    positions_of,
    redshifts_of,
)
from polycli.astroclip.sources.payloads import read_by_file
from polycli.astroclip.sources.row_grids import GridScan, RowGrid, SourceSpectra
from polycli.errors import SourceError
from polycli.files.hdf5 import open_hdf5

#: Objects whose wavelengths are looked at together.
_ROWS = 1024
_SPECTRUM = ("spectrum_flux", "spectrum_ivar", "spectrum_mask", "spectrum_lambda")
_RANGE = ("spectrum_lambda_min", "spectrum_lambda_max")


@dataclass(frozen=True)
class Hdf5Reader:
    """Reads objects of HDF5 sets in the store's units, with the bands in the store's order."""

    files: tuple[Path, ...]
    section: MmuSection
    #: By file: where each of the store's bands is; empty where there are no images.
    bands: tuple[tuple[int, ...], ...]
    grid: RowGrid | None

    def narrowed(self, files: Sequence[int]) -> Hdf5Reader:
        """A reader of these files alone."""
        return replace(
            self,
            files=tuple(self.files[number] for number in files),
            bands=tuple(self.bands[number] for number in files),
        )

    def read(self, files: NDArray[np.int32], rows: NDArray[np.int64]) -> Payload:
        """Images in nanomaggies, spectra on the grid of all files."""
        return read_by_file(files, rows, self._read)

    def _read(self, number: int, rows: NDArray[np.int64]) -> Payload:
        path, payload = self.files[number], Payload()
        with open_hdf5(path) as file:
            if self.bands[number]:
                image = read_rows(dataset(file, "image_array", path), rows)[:, list(self.bands[number])]
                payload = replace(payload, image=image.astype(np.float32) * pixel_factor(self.section))
            if self.grid is not None:
                flux, ivar, mask, wavelength = self.grid.place(_spectra(file, path, rows), what=str(path))
                payload = replace(payload, spectrum=flux, ivar=ivar, mask=mask, wavelength=wavelength)
        return payload


def read_part(path: Path, name: str, recipe: PrepareRecipe) -> Part:
    """Everything in a file but the data, which is looked at as far as bands and wavelengths need.

    Raises:
        SourceError: columns are missing or differ in length, or bands differ from object to object.
    """
    with open_hdf5(path) as file:
        vectors = _vectors(file)
        if "object_id" not in vectors:
            dataset(file, "object_id", path)
        lengths = {key: len(values) for key, values in vectors.items()}
        has_image, has_spectrum = "image_array" in file, "spectrum_flux" in file
        if not has_image and not has_spectrum:
            raise SourceError(f"{path}: has neither image_array nor spectrum_flux: no image or spectrum set")
        lengths |= {key: file[key].shape[0] for key in ("image_array", *_SPECTRUM) if key in file}
        count = same_length(lengths, path)
        image, fwhm = _image(file, path, name, recipe.mmu) if has_image and count else (None, [])
        scan = _scan(file, path, whole=recipe.resample.looks_at_all) if has_spectrum and count else None
        has_ivar = "spectrum_ivar" in file
    ra, dec = positions_of(vectors, count, what=str(path))
    redshift, warning = redshifts_of(vectors, count)
    columns = [*columns_of(vectors, source=name), *fwhm]
    lsf = vectors.get("spectrum_lsf_sigma")
    if lsf is not None and lsf.ndim == 1:
        found = column_of("lsf_sigma", lsf, unit="pixel", source=name)
        columns += [] if found is None else [found]
    return Part(
        path=path,
        name=name,
        ids=plain_ids(vectors["object_id"], what=f"{path}: object_id"),
        ra=ra,
        dec=dec,
        redshift=redshift,
        warning=warning,
        columns=columns,
        image=image,
        scan=scan,
        has_ivar=has_ivar,
    )


def _vectors(file: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401
    """All datasets with one value, or a few, for each object."""
    found = {
        name: item for name, item in file.items() if isinstance(item, h5py.Dataset) and item.dtype.kind in "biufSUO"
    }
    small = {name: item for name, item in found.items() if item.ndim == 1 or (item.ndim == 2 and item.shape[1] <= 5)}
    return {name: item[()] for name, item in small.items() if not name.startswith("image_")}


def _image(
    file: Any,  # noqa: ANN401
    path: Path,
    name: str,
    section: MmuSection,
) -> tuple[ImageDescription, list[Column]]:
    names = column(file, "image_band", path)
    names = names[None] if names.ndim == 1 else names
    if not (names == names[0]).all():
        row = int(np.flatnonzero((names != names[0]).any(axis=1))[0])
        raise SourceError(
            f"{path}: the bands of object {row} are {', '.join(as_text(names[row]))}, those of the first are "
            f"{', '.join(as_text(names[0]))}",
            hint="prepare them into different stores",
        )
    bands = bands_of(as_text(names[0]).tolist(), section, what=f"{path}: image_band")
    size = check_images(file["image_array"].shape, bands, band_last=False, what=f"{path}: image_array")
    scales = np.unique(np.round(column(file, "image_scale", path).astype(np.float64), 4))
    if scales.size != 1:
        raise SourceError(
            f"{path}: image_scale is {scales[0]:g} to {scales[-1]:g} arcsec, one pixel scale was expected",
            hint="prepare them into different stores",
        )
    found: list[Column | None] = []
    if "image_psf_fwhm" in file:
        fwhm = column(file, "image_psf_fwhm", path)
        if fwhm.ndim == 2 and fwhm.shape[1] == len(bands):
            found = [
                column_of(f"psf_fwhm_{band}", fwhm[:, place], unit="arcsec", source=name)
                for place, band in enumerate(bands)
            ]
    about = ImageDescription(bands=bands, size=size, pixel_scale_arcsec=float(scales[0]))
    return about, [each for each in found if each is not None]


def _scan(file: Any, path: Path, *, whole: bool) -> GridScan:  # noqa: ANN401
    """Looks at the first and the last object's wavelengths, and if `whole`, or where they are padded or SDSS's, at all.

    What is not looked at here is compared when it is read.
    """
    shape, scan = file["spectrum_flux"].shape, GridScan()
    if "spectrum_lambda" not in file and not all(name in file for name in _RANGE):
        dataset(file, "spectrum_lambda", path)
    scan.add(_wavelengths(file, path, np.arange(1), shape[1]))
    if whole or scan.first is None or scan.lattice or scan.first.size < shape[1]:
        for start in range(1, shape[0], _ROWS):
            rows = np.arange(start, min(start + _ROWS, shape[0]))
            scan.add(_wavelengths(file, path, rows, shape[1]))
    else:
        scan.add(_wavelengths(file, path, np.array([shape[0] - 1]), shape[1]))
    return scan


def _wavelengths(file: Any, path: Path, rows: NDArray[np.int64], pixels: int) -> NDArray[np.float64]:  # noqa: ANN401
    if "spectrum_lambda" in file:
        found = file["spectrum_lambda"]
        if found.ndim != 2 or found.shape[1] != pixels:
            raise SourceError(f"{path}: spectrum_lambda is {found.shape}, {pixels} wavelengths for each were expected")
        return read_rows(found, rows).astype(np.float64)
    low, high = (read_rows(file[name], rows).astype(np.float64) for name in _RANGE)
    return np.linspace(low, high, pixels, axis=-1)


def _spectra(file: Any, path: Path, rows: NDArray[np.int64]) -> SourceSpectra:  # noqa: ANN401
    flux = read_rows(dataset(file, "spectrum_flux", path), rows).astype(np.float32)
    wavelength = _wavelengths(file, path, rows, flux.shape[1])
    mask = ~(np.isfinite(wavelength) & (wavelength > 0))
    if "spectrum_ivar" in file:
        ivar = read_rows(file["spectrum_ivar"], rows).astype(np.float32)
        mask = mask | ~np.isfinite(ivar)
    else:
        ivar = np.isfinite(flux).astype(np.float32)
    if "spectrum_mask" in file:
        mask = mask | (read_rows(file["spectrum_mask"], rows) != 0)
    return SourceSpectra(wavelength, flux, ivar, mask)
