"""Catalogues in HATS as tables: a column is read partition by partition, and near some objects few partitions are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column
from polycli.astroclip.data.healpix import nested_pixels
from polycli.astroclip.data.tables.arrow_tables import arrow_column, open_parquet_table
from polycli.astroclip.data.tables.table import Field, Reading
from polycli.errors import SourceError
from polycli.files.hats_folders import open_hats
from polycli.files.parquet import open_parquet
from polycli.store.embeddings.hats_layout import HEALPIX

_FEWEST_ARCSEC = 3600 * 58.63  # the side of a pixel of order 0


@dataclass(frozen=True)
class HatsTable:
    """The partitions of a catalogue, one behind the other."""

    path: Path
    fields: Sequence[Field]
    remarks: Sequence[str]
    files: tuple[Path, ...]
    #: Order and number of each partition's pixel.
    pixels: tuple[tuple[int, int], ...]

    def read(self, names: Sequence[str]) -> Iterator[Column]:
        """The columns of these names; see `Table.read`."""
        import pyarrow as pa

        units = {field.name: field.unit for field in self.fields}
        for name in names:
            chunks = []
            for file in self.files:
                with open_parquet(file) as opened:
                    if name not in opened.schema_arrow.names:
                        raise SourceError(f"{file}: has no column {name}, which other partitions have")
                    chunks += opened.read(columns=[name], use_threads=False).column(name).chunks
            found = arrow_column(name, pa.chunked_array(chunks), self.path.name, units[name])
            if found is None:
                raise SourceError(f"{self.path}: column {name} does not hold one value in each row")
            yield found

    def near(self, ra: NDArray[np.float64], dec: NDArray[np.float64], radius_arcsec: float) -> HatsTable:
        """The table of the partitions in which something can lie within a radius of one of these positions.

        Raises:
            SourceError: there is none.
        """
        from astropy_healpix import HEALPix

        known = np.isfinite(ra) & np.isfinite(dec)
        reached: set[tuple[int, int]] = set()
        for order in {order for order, _ in self.pixels}:
            here = [pixel for pixel in self.pixels if pixel[0] == order]
            if radius_arcsec > _FEWEST_ARCSEC / 2**order / 2:
                reached |= {*here}
                continue
            # Half a pixel reaches no further than to the eight neighbours.
            numbers = np.unique(nested_pixels(ra[known], dec[known], order))
            with np.errstate(invalid="ignore"):  # where three pixels meet one has seven neighbours
                around = HEALPix(nside=2**order, order="nested").neighbours(numbers)
            wanted = {*numbers.tolist(), *around.ravel().tolist()}
            reached |= {pixel for pixel in here if pixel[1] in wanted}
        kept = [place for place, pixel in enumerate(self.pixels) if pixel in reached]
        if not kept:
            raise SourceError(
                f"{self.path}: none of its {len(self.files)} partitions is near one of the {len(ra)} objects",
                hint="look whether the objects' positions are degrees, and of the same part of the sky",
            )
        return replace(
            self,
            files=tuple(self.files[place] for place in kept),
            pixels=tuple(self.pixels[place] for place in kept),
            remarks=[f"{len(kept)} of {len(self.files)} partitions are near the objects"],
        )


def open_hats_table(path: Path, reading: Reading) -> HatsTable:
    """Read the properties of a catalogue or collection, and the schema of its first partition.

    Raises:
        SourceError: it holds no catalogue of objects, partitions are missing, or a part of it was asked for.
    """
    catalogue = open_hats(path)
    fields = [
        replace(field, unusable="the number of a pixel") if field.name == HEALPIX else field
        for field in open_parquet_table(catalogue.files[0], reading).fields
    ]
    return HatsTable(path, fields, [], catalogue.files, tuple(_pixel(file) for file in catalogue.files))


def hats_files(path: Path) -> list[tuple[Path, str]]:
    """The partitions of a catalogue, each with a name that begins with the folder's."""
    catalogue = open_hats(path)
    return [(file, f"{path.name}/{file.relative_to(catalogue.folder).as_posix()}") for file in catalogue.files]


def _pixel(file: Path) -> tuple[int, int]:
    """Order and number in the path of a partition, which is a file or lies in a folder of them."""
    parts = {name: value for name, _, value in (part.partition("=") for part in file.parts)}
    return int(parts["Norder"]), int(parts["Npix"].partition(".")[0])
