"""Reads a prepared store as objects: images, spectra, ids and columns, by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from polycli.astroclip.data.description import (
    NULL_SUFFIX,
    OWN_COLUMNS,
    PropertyDescription,
    SurveyDescription,
    property_names,
)
from polycli.astroclip.data.photometry import asinh_magnitudes
from polycli.astroclip.data.table_files import nearest_names
from polycli.errors import StoreError, problems_of
from polycli.requests import Split
from polycli.store.hashing import hex_of
from polycli.store.manifest import Manifest
from polycli.store.reader import Store, Verify, open_store

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True)
class Spectra:
    """Some spectra, on one grid or each on its own; `flux, ivar, mask = spectra` takes them apart."""

    #: (n, wavelength) float32, 1e-17 erg/s/cm2/A, finite everywhere.
    flux: NDArray[np.float32]
    #: (n, wavelength) float32, 0 where masked.
    ivar: NDArray[np.float32]
    #: (n, wavelength), True where a pixel is not to be used.
    mask: NDArray[np.bool_]
    #: (n, wavelength) Angstrom, 0 where a spectrum is padded; encoders that know one grid do not look at it.
    wavelength: NDArray[np.float64] | None = None

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Flux, inverse variance and mask, in this order."""
        return iter((self.flux, self.ivar, self.mask))

    def take(self, places: NDArray[np.int64]) -> Spectra:
        """Some of the spectra, by their places, in that order."""
        wavelength = None if self.wavelength is None else self.wavelength[places]
        return Spectra(self.flux[places], self.ivar[places], self.mask[places], wavelength)


class ObjectStore:
    """An opened store of this family. Thread-safe, and small when pickled."""

    def __init__(self, store: Store) -> None:
        """Look at what a store says of itself.

        Raises:
            StoreError: its description does not fit the schema.
        """
        self.store = store
        try:
            self.about = SurveyDescription.model_validate(store.manifest.about)
        except ValidationError as error:
            raise StoreError(
                f"{store.path}: the description of images and spectra does not fit its schema: {problems_of(error)}",
                hint="prepare the store again",
            ) from error
        # Stores of earlier versions may have properties with the names of the store's own columns.
        names = property_names([found.name for found in self.about.properties])
        self._properties = dict(zip(names, self.about.properties, strict=True))
        self._wavelength: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return self.manifest.rows

    @property
    def path(self) -> Path:
        """The path of the store on disk."""
        return self.store.path

    @property
    def name(self) -> str:
        """The name of the dataset."""
        return self.store.name

    @property
    def manifest(self) -> Manifest:
        """All that the store says of itself."""
        return self.store.manifest

    @property
    def has_images(self) -> bool:
        """Whether every object has an image."""
        return self.about.image is not None

    @property
    def has_spectra(self) -> bool:
        """Whether every object has a spectrum."""
        return self.about.spectrum is not None

    @property
    def has_own_grids(self) -> bool:
        """Whether each spectrum has wavelengths of its own."""
        return self.about.spectrum is not None and self.about.spectrum.own

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands of the images, in the order of their axis; empty where there are no images."""
        return () if self.about.image is None else self.about.image.bands

    @property
    def wavelength(self) -> NDArray[np.float64]:
        """(wavelength,) Angstrom.

        Raises:
            StoreError: there are no spectra, or each has wavelengths of its own, which `read_spectra` reads.
        """
        if self._wavelength is None:
            self._need(spectra=True)
            if self.has_own_grids:
                raise StoreError(
                    f"{self.path}: each spectrum has wavelengths of its own, and one grid is asked for",
                    hint="read_spectra(rows).wavelength has them; prepare with resample.first, last and step makes one",
                )
            self._wavelength = self.store.read("wavelength")
        return self._wavelength

    def rows(self, split: Split | None = None) -> NDArray[np.int64]:
        """Numbers of all rows, or of those of a split."""
        return self.store.rows(split)

    def read_images(self, rows: Rows) -> NDArray[np.float32]:
        """(n, band, y, x) nanomaggies.

        Raises:
            StoreError: the store has no images, or a chunk is missing or damaged.
        """
        self._need(images=True)
        return self.store.read_rows("image", _numbers(rows))

    def read_spectra(self, rows: Rows) -> Spectra:
        """Flux, inverse variance, mask and wavelengths.

        Raises:
            StoreError: the store has no spectra, or a chunk is missing or damaged.
        """
        self._need(spectra=True)
        numbers = _numbers(rows)
        flux, ivar, mask = (self.store.read_rows(name, numbers) for name in ("spectrum", "ivar", "mask"))
        if not self.has_own_grids:
            return Spectra(flux, ivar, mask, np.broadcast_to(self.wavelength, flux.shape))
        wavelength = self.store.read_rows("wavelengths", numbers)
        # As long as the longest of these, whatever the store has besides.
        longest = int((wavelength > 0).sum(axis=1).max(initial=0))
        return Spectra(*(part[:, :longest] for part in (flux, ivar, mask, wavelength)))

    def wavelength_ranges(self) -> NDArray[np.float64]:
        """(n, 2) the first and the last wavelength of each spectrum, Angstrom.

        Raises:
            StoreError: there are no spectra, or a chunk is missing or damaged.
        """
        self._need(spectra=True)
        if self.has_own_grids:
            return self.store.read("wavelength_range")
        return np.broadcast_to(self.wavelength[[0, -1]], (len(self), 2))

    def ids(self, rows: Rows | None = None) -> NDArray[Any]:
        """(n,) int64, or str in an object array; as the source had them, bit for bit."""
        return self.column("object_id", rows)

    def id_texts(self, rows: Rows | None = None) -> list[str]:
        """Returns the ids as text."""
        return [str(value) for value in self.ids(rows).tolist()]

    def hashes(self, rows: Rows | None = None) -> list[str]:
        """Hash of the image and spectrum of each row, 32 hex digits."""
        found = self.store.row_hashes()
        return hex_of(found if rows is None else found[_numbers(rows)])

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what there is beside images and spectra."""
        return (*OWN_COLUMNS, *self._properties)

    def unit(self, name: str) -> str:
        """Unit of a column; empty where it has none."""
        return OWN_COLUMNS[name] if name in OWN_COLUMNS else self._property(name).unit

    def column(self, name: str, rows: Rows | None = None) -> NDArray[Any]:
        """(n,) values. Integers and booleans that may be absent come as a masked array, texts as an object array.

        Raises:
            StoreError: there is no such column; the nearest names are in the sentence.
        """
        if name == "object_id":
            return self._text(name, rows) if self.about.object_id == "text" else self._dense(name, rows)
        if name in OWN_COLUMNS:
            return self._dense(name, rows)
        found = self._property(name)
        values = self._text(found.array, rows) if found.kind == "text" else self._dense(found.array, rows)
        if found.kind == "float" or not found.nullable:
            return values
        return np.ma.masked_array(values, self._dense(found.array + NULL_SUFFIX, rows))

    @property
    def units(self) -> dict[str, str]:
        """Returns the unit of each property as its source states it, which is empty where it does not."""
        return {name: found.unit for name, found in self._properties.items()}

    def target(self, name: str, rows: Rows | None = None) -> NDArray[np.float64]:
        """(n,) a column as numbers to learn, NaN where unknown.

        Raises:
            StoreError: there is no such column, or it is text.
        """
        values = self.column(name, rows)
        if values.dtype == object:
            raise StoreError(
                f"{self.path}: column {name} is text, numbers were expected", hint="classify it instead of regressing"
            )
        numbers: NDArray[np.float64] = np.ma.filled(values.astype(np.float64), np.nan)
        return numbers

    def labels(self, name: str, rows: Rows | None = None) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """(n,) class numbers, -1 where unknown, and the names of all classes of the store in order.

        Raises:
            StoreError: there is no such column, or it is of floats.
        """
        whole = self.column(name)
        if whole.dtype.kind == "f":
            raise StoreError(f"{self.path}: column {name} is of floats, classes were expected", hint="regress it")
        unknown = np.ma.getmaskarray(whole)
        values = np.ma.getdata(whole)
        known = ~unknown & (values != "") if values.dtype == object else ~unknown
        classes = sorted(set(values[known].tolist()))
        number = {value: index for index, value in enumerate(classes)}
        codes = np.array(
            [number[value] if there else -1 for value, there in zip(values.tolist(), known, strict=True)], np.int64
        )
        return codes if rows is None else codes[_numbers(rows)], tuple(str(value) for value in classes)

    def magnitudes(self, rows: Rows | None = None) -> NDArray[np.float64] | None:
        """(n, 3) AB magnitudes in g, r, z from the columns mag_* or flux_* (nanomaggies); None where there are none.

        Fluxes become asinh magnitudes, so that what is fainter than the noise has one too. NaN where a value is absent.
        """
        by_name = {name.lower(): name for name in self._properties}
        if all(f"mag_{band}" in by_name for band in "grz"):
            return np.stack([self.target(by_name[f"mag_{band}"], rows) for band in "grz"], axis=1)
        if not all(f"flux_{band}" in by_name for band in "grz"):
            return None
        return asinh_magnitudes(np.stack([self.target(by_name[f"flux_{band}"], rows) for band in "grz"], axis=1))

    def table(self, rows: Rows | None = None) -> pa.Table:
        """All columns as Arrow: ids exactly, gaps as nulls."""
        import pyarrow as pa

        arrays = {}
        for name in self.columns:
            values = self.column(name, rows)
            mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
            kind = pa.string() if values.dtype == object else None
            arrays[name] = pa.array(np.ma.getdata(values), type=kind, mask=mask)
        return pa.table(arrays)

    def _property(self, name: str) -> PropertyDescription:
        if name not in self._properties:
            raise StoreError(
                f"{self.path}: has no property {name!r}", hint=nearest_names(name, [*self._properties, *OWN_COLUMNS])
            )
        return self._properties[name]

    def _dense(self, array: str, rows: Rows | None) -> NDArray[Any]:
        return self.store.read(array) if rows is None else self.store.read_rows(array, _numbers(rows))

    def _text(self, array: str, rows: Rows | None) -> NDArray[Any]:
        texts = self.store.read_strings(array, None if rows is None else _numbers(rows))
        values = np.empty(len(texts), dtype=object)
        values[:] = texts
        return values

    def _need(self, *, images: bool = False, spectra: bool = False) -> None:
        for needed, there, what in ((images, self.has_images, "images"), (spectra, self.has_spectra, "spectra")):
            if needed and not there:
                other = "spectra" if what == "images" else "images"
                raise StoreError(
                    f"{self.path}: holds {other} alone, {what} are needed",
                    hint=f"prepare a store with {what}, or use a recipe for {other}",
                )


def open_objects(path: str | Path, *, verify: Verify = "sizes") -> ObjectStore:
    """Open the store at `path`; see `polycli.store.reader.open_store` for `verify` and errors.

    Example:
        >>> from polycli.astroclip import open_objects
        >>> store = open_objects("mock.zarr")
        >>> len(store), store.bands
        (4, ('g', 'r', 'z'))
        >>> store.read_images([0, 1]).shape  # nanomaggies, (object, band, y, x)
        (2, 3, 48, 48)
        >>> store.read_spectra(store.rows("test")).flux.shape[1] == len(store.wavelength)
        True
        >>> store.column("redshift").shape
        (4,)
    """
    return ObjectStore(open_store(Path(path), family="astroclip", verify=verify))


def common_columns(stores: Sequence[ObjectStore], names: Sequence[str] | None = None) -> pa.Schema:
    """The columns of all stores' tables together, for one table of them all; those of `names`, where it is given.

    Raises:
        StoreError: a column, such as the id, is text in one store and numbers in another, or integers and floats.
    """
    import pyarrow as pa

    fields: dict[str, pa.Field] = {}
    for store in stores:
        for field in store.table([]).schema:
            before = fields.setdefault(field.name, field)
            both = _common_type(before.type, field.type)
            if both is not None:
                fields[field.name] = before.with_type(both)
            elif names is None or field.name in names:
                raise StoreError(
                    f"{store.path}: column {field.name} is {field.type}, and {before.type} in {stores[0].path} or "
                    "others: they make no table together",
                    hint="take the stores one by one",
                )
    return pa.schema([field for field in fields.values() if names is None or field.name in names])


def _common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both without a loss; None where there is none."""
    import pyarrow as pa

    if one == other:
        return one
    for alike in (pa.types.is_floating, pa.types.is_integer):
        if alike(one) and alike(other):
            both = np.result_type(one.to_pandas_dtype(), other.to_pandas_dtype())
            # Of unsigned and signed integers of 64 bits numpy makes floats.
            return pa.from_numpy_dtype(both) if alike(pa.from_numpy_dtype(both)) else None
    return None


def with_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with all columns of the schema, nulls where it has none."""
    import pyarrow as pa

    found = {
        field.name: table[field.name] if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    }
    return pa.table(found).cast(schema)


def _numbers(rows: Rows) -> list[int]:
    numbers: list[int] = np.asarray(rows, np.int64).tolist()
    return numbers
