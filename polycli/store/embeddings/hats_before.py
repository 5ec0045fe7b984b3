"""Reads the partitions of a HATS collection to which rows are added."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polycli.store.embeddings.hats_layout import (
    HEALPIX,
    INDEX,
    MARGIN,
    OBJECTS,
    STORED_HEALPIX,
    VECTORS,
    Pixel,
    read_partitions,
)
from polycli.store.embeddings.hats_sky import Sky
from polycli.store.embeddings.kind import read_manifest
from polycli.store.manifest import FileEntry

if TYPE_CHECKING:
    import pyarrow as pa


class Before:
    """The collection at `folder`; with None, one that holds nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder or Path()
        self.sky = Sky(read_partitions(folder / OBJECTS) if folder else [])
        self.pixels = set(self.sky.pixels)
        self._margins = set(read_partitions(folder / MARGIN)) if folder else set()

    def healpix(self) -> NDArray[np.int64]:
        """The pixels at order 29 of all objects."""
        from pyarrow import parquet

        files = [self._file(OBJECTS, pixel) for pixel in self.sky.pixels]
        found = [parquet.read_table(file, columns=[HEALPIX], partitioning=None)[HEALPIX].to_numpy() for file in files]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def rows(self, catalogue: str, pixel: Pixel) -> pa.Table | None:
        """The rows of a catalogue in a pixel that is one of its partitions or lies in one; None if there are none."""
        index = int(self.sky.partition_of(np.array([pixel.first], np.int64))[0])
        if index < 0:
            return None
        table = self.whole(catalogue, self.sky.pixels[index])
        begin, end = np.searchsorted(table[HEALPIX].to_numpy(), (pixel.first, pixel.end)).tolist()
        return table.slice(begin, end - begin) if end > begin else None

    def margin(self, pixel: Pixel) -> pa.Table | None:
        """The margin of a partition; None where it has none."""
        return self.whole(MARGIN, pixel) if pixel in self._margins else None

    def whole(self, catalogue: str, pixel: Pixel) -> pa.Table:
        """All rows of one of a catalogue's partitions."""
        from pyarrow import parquet

        with parquet.ParquetFile(self._file(catalogue, pixel)) as file:
            return file.read()

    def at(self, catalogue: str, index: int, healpix: NDArray[np.int64]) -> pa.Table:
        """The rows of one partition that lie in these pixels of order 29; row groups without any are not read."""
        from pyarrow import parquet

        file = self._file(catalogue, self.sky.pixels[index])
        return parquet.read_table(file, filters=[(HEALPIX, "in", healpix.tolist())], partitioning=None)

    def index(self, name: str) -> list[pa.Table]:
        """The ids, in the column of this name, of all objects with their pixels, as a list of at most one table."""
        from pyarrow import parquet

        if not self.pixels:
            return []
        file = self.folder / INDEX / "dataset" / "index" / "part.0.parquet"
        return [parquet.read_table(file, columns=[name, HEALPIX], partitioning=None)]

    def entries(self, names: Iterable[str]) -> dict[str, FileEntry]:
        """Returns the manifest's entries of some files."""
        if not self.pixels:
            return {}
        files = read_manifest(self.folder).get("files") or {}
        return {name: FileEntry.model_validate(files[name]) for name in names if name in files}

    def _file(self, catalogue: str, pixel: Pixel) -> Path:
        return self.folder / catalogue / "dataset" / pixel.file


def hats_schema(folder: Path) -> pa.Schema:
    """The columns that rows had before they became a collection; vectors have the type that they have in it."""
    from pyarrow import parquet

    objects, vectors = (
        parquet.read_schema(folder / name / "dataset" / "_common_metadata").remove_metadata()
        for name in (OBJECTS, VECTORS)
    )
    if HEALPIX in objects.names:
        index = objects.get_field_index(HEALPIX)
        objects = objects.set(index, objects.field(index).with_name(STORED_HEALPIX))
    for field in vectors:
        if field.name not in objects.names and field.name != HEALPIX:
            objects = objects.append(field)
    return objects
