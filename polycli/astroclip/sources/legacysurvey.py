"""The source `legacysurvey`: cutouts of the DESI Legacy Imaging Surveys as Stein et al. 2021 share them, in HDF5.

Each `images_npix152_*.h5` holds `images`, (object, 3, 152, 152) nanomaggies in g, r, z, and columns beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column, column_of, stacked
from polycli.astroclip.data.cutouts.margins import cropped, one_size
from polycli.astroclip.data.description import ImageDescription
from polycli.astroclip.data.source import Listing, Payload, find_files
from polycli.astroclip.data.tables.marks import without_marks
from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.astroclip.sources.hdf5_files import check_images, column, dataset, holds, read_rows, same_length
from polycli.errors import SourceError
from polycli.files.hdf5 import open_hdf5

SUFFIXES = (".h5", ".hdf5")
BANDS = ("g", "r", "z")
#: Stands where the survey has no value.
_UNKNOWN = -99.0
#: Bits of object, brick and release in an id, as in DESI's TARGETID.
_OBJECT_BITS, _BRICK_BITS, _RELEASE_BITS = 22, 20, 16
#: Datasets with one value for each object that become properties.
_PLAIN = (
    *("ebv", "maskbits", "source_type", "release", "brickid", "objid", "inds", "z_training"),
    *(f"z_phot_{end}" for end in ("mean", "median", "std", "l68", "u68", "l95", "u95")),
)
#: Datasets with a column for each band, of which the first three are g, r, z.
_BY_BAND = {
    "flux": "nanomaggy",
    "fiberflux": "nanomaggy",
    "psfdepth": "1/nanomaggy2",
    "psfsize": "arcsec",
    "nobs": "",
    "fracin": "",
    "transmission": "",
}


@dataclass(frozen=True)
class LegacySurveyReader:
    """Reads cutouts from files of Stein et al."""

    files: tuple[Path, ...]
    #: (height, width) to which images are cropped; None where those of all files have one size.
    size: tuple[int, int] | None = None

    def narrowed(self, files: Sequence[int]) -> LegacySurveyReader:
        """A reader of these files alone."""
        return replace(self, files=tuple(self.files[number] for number in files))

    def read(self, files: NDArray[np.int32], rows: NDArray[np.int64]) -> Payload:
        """Reads the images of some rows; there are no spectra."""
        images: NDArray[np.float32] | None = None
        for number in np.unique(files).tolist():
            places = np.flatnonzero(files == number)
            with open_hdf5(self.files[number]) as file:
                found = read_rows(file["images"], rows[places]).astype(np.float32)
            found = found if self.size is None else cropped(found, self.size)
            if images is None:
                images = np.empty((len(rows), *found.shape[1:]), np.float32)
            images[places] = found
        return Payload(image=images)


class LegacySurveySource:
    """All files of the inputs as one listing."""

    def accepts(self, path: Path) -> bool:
        """HDF5 files with images and bricks."""
        return holds(path, SUFFIXES, ("images", "brickid"))

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Listing:
        """Lists the objects from the columns that lie beside the images; see `Source.open`."""
        del limit
        files = find_files(inputs, SUFFIXES, source="legacysurvey")
        parts = [_read_columns(path, name) for path, name in files]
        named = zip(files, parts, strict=True)
        size = one_size([(str(path), part.size) for (path, _), part in named for _ in part.ids], recipe.images)
        lengths = [len(part.ids) for part in parts]
        return Listing(
            source="legacysurvey",
            reader=LegacySurveyReader(tuple(path for path, _ in files), size),
            ids=np.concatenate([part.ids for part in parts]),
            id_name="TARGETID",
            ra=np.concatenate([part.ra for part in parts]),
            dec=np.concatenate([part.dec for part in parts]),
            redshift=np.concatenate([part.redshift for part in parts]),
            file=np.repeat(np.arange(len(files), dtype=np.int32), lengths),
            row=np.concatenate([np.arange(length) for length in lengths]),
            files=tuple(path for path, _ in files),
            file_names=tuple(name for _, name in files),
            image=ImageDescription(bands=BANDS, size=size or parts[0].size),
            columns=tuple(stacked([part.columns for part in parts], lengths)),
        )


@dataclass(frozen=True)
class _Part:
    ids: NDArray[np.int64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    redshift: NDArray[np.float64]
    columns: list[Column]
    size: tuple[int, int]


def _read_columns(path: Path, name: str) -> _Part:
    with open_hdf5(path) as file:
        images = dataset(file, "images", path)
        size = check_images(images.shape, BANDS, band_last=False, what=str(path))
        lengths = {"images": images.shape[0]}
        present = [key for key in (*_PLAIN, "z_spec") if key in file]
        vectors = {key: column(file, key, path) for key in ("ra", "dec", *present)}
        tables = {key: column(file, key, path) for key in _BY_BAND if key in file}
    for key in {"ra", "dec", "z_spec", "release", "brickid", "objid"} & vectors.keys():
        if vectors[key].dtype.kind not in "iuf" or vectors[key].ndim != 1:
            raise SourceError(f"{path}: {key} is {vectors[key].dtype} {vectors[key].shape}, numbers were expected")
    lengths |= {key: len(values) for key, values in (*vectors.items(), *tables.items())}
    count = same_length(lengths, path)
    redshift = np.full(count, np.nan)
    if "z_spec" in vectors:
        found = vectors["z_spec"].astype(np.float64)
        # Objects without a spectrum carry -99.
        redshift = np.where(np.isfinite(found) & (found > -1), found, np.nan)
    columns = [column_of(key, vectors[key], source=name) for key in _PLAIN if key in vectors]
    for key, values in tables.items():
        if values.ndim == 2 and values.shape[1] >= len(BANDS):
            columns += [
                column_of(f"{key}_{band}", values[:, index], unit=_BY_BAND[key], source=name)
                for index, band in enumerate(BANDS)
            ]
    return _Part(
        ids=_ids(vectors, path),
        ra=vectors["ra"].astype(np.float64),
        dec=vectors["dec"].astype(np.float64),
        redshift=redshift,
        columns=[_without_marks(column) for column in columns if column is not None],
        size=size,
    )


def _without_marks(column: Column) -> Column:
    """A column of floats with gaps where the survey knows nothing: it writes -99 there, as for redshifts."""
    return without_marks(column, (_UNKNOWN,))[0] if column.kind == "float" else column


def _ids(vectors: dict[str, NDArray[Any]], path: Path) -> NDArray[np.int64]:
    """Release, brick and object packed as DESI packs them, so that ids equal those of its spectra."""
    names = ("release", "brickid", "objid")
    missing = [name for name in names if name not in vectors]
    if missing:
        raise SourceError(f"{path}: has no dataset {missing[0]}: {', '.join(names)} make an object's id")
    release, brick, number = (vectors[name].astype(np.int64) for name in names)
    for name, values, bits in zip(
        names, (release, brick, number), (_RELEASE_BITS, _BRICK_BITS, _OBJECT_BITS), strict=True
    ):
        if values.size and (values.min() < 0 or values.max() >= 1 << bits):
            raise SourceError(f"{path}: {name} holds {values.max()}, numbers from 0 to {(1 << bits) - 1} were expected")
    return (release << (_OBJECT_BITS + _BRICK_BITS)) | (brick << _OBJECT_BITS) | number
