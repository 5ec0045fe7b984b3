"""A block of a table in Parquet read in two ways: a row group through ParquetFile, and a fragment of pyarrow.dataset.

Each way reads all blocks of one file, one after the other, as a worker of `prepare xval` does, in a process of its own;
the ways take turns. Memory is the peak of that process above what it had when the libraries were imported.

    python benchmarks/parquet_blocks.py [--rows N] [--groups N] [--turns N] [--record NAME]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from _record import add_option, finish
from pyarrow import dataset, parquet

from polycli.report.table import Table, number

COLUMNS = 12
BATCH = 4096
WAYS = {"file": "ParquetFile.iter_batches", "dataset": "pyarrow.dataset, a fragment for each row group"}


def write(path: Path, rows: int, groups: int) -> None:
    """Half numbers with a gap in every tenth row, a quarter integers, a quarter short texts."""
    generator = np.random.default_rng(0)
    columns = {"id": pa.array([f"row {index}" for index in range(rows)])}
    for column in range(COLUMNS):
        if column % 4 < 2:
            values = generator.normal(size=rows)
            columns[f"x{column}"] = pa.array(values, mask=generator.random(rows) < 0.1)
        elif column % 4 == 2:
            columns[f"n{column}"] = pa.array(generator.integers(0, 1000, rows))
        else:
            columns[f"t{column}"] = pa.array(generator.choice(["dwarf", "giant", "unknown"], rows))
    parquet.write_table(pa.table(columns), path, row_group_size=-(-rows // groups))


def blocks_of_file(path: Path) -> Iterator[Iterator[pa.RecordBatch]]:
    """As polycli reads them: the file is opened for each block."""
    with parquet.ParquetFile(path) as file:
        groups = file.metadata.num_row_groups
    for group in range(groups):
        with parquet.ParquetFile(path) as file:
            yield file.iter_batches(batch_size=BATCH, row_groups=[group])


def blocks_of_dataset(path: Path) -> Iterator[Iterator[pa.RecordBatch]]:
    """The same through a dataset, opened for each block, on one thread as a worker is."""
    groups = len(fragments(path))
    for group in range(groups):
        yield fragments(path)[group].to_batches(batch_size=BATCH, use_threads=False)


def fragments(path: Path) -> list[dataset.Fragment]:
    (fragment,) = dataset.dataset(path, format="parquet").get_fragments()
    return list(fragment.split_by_row_group())


def measure(way: str, path: Path) -> dict[str, float]:
    """Processor seconds and megabytes of one way in this process; values become Python's, as a block's do."""
    # From here on the kernel counts the peak anew.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    began, started = peak(), time.process_time()
    rows = 0
    for batches in (blocks_of_file if way == "file" else blocks_of_dataset)(path):
        for batch in batches:
            rows += len(list(zip(*(column.to_pylist() for column in batch.columns), strict=True)))
    seconds = time.process_time() - started
    return {"seconds": seconds, "megabytes": (peak() - began) / 1e6, "rows": rows}


def peak() -> int:
    """The most bytes of memory that this process had since the kernel began to count."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    add_option(parser)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(measure(options.measure[0], Path(options.measure[1]))))
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        write(path, options.rows, options.groups)
        for _ in range(options.turns):
            for way in WAYS:
                done = subprocess.run(
                    [sys.executable, __file__, "--measure", way, str(path)], capture_output=True, text=True, check=True
                )
                found[way].append(json.loads(done.stdout))
        size = path.stat().st_size
    figures = {
        way: {key: statistics.median(turn[key] for turn in turns) for key in turns[0]} for way, turns in found.items()
    }
    rows = [
        [text, number(figures[way]["seconds"]), number(figures[way]["megabytes"]), f"{figures[way]['rows']:,.0f}"]
        for way, text in WAYS.items()
    ]
    caption = (
        f"{options.rows:,} rows of {COLUMNS + 1} columns in {options.groups} row groups, {size / 1e6:.1f} MB; "
        f"medians of {options.turns} turns, each in a process of its own."
    )
    table = Table(
        "Blocks of a Parquet file", ["read by", "processor seconds", "peak MB above imports", "rows"], rows, caption
    )
    finish(options, {**figures, "bytes": size, "turns": options.turns}, table)


if __name__ == "__main__":
    main()
