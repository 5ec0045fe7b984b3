"""Random rows per second from stores of many small rows, by size of chunk: `python benchmarks/block_reads.py`.

Batches of 64 rows drawn at random of galaxy images (4 x 152 x 152 float32), spectra (7781 float32) and records (50 to
400 int32, of different length). Runs of all sizes are interleaved, so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from polycli.store.blocks import BlockBuilder, Column, ColumnSpec, Ragged
from polycli.store.columns import offsets_of
from polycli.store.reader import Store, open_store

BATCH = 64
CHUNKS = (16, 32, 64, 256, 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=128, help="size of each kind of data (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=20, help="interleaved runs of every size (default: %(default)s)")
    parser.add_argument("--scratch", type=Path, default=None, help="where the stores are built")
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; batches of {BATCH} random rows")
    for kind, column in columns(options.megabytes * 2**20).items():
        with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
            stores = {chunk: build(Path(scratch), column, chunk) for chunk in CHUNKS}
            print(f"\n{kind}: {len(column):,} rows")
            report(stores, options.runs, ragged=isinstance(column, Ragged))


def columns(size: int) -> dict[str, Column]:
    """Noise of about `size` bytes each: what compresses well would flatter large chunks."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(50, 400, size // 900)
    offsets = offsets_of(lengths)
    return {
        "images": draw.standard_normal((size // 369_664, 4, 152, 152), dtype=np.float32),
        "spectra": draw.standard_normal((size // 31_124, 7781), dtype=np.float32),
        "records": Ragged(draw.integers(0, 1000, offsets[-1], dtype=np.int32), offsets),
    }


def build(folder: Path, column: Column, kibibytes: int) -> Store:
    builder = BlockBuilder(folder / f"{kibibytes}.zarr", fingerprint="f" * 64)
    builder.stage("0", {"values": column}, {}, ids=[str(row) for row in range(len(column))], content=("values",))
    path = builder.publish(
        builder.rows(["0"]),
        {"values": ColumnSpec(chunk_bytes=kibibytes * 1024)},
        family="benchmark",
        name="rows",
        splits=["train"] * len(column),
        split_rule="all train",
        statistics={},
    )
    return open_store(path)


def report(stores: dict[int, Store], runs: int, *, ragged: bool) -> None:
    """Rows per second and processor time per row for every size of chunk."""
    draw = np.random.default_rng(1)
    seconds: dict[int, list[float]] = {chunk: [] for chunk in stores}
    processor: dict[int, list[float]] = {chunk: [] for chunk in stores}
    for _ in range(runs):
        for chunk, store in stores.items():
            rows = draw.integers(0, store.manifest.rows, BATCH)
            started, used = time.perf_counter(), time.process_time()
            if ragged:
                store.read_ragged("values", rows)
            else:
                store.read_rows("values", rows)
            seconds[chunk].append(time.perf_counter() - started)
            processor[chunk].append(time.process_time() - used)
    for chunk, store in stores.items():
        size = sum(entry.size for entry in store.manifest.files.values()) / 1e6
        rate, cost = BATCH / statistics.median(seconds[chunk]), statistics.median(processor[chunk]) / BATCH * 1e6
        print(f"  chunks of {chunk:>4} KiB: {rate:>8,.0f} rows/s, {cost:>6,.0f} us of processor a row, {size:,.0f} MB")


if __name__ == "__main__":
    main()
