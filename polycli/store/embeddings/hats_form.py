"""Embeddings as a HATS collection: objects, their margin and an index of their ids, and their vectors beside them.

    NAME.hats/
        _MANIFEST.json          as of all embeddings
        collection.properties   names the catalogues
        objects/                all columns but the vectors
        objects_5arcsec/        of each partition the objects that lie less than 5 arcsec outside of it
        objects_id/             of each id its partition
        vectors/                id, position and vectors as float16, a catalogue of its own
        vectors.properties      says that they are an extension of the objects

Rows are shared out to at most 64 files of neighbouring partitions first, each of which is then sorted in memory. Of a
collection that grows, partitions that nothing is added to keep their files; those that get too large are divided.
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
from polycli.store.embeddings.hats_before import Before
from polycli.store.embeddings.hats_layout import (
    HEALPIX,
    INDEX,
    MARGIN,
    OBJECTS,
    STORED_HEALPIX,
    VECTORS,
    Pixel,
    catalogue_properties,
    partitions,
    write_catalogue_files,
    write_properties,
)
from polycli.store.embeddings.hats_sky import Sky, circle_pixels
from polycli.store.embeddings.manifest import MANIFEST_NAME, ROWS, SEAL_KEY, EmbeddingsHeader, TableFacts, manifest
from polycli.store.embeddings.parts import blocks_of, link, parquet_writer, schema_of
from polycli.store.sealing import entries_of, new_seal, seal
from polycli.store.staging import sync_trees, write_text

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of a partition, and of a row group in it.
PARTITION_ROWS = 100_000
_GROUP_ROWS = 16_384
MARGIN_ARCSEC = 5.0
_MOST_FILES = 64
#: What stands in the column of pixels for no position.
_UNKNOWN = -1
#: The circle around an object is looked at in so many points, and is so much wider than the margin: no corner of
#: another pixel comes within 5 arcsec between two of them.
_POINTS, _WIDER = 128, 1.03
#: Before, fewer points of a circle of twice the width tell which objects are worth it.
_FEW_POINTS, _TWICE = 16, 2.0


def as_hats(
    new: Path,
    header: EmbeddingsHeader,
    tables: Mapping[str, Sequence[Path]],
    facts: Mapping[str, TableFacts],
    before: Path | None = None,
) -> JsonDocument:
    """Make the collection `new` of the parts of the tables; returns the manifest.

    With `before`, of what that collection holds and of new rows: the files of partitions that nothing is added to are
    linked, and the bytes are those of all rows at once.

    Raises:
        StoreError: there are no positions, or a vector is too large for float16.
    """
    there = Before(before)
    writer = _Collection(new, tables[ROWS], list(facts[ROWS].vectors), there)
    writer.write()
    for name, parts in tables.items():
        if name != ROWS:
            (new / f"_{name}").mkdir()
            for part in parts:
                part.rename(new / f"_{name}" / part.name)
    sync_trees([new])
    known = there.entries(writer.linked)
    found = entries_of(new, without=new / MANIFEST_NAME, known=known)
    files = {name: entry.model_dump() for name, entry in found.items()}
    vectors = {name: {**entry, "dtype": "float16"} for name, entry in facts[ROWS].vectors.items()}
    document = manifest(header, {**facts, ROWS: TableFacts(writer.rows, vectors)}, files)
    token = new_seal()
    write_text(new / MANIFEST_NAME, json.dumps({**document, SEAL_KEY: token}, indent=1) + "\n")
    seal(new / MANIFEST_NAME, token)
    return document


class _Collection:
    """The catalogues of one collection, on their way."""

    def __init__(self, folder: Path, parts: Sequence[Path], vectors: Sequence[str], before: Before) -> None:
        schema = schema_of(parts)
        missing = [name for name in ("ra", "dec", STORED_HEALPIX) if name not in schema.names]
        if missing:
            raise StoreError(f"a HATS catalogue needs positions, and there is no column {missing[0]}")
        self.folder, self.parts, self.vectors, self.before = folder, parts, vectors, before
        self.id = schema.names[0]
        positions = _column(parts, STORED_HEALPIX)
        if (count := int((positions == _UNKNOWN).sum())) > 0:
            raise StoreError(f"a HATS catalogue needs positions, and {count:,} objects have none")
        healpix = np.sort(np.concatenate([before.healpix(), positions]))
        self.rows = len(healpix)
        self.sky = Sky(partitions(healpix, PARTITION_ROWS))
        #: The partitions that were not there before, or were parts of a larger one: their margins are made anew.
        self.fresh = [index for index, pixel in enumerate(self.sky.pixels) if pixel not in before.pixels]
        self.near_fresh = self.sky.around(self.fresh, below=MARGIN_ARCSEC) if before.pixels else set()
        self.margin: dict[int, list[pa.Table]] = defaultdict(list)
        self.index: list[pa.Table] = before.index(self.id)
        self.schemas: dict[str, pa.Schema] = {}
        #: Files of what was there that serve as they are, by their paths in the collection.
        self.linked: list[str] = []

    def write(self) -> None:
        """Write all catalogues and the properties of the collection."""
        shared = self.folder.parent / "shared"
        shared.mkdir()
        files = self._share_out(shared)
        per_file = -(-len(self.sky.pixels) // len(files))
        for number, file in enumerate(files):
            last = min((number + 1) * per_file, len(self.sky.pixels))
            self._write_partitions(file, range(number * per_file, last))
        remove(shared)
        for name in (OBJECTS, VECTORS):
            columns = [column for column in self.schemas[name].names if column not in self.vectors]
            properties = catalogue_properties(name, "object", self.rows, columns, PARTITION_ROWS)
            write_catalogue_files(self.folder / name, properties, self.sky.pixels, self.schemas[name])
        self._write_margin(self.schemas[OBJECTS])
        self._write_index()
        self._write_collection()

    def _share_out(self, shared: Path) -> list[Path]:
        """Write the new rows of neighbouring partitions into one file each; returns the files in the sky's order."""
        per_file = -(-len(self.sky.pixels) // _MOST_FILES)
        files = [shared / f"{number}.parquet" for number in range(-(-len(self.sky.pixels) // per_file))]
        schema = schema_of(self.parts).remove_metadata()
        with ExitStack() as stack:
            writers = [stack.enter_context(parquet_writer(file, schema)) for file in files]
            for table in blocks_of(self.parts, _GROUP_ROWS):
                place = self.sky.partition_of(table[STORED_HEALPIX].to_numpy()) // per_file
                for number in np.unique(place).tolist():
                    chosen = table.take(np.flatnonzero(place == number))
                    writers[number].write_table(chosen.replace_schema_metadata(None))
        return files

    def _write_partitions(self, file: Path, indices: range) -> None:
        """Write some partitions, of the new rows in a file and of those that were there."""
        from pyarrow import parquet

        table = parquet.read_table(file)
        # Stable: objects of one pixel stay in the order of the data.
        table = table.take(np.argsort(table[STORED_HEALPIX].to_numpy(), kind="stable"))
        names = [HEALPIX if name == STORED_HEALPIX else name for name in table.column_names]
        table = table.rename_columns(names)
        where = self.sky.partition_of(table[HEALPIX].to_numpy())
        beside = [name for name in (self.id, "ra", "dec", HEALPIX) if name in names]
        vectors = table.select(beside)
        for name in self.vectors:
            vectors = vectors.append_column(name, _as_float16(table, name))
        objects = table.drop_columns(self.vectors)
        self.schemas |= {OBJECTS: objects.schema, VECTORS: vectors.schema}
        for index in indices:
            begin, end = np.searchsorted(where, (index, index + 1)).tolist()
            if begin == end and self.sky.pixels[index] in self.before.pixels:
                self._keep_partition(index)
            else:
                new = {OBJECTS: objects.slice(begin, end - begin), VECTORS: vectors.slice(begin, end - begin)}
                self._write_partition(index, new)

    def _keep_partition(self, index: int) -> None:
        """Give the files of a partition that nothing is added to another name."""
        pixel = self.sky.pixels[index]
        for catalogue in (OBJECTS, VECTORS):
            self._link(catalogue, pixel)
        if index in self.near_fresh:
            objects = self.before.rows(OBJECTS, pixel)
            if objects is not None:
                self._note_margin(objects, index, only=self.fresh)

    def _write_partition(self, index: int, new: Mapping[str, pa.Table]) -> None:
        """Write the objects and vectors of one partition: those that were there, and the new ones."""
        import pyarrow as pa

        pixel = self.sky.pixels[index]
        for catalogue, rows in new.items():
            old = self.before.rows(catalogue, pixel)
            if catalogue == OBJECTS:
                if old is not None and index in self.near_fresh:
                    self._note_margin(old, index, only=self.fresh)
                self._note_margin(rows, index)
                self.index.append(rows.select([self.id, HEALPIX]))
            whole = _by_healpix(rows if old is None else pa.concat_tables([old.cast(rows.schema), rows]))
            _write(self.folder / catalogue / "dataset" / pixel.file, whole)

    def _note_margin(self, objects: pa.Table, index: int, *, only: Sequence[int] | None = None) -> None:
        """Keep the objects of a partition that lie near others, or near some of them, for the margins of those."""
        if len(objects) == 0:
            return
        rough = self._around(objects, _TWICE, _FEW_POINTS)
        objects = objects.take(np.flatnonzero((rough != index).any(axis=1)))
        where = self._around(objects, _WIDER, _POINTS)
        others = np.unique(where[(where >= 0) & (where != index)])
        for other in (others if only is None else np.intersect1d(others, only)).tolist():
            chosen = np.flatnonzero((where == other).any(axis=1))
            self.margin[other].append(objects.take(chosen))

    def _around(self, objects: pa.Table, margins: float, points: int) -> NDArray[np.int64]:
        """(n, points) the partitions on a circle around each object, so many margins wide; -1 where there is none."""
        found = circle_pixels(objects["ra"].to_numpy(), objects["dec"].to_numpy(), margins * MARGIN_ARCSEC, points)
        return self.sky.partition_of(found.reshape(-1)).reshape(found.shape)

    def _write_margin(self, schema: pa.Schema) -> None:
        """Write the margins that have come, and those of partitions whose margin has grown; link the others."""
        import pyarrow as pa

        folder, rows, pixels = self.folder / MARGIN, 0, list[Pixel]()
        fresh = set(self.fresh)
        for index, pixel in enumerate(self.sky.pixels):
            old = None if index in fresh else self.before.margin(pixel)
            if index not in self.margin and old is None:
                continue
            if index in self.margin:
                there = [] if old is None else [old.cast(schema)]
                table = _by_healpix(pa.concat_tables([*there, *self.margin[index]]))
                _write(folder / "dataset" / pixel.file, table)
            elif old is not None:
                table = old
                self._link(MARGIN, pixel)
            rows += len(table)
            pixels.append(pixel)
        properties = {
            **catalogue_properties(MARGIN, "margin", rows, schema.names, PARTITION_ROWS),
            "hats_primary_table_url": OBJECTS,
            "hats_margin_threshold": MARGIN_ARCSEC,
        }
        write_catalogue_files(folder, properties, pixels, schema)

    def _link(self, catalogue: str, pixel: Pixel) -> None:
        name = Path(catalogue) / "dataset" / pixel.file
        link(self.before.folder / name, self.folder / name)
        self.linked.append(name.as_posix())

    def _write_index(self) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.concat_tables(self.index).sort_by([(self.id, "ascending"), (HEALPIX, "ascending")])
        for name, values in self.sky.columns_of(table[HEALPIX].to_numpy()).items():
            table = table.append_column(name, pa.array(values))
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


def _by_healpix(table: pa.Table) -> pa.Table:
    """The rows in the order of the sky; those of one pixel stay in their order."""
    return table.take(np.argsort(table[HEALPIX].to_numpy(), kind="stable")).combine_chunks()
