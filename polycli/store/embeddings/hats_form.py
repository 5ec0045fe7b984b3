"""Embeddings as a HATS collection: objects, their margin and an index of their ids, and their vectors beside them.

    NAME.hats/
        _MANIFEST.json          as of all embeddings
        collection.properties   names the catalogues
        objects/                all columns but the vectors
        objects_5arcsec/        of each partition the objects that lie less than 5 arcsec outside of it
        objects_id/             of each id its partition
        vectors/                id, position and vectors as float16, a catalogue of its own
        vectors.properties      says that they are an extension of the objects

Rows are shared out to at most 64 files of neighbouring partitions first, each of which is then sorted in memory.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polycli.errors import StoreError
from polycli.publishing import remove
from polycli.requests import JsonDocument
from polycli.store.embeddings.hats_layout import (
    HEALPIX,
    INDEX,
    MARGIN,
    OBJECTS,
    VECTORS,
    catalogue_properties,
    partitions,
    write_catalogue_files,
    write_properties,
)
from polycli.store.embeddings.manifest import MANIFEST_NAME, ROWS, SEAL_KEY, EmbeddingsHeader, TableFacts, manifest
from polycli.store.embeddings.parts import blocks_of, parquet_writer, schema_of
from polycli.store.sealing import entries_of, new_seal, seal
from polycli.store.staging import sync_trees, write_text

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of a partition, and of a row group in it.
PARTITION_ROWS = 100_000
_GROUP_ROWS = 16_384
MARGIN_ARCSEC = 5.0
_MOST_FILES = 64
#: The column of stores with the pixel at order 29, and what stands there for no position.
_STORED_HEALPIX, _UNKNOWN = "healpix29", -1
#: The circle around an object is looked at in so many points, and is so much wider than the margin: no corner of
#: another pixel comes within 5 arcsec between two of them.
_POINTS, _WIDER = 128, 1.03
#: Before, fewer points of a circle of twice the width tell which objects are worth it.
_FEW_POINTS, _TWICE = 16, 2.0


def as_hats(
    new: Path, header: EmbeddingsHeader, tables: Mapping[str, Sequence[Path]], facts: Mapping[str, TableFacts]
) -> JsonDocument:
    """Make the collection `new` of the parts of the tables; returns the manifest.

    Raises:
        StoreError: there are no positions, or a vector is too large for float16.
    """
    writer = _Collection(new, tables[ROWS], facts[ROWS])
    writer.write()
    for name, parts in tables.items():
        if name != ROWS:
            (new / f"_{name}").mkdir()
            for part in parts:
                part.rename(new / f"_{name}" / part.name)
    sync_trees([new])
    files = {name: entry.model_dump() for name, entry in entries_of(new, without=new / MANIFEST_NAME).items()}
    vectors = {name: {**entry, "dtype": "float16"} for name, entry in facts[ROWS].vectors.items()}
    document = manifest(header, {**facts, ROWS: TableFacts(facts[ROWS].rows, vectors)}, files)
    token = new_seal()
    write_text(new / MANIFEST_NAME, json.dumps({**document, SEAL_KEY: token}, indent=1) + "\n")
    seal(new / MANIFEST_NAME, token)
    return document


class _Collection:
    """The catalogues of one collection, on their way."""

    def __init__(self, folder: Path, parts: Sequence[Path], facts: TableFacts) -> None:
        schema = schema_of(parts)
        missing = [name for name in ("ra", "dec", _STORED_HEALPIX) if name not in schema.names]
        if missing:
            raise StoreError(f"a HATS catalogue needs positions, and there is no column {missing[0]}")
        self.folder, self.parts = folder, parts
        self.vectors = list(facts.vectors)
        self.id = schema.names[0]
        healpix = np.sort(_column(parts, _STORED_HEALPIX))
        if len(healpix) and healpix[0] == _UNKNOWN:
            count = int((healpix == _UNKNOWN).sum())
            raise StoreError(f"a HATS catalogue needs positions, and {count:,} objects have none")
        self.rows = len(healpix)
        self.pixels = partitions(healpix, PARTITION_ROWS)
        self.starts = np.array([pixel.first for pixel in self.pixels], np.int64)
        self.ends = np.array([pixel.end for pixel in self.pixels], np.int64)
        self.margin: dict[int, list[pa.Table]] = defaultdict(list)
        self.index: list[pa.Table] = []

    def write(self) -> None:
        """Write all catalogues and the properties of the collection."""
        shared = self.folder.parent / "shared"
        shared.mkdir()
        files = self._share_out(shared)
        schemas: dict[str, pa.Schema] = {}
        for file in files:
            self._write_partitions(file, schemas)
        remove(shared)
        for name in (OBJECTS, VECTORS):
            columns = [column for column in schemas[name].names if column not in self.vectors]
            properties = catalogue_properties(name, "object", self.rows, columns, PARTITION_ROWS)
            write_catalogue_files(self.folder / name, properties, self.pixels, schemas[name])
        self._write_margin(schemas[OBJECTS])
        self._write_index()
        self._write_collection()

    def _share_out(self, shared: Path) -> list[Path]:
        """Write the rows of neighbouring partitions into one file each; returns the files in the order of the sky."""
        per_file = -(-len(self.pixels) // _MOST_FILES)
        files = [shared / f"{number}.parquet" for number in range(-(-len(self.pixels) // per_file))]
        schema = schema_of(self.parts).remove_metadata()
        with ExitStack() as stack:
            writers = [stack.enter_context(parquet_writer(file, schema)) for file in files]
            for table in blocks_of(self.parts, _GROUP_ROWS):
                place = self._partition_of(table[_STORED_HEALPIX].to_numpy()) // per_file
                for number in np.unique(place).tolist():
                    chosen = table.take(np.flatnonzero(place == number))
                    writers[number].write_table(chosen.replace_schema_metadata(None))
        return files

    def _partition_of(self, healpix: NDArray[np.int64]) -> NDArray[np.int64]:
        """The index of the partition that each pixel lies in; -1 where there is none."""
        index = np.searchsorted(self.starts, healpix, side="right") - 1
        return np.where((index >= 0) & (healpix < self.ends[index]), index, -1)

    def _write_partitions(self, file: Path, schemas: dict[str, pa.Schema]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        table = parquet.read_table(file)
        # Stable: objects of one pixel stay in the order of the data.
        table = table.take(np.argsort(table[_STORED_HEALPIX].to_numpy(), kind="stable"))
        names = [HEALPIX if name == _STORED_HEALPIX else name for name in table.column_names]
        table = table.rename_columns(names)
        where = self._partition_of(table[HEALPIX].to_numpy())
        halves = {name: _as_float16(table, name) for name in self.vectors}
        for index in np.unique(where).tolist():
            begin, end = np.searchsorted(where, (index, index + 1)).tolist()
            rows = table.slice(begin, end - begin)
            objects = rows.drop_columns(self.vectors)
            beside = [name for name in (self.id, "ra", "dec", HEALPIX) if name in rows.column_names]
            vectors = rows.select(beside)
            for name, column in halves.items():
                vectors = vectors.append_column(name, column.slice(begin, end - begin))
            for catalogue, content in ((OBJECTS, objects), (VECTORS, vectors)):
                _write(self.folder / catalogue / "dataset" / self.pixels[index].file, content)
                schemas[catalogue] = content.schema
            self._note_margin(objects, index)
            pixel = self.pixels[index]
            place = {"Norder": pixel.order, "Dir": pixel.number // 10_000 * 10_000, "Npix": pixel.number}
            constants = {name: pa.array(np.full(len(rows), value)) for name, value in place.items()}
            self.index.append(pa.table({self.id: rows[self.id], HEALPIX: rows[HEALPIX], **constants}))

    def _note_margin(self, objects: pa.Table, index: int) -> None:
        """Keep the objects of a partition that lie near others, for the margins of those."""
        rough = self._around(objects, _TWICE, _FEW_POINTS)
        objects = objects.take(np.flatnonzero((rough != index).any(axis=1)))
        where = self._around(objects, _WIDER, _POINTS)
        for other in np.unique(where[(where >= 0) & (where != index)]).tolist():
            chosen = np.flatnonzero((where == other).any(axis=1))
            self.margin[other].append(objects.take(chosen))

    def _around(self, objects: pa.Table, margins: float, points: int) -> NDArray[np.int64]:
        """(n, points) the partitions on a circle around each object, so many margins wide; -1 where there is none."""
        found = _circle_pixels(objects["ra"].to_numpy(), objects["dec"].to_numpy(), margins * MARGIN_ARCSEC, points)
        return self._partition_of(found.reshape(-1)).reshape(found.shape)

    def _write_margin(self, schema: pa.Schema) -> None:
        import pyarrow as pa

        folder, rows = self.folder / MARGIN, 0
        pixels = [self.pixels[index] for index in sorted(self.margin)]
        for index in sorted(self.margin):
            table = pa.concat_tables(self.margin[index]).sort_by(HEALPIX)
            rows += len(table)
            _write(folder / "dataset" / self.pixels[index].file, table)
        properties = {
            **catalogue_properties(MARGIN, "margin", rows, schema.names, PARTITION_ROWS),
            "hats_primary_table_url": OBJECTS,
            "hats_margin_threshold": MARGIN_ARCSEC,
        }
        write_catalogue_files(folder, properties, pixels, schema)

    def _write_index(self) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.concat_tables(self.index).sort_by(self.id)
        folder = self.folder / INDEX
        file = folder / "dataset" / "index" / "part.0.parquet"
        _write(file, table)
        # Readers find the files of an index by its `_metadata`.
        about = parquet.read_metadata(file)
        about.set_file_path("index/part.0.parquet")
        parquet.write_metadata(table.schema, folder / "dataset" / "_metadata", metadata_collector=[about])
        properties = {
            "obs_collection": INDEX,
            "dataproduct_type": "index",
            "hats_nrows": len(table),
            "hats_primary_table_url": OBJECTS,
            "hats_index_column": self.id,
            "hats_version": "v0.1",
        }
        write_properties(folder / "hats.properties", properties)
        write_properties(folder / "properties", properties)
        parquet.write_metadata(table.schema, folder / "dataset" / "_common_metadata")

    def _write_collection(self) -> None:
        name = self.folder.stem
        write_properties(
            self.folder / "collection.properties",
            {
                "obs_collection": name,
                "hats_primary_table_url": OBJECTS,
                "all_margins": MARGIN,
                "default_margin": MARGIN,
                "all_indexes": f"{self.id} {INDEX}",
                "default_index": self.id,
                "all_extensions": f"{VECTORS} vectors.properties",
            },
        )
        write_properties(
            self.folder / "vectors.properties",
            {
                "obs_collection": VECTORS,
                "dataproduct_type": "extension",
                "hats_primary_table_url": OBJECTS,
                "hats_col_assn_primary": self.id,
                "hats_assn_join_table_url": VECTORS,
                "hats_col_assn_join": self.id,
                "hats_ext_cols": " ".join(self.vectors),
                "hats_ext_join_style": "left",
                "hats_ext_shares_primary_coords": "true",
                "hats_product_type_served": "embeddings",
            },
        )


def _column(parts: Sequence[Path], name: str) -> NDArray[np.int64]:
    from pyarrow import parquet

    return np.concatenate([parquet.read_table(part, columns=[name])[name].to_numpy() for part in parts])


def _as_float16(table: pa.Table, name: str) -> pa.Array:
    """A column of vectors with half the bytes.

    Raises:
        StoreError: a number is too large for it.
    """
    import pyarrow as pa

    vectors = table[name].combine_chunks()
    values = vectors.flatten().to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    if not np.isfinite(halves).all():
        raise StoreError(
            f"{name}: a vector has a number of {np.abs(values).max():.3g}, and float16 ends at 65504",
            hint="--set normalise=true, or another form of --output",
        )
    return pa.FixedSizeListArray.from_arrays(pa.array(halves), vectors.type.list_size)


def _write(file: Path, table: pa.Table) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with parquet_writer(file, table.schema) as writer:
        writer.write_table(table, row_group_size=_GROUP_ROWS)


def _circle_pixels(ra: NDArray[np.float64], dec: NDArray[np.float64], arcsec: float, points: int) -> NDArray[np.int64]:
    """(n, points) pixels at order 29 of a circle of this radius around each position."""
    from astropy import units
    from astropy_healpix.core import lonlat_to_healpix

    radius = np.radians(arcsec / 3600)
    angle = 2 * np.pi * np.arange(points) / points
    longitude, latitude = np.radians(ra)[:, None], np.radians(dec)[:, None]
    # The sphere's own trigonometry, so that poles need no care.
    sine = np.sin(latitude) * np.cos(radius) + np.cos(latitude) * np.sin(radius) * np.cos(angle)
    around = np.arcsin(np.clip(sine, -1, 1))
    turned = longitude + np.arctan2(
        np.sin(angle) * np.sin(radius) * np.cos(latitude), np.cos(radius) - np.sin(latitude) * sine
    )
    found = lonlat_to_healpix(turned * units.rad, around * units.rad, nside=2**29, order="nested")
    return np.asarray(found, np.int64)
