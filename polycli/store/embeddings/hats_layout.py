"""The layout of HATS catalogues: adaptive HEALPix partitions, names of files, properties and partition tables.

HATS (https://hats.readthedocs.io) cuts the sky into nested HEALPix pixels, small where objects are many, and keeps one
Parquet file for each, sorted by the column `_healpix_29`, the pixel number at order 29.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polycli.store.staging import write_text

if TYPE_CHECKING:
    import pyarrow as pa

#: Names in a collection's folder.
OBJECTS, MARGIN, INDEX, VECTORS = "objects", "objects_5arcsec", "objects_id", "vectors"
COLLECTION_FILES = (OBJECTS, MARGIN, INDEX, VECTORS, "vectors.properties", "collection.properties")
FINE_ORDER = 29
#: The column by which rows are sorted.
HEALPIX = "_healpix_29"
#: The same column in stores, and in the rows of which a catalogue is made.
STORED_HEALPIX = "healpix29"
#: No pixel is divided further: at this order it is 0.4 arcsec wide.
_HIGHEST_ORDER = 19
_PIXELS_IN_DIR = 10_000
_BASE_PIXELS = 12


@dataclass(frozen=True, order=True)
class Pixel:
    """A nested HEALPix pixel."""

    order: int
    number: int

    @property
    def first(self) -> int:
        """The first of its pixels at order 29."""
        return self.number << (2 * (FINE_ORDER - self.order))

    @property
    def end(self) -> int:
        """The pixel at order 29 that follows its last one."""
        return (self.number + 1) << (2 * (FINE_ORDER - self.order))

    @property
    def file(self) -> Path:
        """The path of its file below a catalogue's folder `dataset`."""
        directory = self.number // _PIXELS_IN_DIR * _PIXELS_IN_DIR
        return Path(f"Norder={self.order}") / f"Dir={directory}" / f"Npix={self.number}.parquet"


def partitions(healpix: NDArray[np.int64], most: int) -> list[Pixel]:
    """The largest pixels that hold at most so many of the objects, without empty ones, in the order of the sky.

    Args:
        healpix: (n,) pixel numbers at order 29, in rising order.
        most: objects of a partition; more only where they lie within half an arcsecond.
    """
    found: list[Pixel] = []
    waiting = [Pixel(0, number) for number in reversed(range(_BASE_PIXELS))]
    while waiting:
        pixel = waiting.pop()
        begin, end = np.searchsorted(healpix, (pixel.first, pixel.end))
        if end == begin:
            continue
        if end - begin <= most or pixel.order == _HIGHEST_ORDER:
            found.append(pixel)
        else:
            waiting += [Pixel(pixel.order + 1, 4 * pixel.number + child) for child in (3, 2, 1, 0)]
    return found


def read_partitions(catalogue: Path) -> list[Pixel]:
    """The partitions that a catalogue's table of them names, in the order of the sky."""
    lines = (catalogue / "partition_info.csv").read_text(encoding="utf-8").splitlines()[1:]
    pixels = [Pixel(*(int(number) for number in line.split(","))) for line in lines]
    return sorted(pixels, key=lambda pixel: pixel.first)


def write_properties(file: Path, values: Mapping[str, object]) -> None:
    """Write a file of properties in Java's form, which HATS takes from the IVOA."""
    write_text(file, "".join(f"{key}={value}\n" for key, value in values.items()))


def write_catalogue_files(
    folder: Path, properties: Mapping[str, object], pixels: Iterable[Pixel], schema: pa.Schema
) -> None:
    """Write what a catalogue has beside its partitions: properties, the table of partitions, the common schema."""
    from pyarrow import parquet

    (folder / "dataset").mkdir(parents=True, exist_ok=True)
    write_properties(folder / "hats.properties", properties)
    # Older readers look for this name.
    write_properties(folder / "properties", properties)
    lines = [f"{pixel.order},{pixel.number}\n" for pixel in pixels]
    write_text(folder / "partition_info.csv", "Norder,Npix\n" + "".join(lines))
    parquet.write_metadata(schema, folder / "dataset" / "_common_metadata")


def catalogue_properties(name: str, kind: str, rows: int, columns: Sequence[str], most: int) -> dict[str, object]:
    """The properties of a catalogue whose objects have positions; `columns` are those that readers load by default."""
    return {
        "obs_collection": name,
        "dataproduct_type": kind,
        "hats_nrows": rows,
        "hats_col_ra": "ra",
        "hats_col_dec": "dec",
        "hats_col_healpix": HEALPIX,
        "hats_col_healpix_order": FINE_ORDER,
        "hats_cols_default": " ".join(columns),
        "hats_max_rows": most,
        "hats_npix_suffix": ".parquet",
        "hats_version": "v0.1",
    }
