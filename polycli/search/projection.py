"""A map of embeddings: every row as a point in the plane, with its nearest neighbours, in one Parquet file.

The file is beside the embeddings, `NAME.map.parquet`, and has all their columns but the vectors, and

    projection_x, projection_y    the point, by UMAP where umap-learn is installed, else by principal components
    neighbors                     {ids, distances}: rows of the nearest, from 0, and 1 - cosine similarity

under the names by which embedding-atlas finds them. `polycli serve` shows it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from polycli import console
from polycli.errors import MissingDependencyError, StoreError, UserError
from polycli.outputs import Output, OutputKind
from polycli.requests import JsonDocument
from polycli.search.building import build
from polycli.search.index import VectorIndex
from polycli.search.searcher import Searcher
from polycli.store.embeddings.partitions import Partition

if TYPE_CHECKING:
    import pyarrow as pa

Method = Literal["umap", "pca"]
Floats = NDArray[np.float32]
#: Neighbours of a point that are written.
NEIGHBOURS = 15
#: UMAP holds all vectors; beyond so many rows it takes hours, and principal components are what remains.
UMAP_ROWS = 500_000
#: Up to so many rows, all are compared with all: a minute or two of one processor at 512 numbers.
EXACT_ROWS = 50_000
_RECALL = 0.98
_KEY = b"polycli.map"
_ROWS_AT_ONCE = 4096
_QUERIES_AT_ONCE = 1024
_X, _Y, _NEIGHBOURS = "projection_x", "projection_y", "neighbors"


@dataclass(frozen=True)
class Projection:
    """The points of a map, in the order of the rows of the embeddings."""

    #: (rows, 2)
    points: Floats
    method: str
    #: The kind of vectors that it is of.
    kind: str

    def about(self) -> JsonDocument:
        """The facts that a page shows."""
        return {"points": len(self.points), "method": self.method, "kind": self.kind}

    def points_bytes(self) -> bytes:
        """All points as little-endian float32: x, y, x, y, ..."""
        return self.points.astype("<f4").tobytes()

    def values(self, searcher: Searcher, column: str) -> Floats:
        """(rows,) a column as numbers to colour the points by; NaN where it is unknown.

        Raises:
            UserError: there is no such column, or it is of texts.
        """
        import pyarrow as pa

        table = searcher.table([], [column])
        kind = table.schema.field(0).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise UserError(f"{searcher.path}: column {column} is {kind}, numbers were expected")
        parts = [partition.read([column])[column].cast(pa.float64(), safe=False) for partition in _parts(searcher)]
        found = np.concatenate([part.to_numpy().astype(np.float64) for part in parts])
        return found.astype(np.float32)


def map_path(embeddings: Path) -> Path:
    """The file of the map of these embeddings.

    >>> map_path(Path("survey.parquet")).name, map_path(Path("survey")).name
    ('survey.map.parquet', 'survey.map.parquet')
    """
    return embeddings.with_name(f"{embeddings.stem}.map.parquet")


MAP = OutputKind("a map of embeddings", (".parquet",), lambda path: _about(path) is not None, ask="--overwrite")


def make_map(
    searcher: Searcher,
    output: Path,
    *,
    vector: str | None = None,
    method: Method | None = None,
    neighbours: int = NEIGHBOURS,
    overwrite: bool = False,
    seed: int = 0,
) -> JsonDocument:
    """Compute and write the map of embeddings; returns what was written.

    Args:
        searcher: the embeddings.
        output: the Parquet file.
        vector: the kind of vectors; the first one without it.
        method: UMAP where it is installed and the rows are not too many, unless this says otherwise.
        neighbours: how many of each row are written; 0 writes none, which is far quicker.
        overwrite: whether a map that is there is replaced.
        seed: of UMAP.

    Raises:
        UserError: there are no such vectors, or fewer than three rows, or the output exists.
        MissingDependencyError: UMAP was asked for, and is not installed.
    """
    column = searcher.vector_column(vector)
    kind = searcher.kind_of(column)
    target = Output(output, MAP, overwrite, (searcher.path,))
    target.refuse()
    if searcher.rows < 3:
        raise UserError(f"{searcher.path}: has {searcher.rows} rows, and a map needs three or more")
    chosen = method or ("umap" if find_spec("umap") and searcher.rows <= UMAP_ROWS else "pca")
    if chosen == "umap" and find_spec("umap") is None:
        raise MissingDependencyError(
            "UMAP needs the package umap-learn", hint="pip install 'polycli[umap]', or --method pca"
        )
    if method is None and chosen == "pca":
        why = "is not installed" if find_spec("umap") is None else f"takes hours beyond {UMAP_ROWS:,} rows"
        console.note(f"the map is by principal components, for UMAP (extra umap) {why}")
    points = _umap(searcher, column, seed) if chosen == "umap" else principal_plane(searcher, column)
    about = {
        "method": chosen,
        "kind": kind,
        "rows": searcher.rows,
        "identity": searcher.stored.identity(),
        "seed": seed,
    }
    index = _index_of_many(searcher, column) if neighbours else None
    found = _nearest(searcher, column, min(neighbours, searcher.rows - 1), index) if neighbours else None
    about["neighbour_recall"] = None if index is None else index.facts.recall_at_10
    with target.writing() as new:
        _write(new, searcher, points, found, about)
    return {"output": str(output), **about, "neighbours": 0 if found is None else found[0].shape[1]}


def read_map(path: Path, searcher: Searcher) -> Projection | None:
    """The map in this file; None where there is no file.

    Raises:
        StoreError: it is no map, or one of other embeddings.
    """
    from pyarrow import ArrowException, parquet

    if not path.exists():
        return None
    about = _about(path)
    again = f"polycli search map {searcher.path} --overwrite"
    if about is None:
        raise StoreError(f"{path}: is no map of embeddings", hint=again)
    if about.get("identity") != searcher.stored.identity() or about.get("rows") != searcher.rows:
        raise StoreError(f"{path}: is a map of other vectors than {searcher.path} has now", hint=again)
    try:
        table = parquet.read_table(path, columns=[_X, _Y])
        points = np.stack([table[name].to_numpy() for name in (_X, _Y)], axis=1).astype(np.float32)
    except (ArrowException, OSError, KeyError) as error:
        raise StoreError(f"{path}: is damaged: {error}", hint=again) from error
    if points.shape != (searcher.rows, 2) or not np.isfinite(points).all():
        raise StoreError(f"{path}: does not have a point for each of {searcher.rows} rows", hint=again)
    return Projection(points, str(about["method"]), str(about["kind"]))


def principal_plane(searcher: Searcher, column: str) -> Floats:
    """(rows, 2) the vectors, of length one, along their two first principal components, in memory flat in rows.

    Each component points to where its largest entry is positive, so that the same vectors give the same map.
    """
    width = searcher.stored.vectors[column].width
    total, squares, count = np.zeros(width), np.zeros((width, width)), 0
    for block in _blocks(searcher, column):
        wide = block.astype(np.float64)
        total += wide.sum(axis=0)
        squares += wide.T @ wide
        count += len(wide)
    mean = total / count
    _, directions = np.linalg.eigh(squares / count - np.outer(mean, mean))
    # Of vectors of one number there is a single direction; the other one is nothing.
    plane = np.zeros((width, 2))
    best = directions[:, ::-1][:, :2]
    plane[:, : best.shape[1]] = best * np.sign(best[np.abs(best).argmax(axis=0), np.arange(best.shape[1])])
    parts = [(block - mean) @ plane for block in _blocks(searcher, column)]
    return np.concatenate(parts).astype(np.float32)


def _umap(searcher: Searcher, column: str, seed: int) -> Floats:
    import umap

    vectors = np.concatenate(list(_blocks(searcher, column)))
    console.say(f"UMAP of {len(vectors):,} vectors, which takes a minute for some ten thousand of them")
    near = min(15, len(vectors) - 1)
    # Random starting points where there are too few for the spectral ones.
    start = "spectral" if len(vectors) > 10 else "random"
    model = umap.UMAP(metric="cosine", n_neighbors=near, min_dist=0.1, random_state=seed, init=start, n_jobs=1)
    return np.asarray(model.fit_transform(vectors), np.float32)


def _blocks(searcher: Searcher, column: str) -> Iterator[Floats]:
    """Vectors of length one, some rows at a time; what is not finite or zero is zero."""
    for partition in _parts(searcher):
        for first in range(0, partition.rows, _ROWS_AT_ONCE):
            vectors = partition.vectors(column, first, min(first + _ROWS_AT_ONCE, partition.rows)).astype(np.float32)
            vectors = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0)
            length = np.linalg.norm(vectors, axis=1, keepdims=True)
            yield np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def _index_of_many(searcher: Searcher, column: str) -> VectorIndex | None:
    """An index where there are so many rows that to compare all with all takes long; made if there is none yet."""
    if searcher.rows <= EXACT_ROWS:
        return None
    if find_spec("faiss") is None:
        console.note(
            f"neighbours of {searcher.rows:,} rows take time with the square of the rows; with faiss (pip install "
            "'polycli[search]') an index finds them, and --neighbours 0 leaves them out"
        )
        return None
    made = build(searcher, column, recall=_RECALL, lists=None, force=False)
    console.note(f"neighbours are those that the index finds, {made['recall_at_10']:.2%} of them the nearest ones")
    return searcher.index(column)


def _nearest(
    searcher: Searcher, column: str, count: int, index: VectorIndex | None
) -> tuple[NDArray[np.int64], Floats]:
    """(rows, count) the nearest rows of each row but itself, and 1 - cosine similarity."""
    rows = np.full((searcher.rows, count), -1, np.int64)
    distance = np.full((searcher.rows, count), np.nan, np.float32)
    first = 0
    with console.progress(searcher.rows, "neighbours") as report:
        for block in _blocks(searcher, column):
            for start in range(0, len(block), _QUERIES_AT_ONCE):
                queries = block[start : start + _QUERIES_AT_ONCE]
                own = np.arange(first, first + len(queries))
                usable = np.flatnonzero(queries.any(axis=1))
                if len(usable):
                    others = own[usable, None]
                    if index is None:
                        found = searcher.nearest_of_many(queries[usable], column, count, without=others)
                    else:
                        found = index.search(queries[usable], count, others)
                    rows[own[usable]] = found.rows
                    distance[own[usable]] = 1 - found.similarity  # -inf where there are fewer, which are not written.
                first += len(queries)
                report.advance(len(queries))
    return rows, distance


def _write(
    path: Path,
    searcher: Searcher,
    points: Floats,
    found: tuple[NDArray[np.int64], Floats] | None,
    about: JsonDocument,
) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    writer: parquet.ParquetWriter | None = None
    own = (_X, _Y, _NEIGHBOURS)
    columns = [name for name in searcher.columns if name not in own]
    first = 0
    try:
        for partition in _parts(searcher):
            span = slice(first, first + partition.rows)
            table = partition.read(columns)
            table = table.append_column(_X, pa.array(points[span, 0])).append_column(_Y, pa.array(points[span, 1]))
            if found is not None:
                table = table.append_column(_NEIGHBOURS, _as_structs(found[0][span], found[1][span]))
            if writer is None:
                schema = table.schema.with_metadata({_KEY: json.dumps(about).encode()})
                writer = parquet.ParquetWriter(path, schema, compression="zstd")
            writer.write_table(table.cast(writer.schema))
            first += partition.rows
    finally:
        if writer is not None:
            writer.close()


def _as_structs(rows: NDArray[np.int64], distance: Floats) -> pa.Array:
    """Lists of rows and of distances for each row, as short as there are neighbours."""
    import pyarrow as pa

    known = rows >= 0
    offsets = pa.array(np.r_[0, np.cumsum(known.sum(axis=1))].astype(np.int32))
    ids = pa.ListArray.from_arrays(offsets, pa.array(rows[known]))
    distances = pa.ListArray.from_arrays(offsets, pa.array(distance[known]))
    return pa.StructArray.from_arrays([ids, distances], names=["ids", "distances"])


def _parts(searcher: Searcher) -> Iterator[Partition]:
    return iter(searcher.stored.partitions)


def _about(path: Path) -> JsonDocument | None:
    from pyarrow import ArrowException, parquet

    try:
        found: JsonDocument = json.loads((parquet.read_schema(path).metadata or {})[_KEY])
    except (ArrowException, OSError, KeyError, ValueError):
        return None
    return found
