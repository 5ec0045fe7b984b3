"""Search among a million vectors: exact against reading the file and FAISS, a small cone, and the index against exact.

`python benchmarks/search.py` writes two folders of embeddings of 512 numbers in float16, in the order of the sky, into
a temporary folder: of vectors in 2,000 clusters, and of vectors without any. One thread, files in memory, times of the
processor.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from _record import add_option, finish
from astropy import units
from astropy_healpix import HEALPix

from polycli.report.table import Table
from polycli.search.building import build
from polycli.search.index import faiss_library
from polycli.search.searcher import Searcher
from polycli.store.embeddings.joining import join
from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.store.embeddings.parts import PartWriter, with_vectors

WIDTH, CLUSTERS, ROW_GROUP, PART_ROWS = 512, 2000, 16_384, 131_072
COLUMN = "image_embedding"
REPEATS, ROUNDS, QUERIES, CONES = 5, 9, 5, 5
READ_BYTES = 2**22
#: A cone around a position holds so much of the whole sky.
CONE_SHARE = 0.01


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--unclustered-rows", type=int, default=200_000)
    parser.add_argument("--no-index", action="store_true", help="the exact search alone, which takes two minutes")
    add_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    faiss_library().omp_set_num_threads(1)
    sizes = {"clustered": options.rows, "unclustered": options.unclustered_rows}
    scans, indexes = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for kind, rows in sizes.items():
            folder = written(Path(scratch) / kind, rows, clustered=kind == "clustered")
            searcher = Searcher.open(folder)
            exact = scanned(kind, folder, searcher)
            scans.append(exact)
            if not options.no_index:
                indexes.append(indexed(kind, searcher, exact["scan_ms"]))
    load = f"Load of the machine when it ended: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
    exact_table = Table(
        "Exact search among vectors of 512 numbers in float16, one thread",
        ("vectors", "rows", "read GB/s", "first", "next", "ms", "FAISS flat ms", "equal", "1 % cone ms", "faster"),
        [
            (
                each["kind"],
                f"{each['rows']:,}",
                f"{each['read_gb']:.2f}",
                f"{each['first_gb']:.2f} ({each['first_share']:.0%})",
                f"{each['next_gb']:.2f} ({each['next_share']:.0%})",
                f"{each['scan_ms']:.0f}",
                f"{each['flat_ms']:.0f}",
                f"{each['equal']} of {QUERIES}",
                f"{each['cone_ms']:.1f}",
                f"{each['scan_ms'] / each['cone_ms']:.0f}x",
            )
            for each in scans
        ],
        caption="Processor time of one thread. Read: the files by 4 MiB into one buffer, warm; the least of nine "
        "rounds. First: the first search after opening, which finds out how long vectors are; next: those after "
        "it; both in GB/s, and in brackets the median share of the speed of the same round's reading. FAISS flat: "
        "float32 in memory. " + load,
    )
    index_table = Table(
        "Index of `search build` (inverted lists, float16), one query at a time",
        ("vectors", "rows", "lists", "looked at", "recall at 10", "build s", "ms", "faster than exact"),
        [
            (
                each["kind"],
                f"{each['rows']:,}",
                f"{each['lists']:,}",
                f"{each['probes']:,}",
                f"{each['recall']:.4f}",
                f"{each['build_s']:.0f}",
                f"{each['ms']:.2f}",
                f"{each['faster']:.1f}x",
            )
            for each in indexes
        ],
        caption="Wanted: a recall of 0.98 against the exact search on 1,000 queries.",
    )
    if options.no_index:
        finish(options, {"scans": scans}, exact_table)
    else:
        finish(options, {"scans": scans, "indexes": indexes}, exact_table, index_table)


def written(folder: Path, rows: int, *, clustered: bool) -> Path:
    """Embeddings of objects all over the sky, sorted by their pixel."""
    draw = np.random.default_rng(0)
    ra, dec = draw.uniform(0, 360, rows), np.degrees(np.arcsin(draw.uniform(-1, 1, rows)))
    grid = HEALPix(nside=2**29, order="nested")
    healpix = np.asarray(grid.lonlat_to_healpix(ra * units.deg, dec * units.deg), np.int64)
    order = np.argsort(healpix)
    middles = draw.standard_normal((CLUSTERS, WIDTH), dtype=np.float32)
    parts = folder.with_name(f"{folder.name}-parts")
    parts.mkdir()
    for number, first in enumerate(range(0, rows, PART_ROWS)):
        with PartWriter(parts, number) as writer:
            for begin in range(first, min(first + PART_ROWS, rows), ROW_GROUP):
                some = order[begin : min(begin + ROW_GROUP, first + PART_ROWS, rows)]
                vectors = draw.standard_normal((len(some), WIDTH), dtype=np.float32)
                if clustered:
                    vectors += 2 * middles[draw.integers(0, CLUSTERS, len(some))]
                table = pa.table({"object_id": some, "ra": ra[some], "dec": dec[some], "healpix29": healpix[some]})
                writer.write({"": with_vectors(table, {COLUMN: vectors.astype(np.float16)})})
    join(parts, folder, EmbeddingsHeader("astroclip", {"model_hash": "m"}, {}))
    return folder


def scanned(kind: str, folder: Path, searcher: Searcher) -> dict[str, Any]:
    """The speed of reading, of the exact search, of FAISS's, and of a search in a cone."""
    files = sorted(folder.glob("*.parquet"))
    size = sum(file.stat().st_size for file in files)
    draw = np.random.default_rng(1)
    rows = draw.integers(0, searcher.rows, QUERIES).tolist()
    queries = searcher.vectors(rows, COLUMN)
    found = [searcher.nearest(query, COLUMN, 10, columns=()) for query in queries]
    flat = flat_index(searcher)
    scaled = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    actions = {
        "read": lambda: read(files),
        "first": lambda: Searcher.open(folder).nearest_of_many(queries[:1], COLUMN, 10),
        "next": lambda: searcher.nearest_of_many(queries[:1], COLUMN, 10),
        "flat": lambda: flat.search(scaled[:1], 10),
    }
    # In turn, so that what else the machine does slows all of them alike.
    rounds = np.array([[timed(action) for action in actions.values()] for _ in range(ROUNDS)])
    seconds = dict(zip(actions, rounds.min(axis=0), strict=True))
    shares = dict(zip(actions, np.median(rounds[:, :1] / rounds, axis=0), strict=True))
    similar, same = flat.search(scaled, 10)
    equal = sum(
        # Rows whose similarities differ by less than float32 can tell may stand in another order.
        set(line.tolist()) == {each.row for each in answer.neighbours}
        and np.allclose(near, [each.similarity for each in answer.neighbours], atol=2e-6)
        for line, near, answer in zip(same, similar, found, strict=True)
    )
    radius = float(np.degrees(np.arccos(1 - 2 * CONE_SHARE)))
    cones = [
        searcher.cone(ra, dec, radius)
        for ra, dec in zip(draw.uniform(0, 360, CONES), draw.uniform(-80, 80, CONES), strict=True)
    ]
    cone_seconds = [best(lambda c=cone: searcher.nearest_of_many(queries[:1], COLUMN, 10, allowed=c)) for cone in cones]
    return {
        "kind": kind,
        "rows": searcher.rows,
        "bytes": size,
        **{f"{name}_gb": size / found / 1e9 for name, found in seconds.items()},
        **{f"{name}_share": float(share) for name, share in shares.items()},
        "scan_ms": 1e3 * float(seconds["next"]),
        "flat_ms": 1e3 * float(seconds["flat"]),
        "equal": equal,
        "cone_ms": 1e3 * float(np.median(cone_seconds)),
    }


def indexed(kind: str, searcher: Searcher, scan_ms: float) -> dict[str, Any]:
    """The recall of an index, and its speed against the exact search."""
    begun = time.perf_counter()
    made = build(searcher, COLUMN, recall=0.98, lists=None, force=False)
    build_seconds = time.perf_counter() - begun
    index = searcher.index(COLUMN)
    queries = searcher.vectors(np.random.default_rng(2).integers(0, searcher.rows, 50).tolist(), COLUMN)
    index.search(queries[:1], 10)
    milliseconds = 1e3 * best(lambda: [index.search(query[None], 10) for query in queries]) / len(queries)
    return {
        "kind": kind,
        "rows": searcher.rows,
        "lists": made["lists"],
        "probes": made["probes"],
        "recall": made["recall_at_10"],
        "build_s": build_seconds,
        "ms": milliseconds,
        "faster": scan_ms / milliseconds,
    }


def flat_index(searcher: Searcher) -> Any:  # noqa: ANN401  # A class without types.
    """FAISS's flat index of all vectors, made as long as one."""
    flat = faiss_library().IndexFlatIP(WIDTH)
    for partition in searcher.stored.partitions:
        vectors = torch.from_numpy(partition.vectors(COLUMN, 0, partition.rows)).float()
        flat.add((vectors / vectors.norm(dim=1, keepdim=True)).numpy())
    return flat


def read(files: list[Path]) -> int:
    """Read files from front to end into one buffer."""
    buffer, done = bytearray(READ_BYTES), 0
    for file in files:
        with file.open("rb", buffering=0) as opened:
            while count := opened.readinto(buffer):
                done += count
    return done


def timed(action: Callable[[], object]) -> float:
    """The processor seconds that an action takes: it is one thread's work in memory, and other programs run too."""
    begun = time.process_time()
    action()
    return time.process_time() - begun


def best(action: Callable[[], object]) -> float:
    """The shortest of some times that an action takes, in seconds."""
    return min(timed(action) for _ in range(REPEATS))


if __name__ == "__main__":
    main()
