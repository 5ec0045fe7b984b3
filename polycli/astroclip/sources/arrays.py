"""The source `arrays`: images and spectra of one's own, in npy, npz or HDF5 files, as the recipe's `arrays` describes.

A folder of npy files is one set of arrays, named as the files are; an npz or HDF5 file is another. Sets are put one
behind the other. Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column, as_ids, column_of, stacked
from polycli.astroclip.data.cutouts.margins import cropped, one_size
from polycli.astroclip.data.description import ZERO_POINT, ImageDescription, SpectrumDescription
from polycli.astroclip.data.resampling import describe_grid, recipe_grid, refuse_without_overlap, resample_spectra
from polycli.astroclip.data.source import Listing, Payload, find_files
from polycli.astroclip.data.table_files import nearest_names
from polycli.astroclip.data.tables.marks import say_suspicious, without_marks
from polycli.astroclip.recipe.preparing import FLUX_UNIT, ArraysSection, PrepareRecipe
from polycli.astroclip.sources.array_sets import SUFFIXES, ArraySet, array_sets
from polycli.astroclip.sources.hdf5_files import check_images, same_length
from polycli.astroclip.sources.payloads import read_by_file
from polycli.astroclip.sources.plausible import (
    in_angstrom,
    refuse_other_flux,
    refuse_other_pixels,
    refuse_other_units,
    say_guesses,
    warn_of_band_order,
    warn_of_ivar,
)
from polycli.astroclip.sources.weights import ivar_of_errors
from polycli.console import first_few, note
from polycli.errors import SourceError
from polycli.names import clean

#: Objects of each set that are looked at for units and the order of bands.
_SAMPLED = 32
#: Arrays that a sentence names.
_NAMED = 6


@dataclass(frozen=True)
class ArraysReader:
    """Reads objects of array sets in the store's units."""

    sets: tuple[ArraySet, ...]
    section: ArraysSection
    #: Of each set, where they differ from those of the store.
    wavelengths: tuple[NDArray[np.float64] | None, ...]
    wanted: NDArray[np.float64] | None
    has_image: bool
    has_spectrum: bool
    #: (height, width) to which images are cropped; None where those of all sets have one size.
    size: tuple[int, int] | None = None

    def narrowed(self, files: Sequence[int]) -> ArraysReader:
        """A reader of these sets alone."""
        sets = tuple(self.sets[number] for number in files)
        return replace(self, sets=sets, wavelengths=tuple(self.wavelengths[number] for number in files))

    def read(self, files: NDArray[np.int32], rows: NDArray[np.int64]) -> Payload:
        """Images in nanomaggies and spectra in 1e-17 erg/s/cm2/A."""
        return read_by_file(files, rows, self._read)

    def _read(self, number: int, rows: NDArray[np.int64]) -> Payload:
        source, section = self.sets[number], self.section
        payload = Payload()
        if self.has_image and section.image is not None:
            image = source.rows(section.image, rows).astype(np.float32)
            if section.order == "band_last":
                image = image.transpose(0, 3, 1, 2)
            factor = 10 ** (0.4 * (ZERO_POINT - section.ab_zero_point))
            image = image if self.size is None else cropped(image, self.size)
            payload = replace(payload, image=np.ascontiguousarray(image) * np.float32(factor))
        if self.has_spectrum and section.spectrum is not None:
            payload = self._with_spectrum(payload, number, rows)
        return payload

    def _with_spectrum(self, payload: Payload, number: int, rows: NDArray[np.int64]) -> Payload:
        source, section = self.sets[number], self.section
        factor = section.flux_scale / FLUX_UNIT
        # In float64: numbers of 16 or 32 bits may have no place for themselves in another unit.
        flux = (source.rows(str(section.spectrum), rows).astype(np.float64) * factor).astype(np.float32)
        mask = np.zeros(flux.shape, np.bool_)
        if section.mask in source.members:
            mask = source.rows(str(section.mask), rows) != 0
        if section.ivar in source.members:
            ivar = (source.rows(str(section.ivar), rows).astype(np.float64) / factor**2).astype(np.float32)
            # As in surveys' own files: a weight that is not finite marks a pixel that was not measured.
            mask = mask | ~np.isfinite(ivar)
        elif section.error in source.members:
            ivar = (ivar_of_errors(source.rows(str(section.error), rows)) / factor**2).astype(np.float32)
            mask = mask | ~np.isfinite(ivar)
        else:
            ivar = np.isfinite(flux).astype(np.float32)
        found = self.wavelengths[number]
        if found is not None and self.wanted is not None:
            mask = mask | ~np.isfinite(flux) | ~np.isfinite(ivar)
            flux, ivar, mask = resample_spectra(flux, ivar, mask, found, self.wanted)
        return replace(payload, spectrum=flux, ivar=ivar, mask=mask)


class ArraysSource:
    """All sets of the inputs as one listing."""

    def accepts(self, path: Path) -> bool:
        """Arrays of numpy, and HDF5 files."""
        return path.name.lower().endswith(SUFFIXES)

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Listing:
        """Lists the objects of the files that the recipe's `arrays` section describes; see `Source.open`."""
        del limit
        section = recipe.arrays
        files = find_files(inputs, SUFFIXES, source="arrays")
        sets = array_sets(files)
        looks = [_look(found, section, alone=len(sets) == 1) for found in sets]
        first = looks[0]
        say_guesses(section, image=first.image is not None, spectrum=first.spectrum is not None, what=first.name)
        for look in looks[1:]:
            if (look.image is None, look.spectrum is None) != (first.image is None, first.spectrum is None):
                raise SourceError(f"{look.name}: has other arrays than {first.name}", hint="prepare them apart")
        # Bands and pixel scale are those of the recipe, in all sets.
        sizes = [(look.name, look.image.size) for look in looks for _ in look.ids if look.image is not None]
        size = one_size(sizes, recipe.images)
        image = first.image if size is None or first.image is None else first.image.model_copy(update={"size": size})
        wavelength, wavelengths = _one_grid(looks, recipe)
        lengths = [len(look.ids) for look in looks]
        spectrum = first.spectrum
        if wavelength is not None and spectrum is not None:
            grid = describe_grid(wavelength, what=first.name)
            spectrum = grid.model_copy(update={"medium": section.medium, "frame": section.frame, "ivar": spectrum.ivar})
        return Listing(
            source="arrays",
            reader=ArraysReader(
                sets=tuple(sets),
                section=section,
                wavelengths=wavelengths,
                wanted=wavelength,
                has_image=first.image is not None,
                has_spectrum=spectrum is not None,
                size=size,
            ),
            ids=_joined_ids(looks),
            ids_given=all(section.object_id in found.members for found in sets),
            id_name=section.object_id,
            ra=np.concatenate([look.ra for look in looks]),
            dec=np.concatenate([look.dec for look in looks]),
            redshift=np.concatenate([look.redshift for look in looks]),
            file=np.repeat(np.arange(len(sets), dtype=np.int32), lengths),
            row=np.concatenate([np.arange(length) for length in lengths]),
            files=tuple(path for path, _ in files),
            file_names=tuple(name for _, name in files),
            place_names=tuple(found.name for found in sets),
            image=image,
            spectrum=spectrum,
            wavelength=wavelength,
            columns=tuple(stacked([look.columns for look in looks], lengths)),
        )


@dataclass(frozen=True)
class _Look:
    """Everything that one set of files holds besides its data."""

    name: str
    ids: NDArray[Any]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    redshift: NDArray[np.float64]
    columns: list[Column]
    image: ImageDescription | None
    spectrum: SpectrumDescription | None
    wavelength: NDArray[np.float64] | None


def _look(source: ArraySet, section: ArraysSection, *, alone: bool) -> _Look:
    measured = [section.spectrum, section.ivar, section.error, section.mask]
    _refuse_texts(source, [section.image, section.wavelength, *measured])
    image, spectrum, wavelength = _described_image(source, section), None, None
    if section.spectrum in source.members:
        spectrum, wavelength = _described_spectrum(source, section)
    if image is None and spectrum is None:
        wanted = [name for name in (section.image, section.spectrum) if name is not None]
        raise SourceError(
            f"{source.name}: has neither of the arrays {' and '.join(wanted)}",
            hint=nearest_names(wanted[0], list(source.members), "Names are set in arrays.image and arrays.spectrum."),
        )
    data = [section.image, *measured]
    present = [name for name in data if name in source.members]
    lengths = {str(name): source.shape(str(name))[0] for name in present}
    own = (section.object_id, section.ra, section.dec, section.redshift)
    lengths |= {name: source.shape(name)[0] for name in own if name in source.members and source.shape(name)}
    count = same_length(lengths, Path(source.name))

    def vector(name: str) -> NDArray[np.float64]:
        if name not in source.members:
            return np.full(count, np.nan)
        values = source.whole(name)
        if values.shape != (count,) or values.dtype.kind not in "fiu":
            raise SourceError(f"{source.name}: {name} is {values.dtype} {values.shape}, {count} numbers were expected")
        exact = values.astype(np.float64)
        for mark in section.null:
            # As the array's own type rounds it: -99.9 in 32 bits is not the -99.9 of 64 bits.
            if not isinstance(mark, str):
                exact[values == (values.dtype.type(mark) if values.dtype.kind == "f" else mark)] = np.nan
        return exact

    if section.object_id in source.members:
        ids = as_ids(source.whole(section.object_id), what=f"{source.name}: {section.object_id}")
    else:
        if alone:
            note(f"{source.name}: has no array {section.object_id}; objects are numbered from 0")
        else:
            raise SourceError(
                f"{source.name}: has no array {section.object_id}, which tells the objects of several files apart",
                hint=nearest_names(section.object_id, list(source.members)),
            )
        ids = np.arange(count, dtype=np.int64)
    taken = {*data, *own, section.wavelength}
    further = [name for name in source.members if name not in taken]
    found = [
        column_of(name, source.whole(name), source=source.name) for name in further if source.shape(name) == (count,)
    ]
    columns = [without_marks(column, section.null)[0] for column in found if column is not None]
    _say_of_columns(source, [name for name in further if name not in {column.name for column in columns}], columns)
    return _Look(
        name=source.name,
        ids=ids,
        ra=vector(section.ra),
        dec=vector(section.dec),
        redshift=vector(section.redshift),
        columns=columns,
        image=image,
        spectrum=spectrum,
        wavelength=wavelength,
    )


def _say_of_columns(source: ArraySet, left: Sequence[str], columns: Sequence[Column]) -> None:
    """Say which arrays become nothing, and which columns seem to hold marks of missing values."""
    if left:
        named = [f"{clean(name)} ({source.dtype(name)} {source.shape(name)})" for name in left]
        note(f"{source.name}: left out, as no single numbers or texts of objects: {first_few(named, _NAMED)}")
    say_suspicious(columns, what=source.name, key="arrays.null")


def _refuse_texts(source: ArraySet, names: Sequence[str | None]) -> None:
    for name in names:
        if name in source.members and (kind := source.dtype(str(name))).kind not in "biuf":
            raise SourceError(f"{source.name}: {name} holds {kind}, numbers were expected")


def _described_image(source: ArraySet, section: ArraysSection) -> ImageDescription | None:
    if section.image is None or section.image not in source.members:
        return None
    band_last = section.order == "band_last"
    size = check_images(
        source.shape(section.image),
        section.bands,
        band_last=band_last,
        what=f"{source.name}: {section.image}",
        hint=f"set arrays.order={'band_first' if band_last else 'band_last'} if they are, and arrays.bands in order",
    )
    _look_at_images(source, section.image, section)
    return ImageDescription(bands=section.bands, size=size, pixel_scale_arcsec=section.pixel_scale_arcsec)


def _look_at_images(source: ArraySet, array: str, section: ArraysSection) -> None:
    count = source.shape(array)[0]
    if not count:
        return
    some = source.rows(array, np.linspace(0, count - 1, min(count, _SAMPLED)).astype(np.int64))
    some = some.transpose(0, 3, 1, 2) if section.order == "band_last" else some
    what = f"{source.name}: {array}"
    if section.pixel_unit is None and section.zero_point is None:
        refuse_other_pixels(some, what=what)
    warn_of_band_order(some, section.bands, what=what)


def _described_spectrum(source: ArraySet, section: ArraysSection) -> tuple[SpectrumDescription, NDArray[np.float64]]:
    if section.wavelength not in source.members:
        raise SourceError(
            f"{source.name}: has spectra and no array {section.wavelength}",
            hint=nearest_names(section.wavelength, list(source.members)),
        )
    what = f"{source.name}: {section.wavelength}"
    unit = section.wavelength_unit or "Angstrom"
    wavelength = in_angstrom(source.whole(section.wavelength).astype(np.float64), unit)
    about = describe_grid(wavelength, what=what)
    shape = source.shape(str(section.spectrum))
    for name in (section.spectrum, section.ivar, section.error, section.mask):
        if name in source.members and source.shape(str(name)) != (shape[0], wavelength.size):
            raise SourceError(
                f"{source.name}: {name} is {source.shape(str(name))}, {(shape[0], wavelength.size)} was expected from "
                f"{section.wavelength} with {wavelength.size} pixels"
            )
    if section.wavelength_unit is None:
        refuse_other_units(wavelength, what=what)
    _look_at_spectra(source, section)
    return about.model_copy(
        update={
            "medium": section.medium,
            "frame": section.frame,
            "ivar": "measured" if {section.ivar, section.error} & {*source.members} else "unknown",
        }
    ), wavelength


def _look_at_spectra(source: ArraySet, section: ArraysSection) -> None:
    name, count = str(section.spectrum), source.shape(str(section.spectrum))[0]
    if not count:
        return
    rows = np.linspace(0, count - 1, min(count, _SAMPLED)).astype(np.int64)
    flux = source.rows(name, rows).astype(np.float64)
    if section.flux_unit is None:
        refuse_other_flux(flux, what=f"{source.name}: {name}")
    if section.ivar in source.members:
        ivar = source.rows(str(section.ivar), rows).astype(np.float64)
        warn_of_ivar(flux, ivar, what=f"{source.name}: {section.ivar}")


def _one_grid(
    looks: Sequence[_Look], recipe: PrepareRecipe
) -> tuple[NDArray[np.float64] | None, tuple[NDArray[np.float64] | None, ...]]:
    """The wavelengths of all sets, and of each set those that must be brought to them.

    Raises:
        SourceError: sets differ, and the recipe names no grid.
    """
    first = looks[0].wavelength
    nothing = tuple(None for _ in looks)
    if first is None:
        return None, nothing
    grids = {look.name: look.wavelength for look in looks if look.wavelength is not None}
    different = {name: grid for name, grid in grids.items() if not np.array_equal(grid, first)}
    if not different:
        return first, nothing
    wanted = recipe_grid(recipe.resample)
    if wanted is None:
        name, other = next(iter(different.items()))
        raise SourceError(
            f"{name}: wavelengths are {_span(other)}, those of {looks[0].name} are {_span(first)}",
            hint="set resample.first, resample.last and resample.step in the recipe to bring both to one grid",
        )
    for name, grid in grids.items():
        refuse_without_overlap(grid, wanted, what=name)
    return wanted, tuple(look.wavelength for look in looks)


def _span(wavelength: NDArray[np.float64]) -> str:
    return f"{wavelength.size} pixels from {wavelength[0]:g} to {wavelength[-1]:g} A"


def _joined_ids(looks: Sequence[_Look]) -> NDArray[Any]:
    kinds = {look.ids.dtype for look in looks}
    if len(kinds) > 1:
        text = next(look.name for look in looks if look.ids.dtype == object)
        raise SourceError(f"{text}: ids are text, those of the other files are integers")
    return np.concatenate([look.ids for look in looks])
