"""Opens published embeddings of any form for reading parts of them: partitions, columns, vectors, ids, positions."""

from __future__ import annotations

import csv
import difflib
import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polycli.errors import StoreError, UserError
from polycli.requests import JsonDocument
from polycli.store.embeddings.hats_layout import OBJECTS, VECTORS, Pixel
from polycli.store.embeddings.kind import read_manifest
from polycli.store.embeddings.manifest import MANIFEST_NAME, ROWS
from polycli.store.embeddings.partitions import (
    Partition,
    RowGroups,
    VectorColumn,
    ZarrRows,
    partitions_of,
    reading,
    zarr_partitions,
)
from polycli.store.embeddings.parts import parts_of
from polycli.store.embeddings.units import UnitPlace
from polycli.store.hashing import canonical_hash

if TYPE_CHECKING:
    import pyarrow as pa

#: Names under which ids are written, by families and by others.
_IDS = ("object_id", "record_id", "trajectory", "id", "objid", "source_id", "targetid")
#: A Parquet file ends with the length of its footer in four bytes and four letters.
_FOOTER_TAIL = 8
_PARQUET = b"PAR1"
_POSITIONS = (("ra", "dec"),)
_VECTOR_TYPES = {"halffloat": "float16", "float": "float32", "double": "float64"}


@dataclass(frozen=True, eq=False)
class Lengths:
    """The lengths of all vectors of a column."""

    #: (rows,).
    values: NDArray[np.float32] = field(repr=False)
    #: NaN where a vector is not finite.
    shortest: float
    longest: float

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Lengths:
        """Find out the shortest and the longest, once for all searches."""
        return cls(values, float(values.min(initial=1)), float(values.max(initial=1)))


@dataclass(frozen=True)
class StoredEmbeddings:
    """Published embeddings, of which nothing but their description is in memory."""

    path: Path
    #: Empty where others wrote them.
    manifest: JsonDocument = field(repr=False)
    partitions: Sequence[Partition] = field(repr=False)
    #: All columns but those of vectors, in order.
    columns: tuple[str, ...]
    vectors: Mapping[str, VectorColumn]
    #: The column of ids; None where there is none.
    id_column: str | None
    #: The columns of right ascension and declination in degrees; None where there are none.
    position_columns: tuple[str, str] | None
    #: The lengths of vectors by the name of their column, as far as a search has found them out by now.
    lengths: dict[str, Lengths] = field(default_factory=dict, repr=False, compare=False)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.partitions[-1].first + self.partitions[-1].rows if self.partitions else 0

    def partition_of(self, row: int) -> Partition:
        """The partition in which a row lies."""
        return self.partitions[bisect_right(self.partitions, row, key=lambda partition: partition.first) - 1]

    def take(self, rows: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """These columns of some rows, in the order of `rows`."""
        import pyarrow as pa

        if not rows:
            return self.partitions[0].read(columns).slice(0, 0)
        found: list[tuple[list[int], pa.Table]] = []
        for places, partition in _by_partition(self, rows):
            inside = [rows[place] - partition.first for place in places]
            found.append((places, partition.read(columns).take(inside)))
        table = pa.concat_tables([table for _, table in found], promote_options="permissive")
        return table.take(np.argsort(np.concatenate([places for places, _ in found]), kind="stable"))

    def vectors_of(self, rows: Sequence[int], column: str) -> NDArray[np.float32]:
        """(n, width) the vectors of some rows, in the order of `rows`."""
        vectors = np.empty((len(rows), self.vectors[column].width), np.float32)
        for places, partition in _by_partition(self, rows):
            inside = np.array([rows[place] - partition.first for place in places], np.int64)
            # What float32 has no room for becomes infinite, and is refused as a query.
            with np.errstate(over="ignore"):
                vectors[places] = partition.vectors_at(column, inside)
        return vectors

    def identity(self) -> str:
        """A hash that other vectors do not have: of the manifest, and of sizes and footers of all files.

        Manifests and footers hold the hashes of what they describe; `inspect --verify` compares those with the bytes.
        """
        files = dict.fromkeys(path for partition in self.partitions for path in partition.paths)
        marks = [(path.relative_to(self.path.parent).as_posix(), path.stat().st_size, _mark(path)) for path in files]
        # Files of others hold no hashes, so their times tell whether one has changed.
        times = {} if self.manifest else {"times": [path.stat().st_mtime_ns for path in files]}
        return canonical_hash([self.manifest or times, [[name.partition("/")[2], *mark] for name, *mark in marks]])


def open_embeddings(path: Path) -> StoredEmbeddings:
    """Open published embeddings, in any form, or a HATS catalogue or Parquet file of others that has vectors.

    Raises:
        UserError: there are none at this path, or they are not published yet.
        StoreError: they are damaged, or hold no vectors.
    """
    manifest = read_manifest(path)
    if path.suffix == ".zarr" and manifest:
        partitions: Sequence[Partition] = zarr_partitions(path)
        names, vectors = _zarr_columns(zarr_partitions(path), manifest)
    elif path.is_file() or (manifest and path.suffix != ".hats"):
        files = parts_of(path, ROWS) if path.is_dir() else [_parquet_file(path)]
        groups = partitions_of((file,) for file in files)
        partitions, (names, vectors) = groups, _parquet_columns(groups)
    else:
        groups = partitions_of(_hats_files(path, manifest))
        partitions, (names, vectors) = groups, _parquet_columns(groups)
    if not partitions or not vectors:
        raise StoreError(f"{path}: holds no vectors", hint="polycli embed writes embeddings")
    opened = StoredEmbeddings(
        path,
        manifest,
        partitions,
        names,
        vectors,
        _id_column(names),
        next((pair for pair in _POSITIONS if set(pair) <= set(names)), None),
    )
    if opened.rows != manifest.get("rows", opened.rows):
        raise StoreError(
            f"{path}: has {opened.rows:,} rows, and its manifest says {manifest['rows']:,}: files are missing or added",
            hint=f"polycli inspect {path} --verify",
        )
    return opened


def _mark(path: Path) -> str:
    """A hash of a Parquet file's footer, or of a small file."""
    with path.open("rb") as file:
        if path.suffix == ".parquet":
            size = path.stat().st_size
            file.seek(max(0, size - _FOOTER_TAIL))
            length = int.from_bytes(file.read(4), "little")
            file.seek(max(0, size - _FOOTER_TAIL - length))
        return hashlib.file_digest(file, "sha256").hexdigest()


def _by_partition(stored: StoredEmbeddings, rows: Sequence[int]) -> Iterable[tuple[list[int], Partition]]:
    """The partitions that some rows lie in, each with the places of its rows among them."""
    places: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        if not 0 <= row < stored.rows:
            raise UserError(f"{stored.path}: has rows 0 to {stored.rows - 1}, and no row {row}")
        places.setdefault(stored.partition_of(row).first, []).append(place)
    return [(found, stored.partition_of(first)) for first, found in sorted(places.items())]


def _id_column(names: Sequence[str]) -> str | None:
    known = {name.lower(): name for name in reversed(names)}
    return next((known[name] for name in _IDS if name in known), None)


def _parquet_columns(groups: Sequence[RowGroups]) -> tuple[tuple[str, ...], dict[str, VectorColumn]]:
    """The names of columns, and those of vectors; of two files with equal columns, each once."""
    import pyarrow as pa

    names: dict[str, None] = {}
    vectors: dict[str, VectorColumn] = {}
    for index, (file, _) in enumerate(groups[0].groups if groups else ()):
        for column in file.schema:
            kind = column.type
            is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
            if (is_list or pa.types.is_fixed_size_list(kind)) and str(kind.value_type) in _VECTOR_TYPES:
                width = _first_width(groups, index, column.name) if is_list else kind.list_size
                vectors[column.name] = VectorColumn(column.name, width, _VECTOR_TYPES[str(kind.value_type)])
            elif not pa.types.is_nested(kind):
                names.setdefault(column.name)
    found = {name: column for name, column in vectors.items() if column.width}
    if groups:
        groups[0].widths.update({name: column.width for name, column in found.items()})
    return tuple(names), found


def _first_width(groups: Sequence[RowGroups], index: int, column: str) -> int:
    """The length of the first list in a column, which all are expected to have; 0 where no row has one."""
    for partition in groups:
        file, group = partition.groups[index]
        for lists in file.blocks(group, column):
            if (width := next((len(one) for one in lists if one.is_valid), 0)) > 0:
                return width
    return 0


def _zarr_columns(
    ranges: Sequence[ZarrRows], manifest: JsonDocument
) -> tuple[tuple[str, ...], dict[str, VectorColumn]]:
    arrays = ranges[0].arrays if ranges else {}
    names = [name for name, array in arrays.items() if array.ndim == 1]
    vectors = {
        name: VectorColumn(name, array.shape[1], str(array.dtype))
        for name, array in arrays.items()
        if array.ndim == 2 and name in (manifest.get("vectors") or {})
    }
    # Arrays of a group have no order: ids come first, as in other forms.
    first = _id_column(names)
    return tuple(sorted(names, key=lambda name: (name != first, name))), vectors


def _hats_files(path: Path, manifest: JsonDocument) -> list[tuple[Path, ...]]:
    """The files of a catalogue in HATS in the order of the sky; of our own, with those of their vectors.

    Raises:
        UserError: there is no such catalogue.
    """
    _refuse_what_is_none(path, manifest)
    if manifest:
        folders = [path / OBJECTS, path / VECTORS]
    else:
        properties = _properties(path / "collection.properties")
        folders = [path / properties["hats_primary_table_url"] if "hats_primary_table_url" in properties else path]
    pixels = reading(folders[0], lambda: _pixels(folders[0]))
    return [tuple(_pixel_file(folder, pixel) for folder in folders) for pixel in pixels]


def _parquet_file(path: Path) -> Path:
    """A single file, which is Parquet.

    Raises:
        UserError: it is something else.
        StoreError: it is damaged.
    """
    with path.open("rb") as file:
        begins = file.read(len(_PARQUET))
        file.seek(max(0, path.stat().st_size - len(_PARQUET)))
        ends = file.read()
    if begins != _PARQUET and path.suffix != ".parquet":
        raise UserError(f"{path}: these are no embeddings, and no HATS catalogue", hint=f"polycli inspect {path}")
    if {begins, ends} != {_PARQUET}:
        raise StoreError(
            f"{path}: is damaged: it does not {'begin' if begins != _PARQUET else 'end'} as a Parquet file does",
            hint="embed the data again, or copy the file again",
        )
    return path


def _pixels(catalogue: Path) -> list[Pixel]:
    with (catalogue / "partition_info.csv").open(encoding="utf-8", newline="") as file:
        pixels = [Pixel(int(line["Norder"]), int(line["Npix"])) for line in csv.DictReader(file)]
    return sorted(pixels, key=lambda pixel: pixel.first)


def _pixel_file(catalogue: Path, pixel: Pixel) -> Path:
    file = catalogue / "dataset" / pixel.file
    if file.is_dir():
        raise StoreError(f"{file}: partitions of several files are not read", hint="give a catalogue with one each")
    return file


def _properties(file: Path) -> dict[str, str]:
    """The lines `key=value` of a file of properties; empty where there is no such file."""
    if not file.is_file():
        return {}
    lines = file.read_text(encoding="utf-8").splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#")]
    return {key.strip(): value.strip() for key, value in pairs}


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def _refuse_what_is_none(path: Path, manifest: JsonDocument) -> None:
    if manifest:
        return
    if UnitPlace(path).work.is_dir():
        raise UserError(
            f"{path}: these embeddings are not published yet",
            hint=f"polycli status {path} says how far they are; the line that made them goes on",
        )
    if not path.exists():
        folder = path.parent if path.parent.is_dir() else Path()
        near = difflib.get_close_matches(
            path.name, [entry.name for entry in folder.iterdir() if read_manifest(entry)], n=1
        )
        raise UserError(
            f"{path}: does not exist", hint=f"did you mean {folder / near[0]}?" if near else "polycli embed makes them"
        )
    for name in (MANIFEST_NAME, "zarr.json"):
        if (path / name).is_file() and not _is_json(path / name):
            raise StoreError(
                f"{path / name}: is damaged: it is not JSON", hint="embed the data again, or copy it again"
            )
    if not any((path / name).is_file() for name in ("collection.properties", "hats.properties")):
        raise UserError(f"{path}: these are no embeddings, and no HATS catalogue", hint=f"polycli inspect {path}")
