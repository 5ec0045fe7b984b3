"""First neighbours on the page of `serve`: `python benchmarks/page.py`, a hundred thousand objects of 512 numbers.

A server is started as a user does, on embeddings that it has not opened before. Timed are its start, the first answer
of `/api/search` and later ones, by id, with all columns, and with a condition. Beside them in one run, plain numpy:
the same vectors in memory as float32 of length one, one product, and the 24 largest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
from _record import add_option, finish
from numpy.typing import NDArray

from polycli.report.table import Table
from polycli.store.embeddings.joining import join
from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.store.embeddings.parts import PartWriter, with_vectors

WIDTH, PART_ROWS, K, REPEATS = 512, 16_384, 24, 15


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path, vectors = written(Path(scratch) / "survey", options.rows)
        figures = {"rows": options.rows, "width": WIDTH, **of_numpy(vectors), **of_page(path, options.rows)}
    page, rival = figures["later_ms"], figures["numpy_ms"]
    figures["ratio"] = page / rival
    table = Table(
        f"The page at {options.rows:,} objects of {WIDTH} numbers",
        ("what", "ms"),
        [
            ("start of `polycli serve`, to its address", f"{figures['start_ms']:.0f}"),
            ("first neighbours", f"{figures['first_ms']:.0f}"),
            ("later neighbours, median", f"{page:.0f}"),
            ("later, with a condition that half of the rows pass", f"{figures['filtered_ms']:.0f}"),
            ("plain numpy in memory, median", f"{rival:.0f}"),
        ],
        caption=f"Later neighbours take {figures['ratio']:.1f} times as long as numpy, which has all vectors in memory "
        "as float32 and neither ids nor columns. One thread each. "
        f"Load of the machine when it ended: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.",
    )
    finish(options, figures, table)


def written(folder: Path, rows: int) -> tuple[Path, NDArray[np.float32]]:
    """Embeddings in float16 with ids and columns, and their vectors."""
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((rows, WIDTH), dtype=np.float32).astype(np.float16)
    folder.mkdir()
    parts = folder / "parts"
    parts.mkdir()
    for number, first in enumerate(range(0, rows, PART_ROWS)):
        count = min(PART_ROWS, rows - first)
        table = pa.table(
            {
                "object_id": 39_633_297_352_951_412 + np.arange(first, first + count),
                "redshift": draw.uniform(0, 1, count),
                **{f"mag_{band}": draw.normal(20, 1, count) for band in "grz"},
            }
        )
        with PartWriter(parts, number) as writer:
            writer.write({"": with_vectors(table, {"image_embedding": vectors[first : first + count]})})
    target = folder / "survey.parquet"
    join(parts, target, EmbeddingsHeader("toy", {"model_hash": "m"}, {}))
    return target, vectors.astype(np.float32)


def of_numpy(vectors: NDArray[np.float32]) -> dict[str, float]:
    """Milliseconds of the 24 nearest by one product."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def nearest(row: int) -> None:
        similarity = unit @ unit[row]
        best = np.argpartition(-similarity, K)[:K]
        best[np.argsort(-similarity[best])]

    return {"numpy_ms": median(timed(lambda row=row: nearest(row)) for row in range(REPEATS))}


def of_page(path: Path, rows: int) -> dict[str, float]:
    """Milliseconds of the server's start and of its answers."""
    started = time.perf_counter()
    line = [sys.executable, "-m", "polycli", "serve", str(path), "--port", "0"]
    server = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        start = 1000 * (time.perf_counter() - started)
        places = np.random.default_rng(1).integers(0, rows, 2 * REPEATS + 1).tolist()
        ids = [str(39_633_297_352_951_412 + place) for place in places]
        first = timed(lambda: asked(address, id=ids[0]))
        later = [timed(lambda name=name: asked(address, id=name)) for name in ids[1 : REPEATS + 1]]
        condition = "redshift < 0.5"
        filtered = [timed(lambda name=name: asked(address, id=name, where=condition)) for name in ids[REPEATS + 1 :]]
    finally:
        server.terminate()
        server.wait(30)
    return {"start_ms": start, "first_ms": first, "later_ms": median(later), "filtered_ms": median(filtered)}


def asked(address: str, **wanted: object) -> None:
    """Ask the page's server, and see to it that there are neighbours."""
    body = json.dumps({"k": K, **wanted}).encode()
    request = urllib.request.Request(f"{address}api/search", body, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # Our own server.
        document: dict[str, Any] = json.load(answer)
    assert len(document["neighbours"]) == K


def timed(act: Callable[[], object]) -> float:
    """Milliseconds that something takes."""
    started = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
