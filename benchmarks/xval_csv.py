"""CSV to store in `prepare xval`: processor time, peak memory, and whether every number arrived exactly, beside pandas.

The table has ten columns: positions, magnitudes with gaps, a flux over many decades, a count, a class and a remark,
about 80 bytes a row. Numbers are compared with those that Python's csv and float read from the same file. In turns,
each in a process of its own: `prepare` with so many workers, and pandas' read_csv(dtype=str) with its numbers parsed.

    python benchmarks/xval_csv.py [--megabytes 200] [--turns 1] [--workers 1 --workers 2] [--theirs PYTHON]
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import _record
import numpy as np

from polycli.report.table import Table
from polycli.requests import PrepareRequest
from polycli.xval import prepare
from polycli.xval.data.store import open_records

KINDS = ("star", "galaxy", "quasar", "planetary nebula")
HEADER = "id,ra,dec,mag_g,mag_r,mag_z,flux (Jy),count,kind,note"
COLUMNS = ("id", "ra", "dec", "mag_g", "mag_r", "mag_z", "flux", "count")
_ROWS = 20_000
THEIRS = "pandas: texts, then numbers"


def write_table(path: Path, megabytes: float) -> int:
    """Write a table of about so many bytes; returns its rows."""
    generator, rows = np.random.default_rng(0), 0
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{HEADER}\n")
        while file.tell() < megabytes * 1e6:
            unit, counts = generator.random((_ROWS, 6)), generator.poisson(300, _ROWS)
            kinds, fluxes = generator.integers(4, size=_ROWS), 10 ** generator.normal(-3, 2, _ROWS)
            for number, (a, b, c, d, e, f) in enumerate(unit.tolist()):
                gap = "" if e < 0.02 else f"{15 + 9 * e:.4f}"
                note = "ok" if f < 0.9 else f"blend {int(1000 * f)}"
                file.write(
                    f"{rows + number},{360 * a:.6f},{180 * b - 90:.6f},{15 + 9 * c:.4f},{15 + 9 * d:.4f},{gap},"
                    f"{fluxes[number]:.5e},{counts[number]},{KINDS[kinds[number]]},{note}\n"
                )
            rows += _ROWS
    return rows


def exact(store: Path, table: Path) -> bool:
    """Whether all numbers of all rows are those of the file, in their order."""
    records = open_records(store)
    places = [records.key_paths.index(key) for key in COLUMNS]
    with table.open(encoding="utf-8") as file:
        lines = csv.reader(file)
        next(lines)
        for start in range(0, records.store.manifest.rows, 8192):
            rows = np.arange(start, min(start + 8192, records.store.manifest.rows))
            found = records.read(rows)
            got = np.full((len(rows), len(COLUMNS)), np.nan)
            owners = np.repeat(np.arange(len(rows)), found.number_lengths)
            got[owners, np.argsort(places)[found.number_keys]] = found.numbers
            expected = [[float(cell) if cell else np.nan for cell in next(lines)[: len(COLUMNS)]] for _ in rows]
            if not np.array_equal(got, np.array(expected), equal_nan=True):
                return False
        return next(lines, None) is None


@dataclass(frozen=True)
class Run:
    """What one way of reading the table took."""

    #: Of processor time, its own and its workers', and by the clock.
    seconds: float
    wall: float
    #: Most memory of one process, and what it had before the start.
    megabytes: float
    before: float


def prepared(table: Path, store: Path, workers: int) -> None:
    """Make the store."""
    shutil.rmtree(store, ignore_errors=True)
    settings = ("table.row_numbers=keep",)  # Numbers of rows are numbers to be compared as well.
    request = PrepareRequest(
        source="table", inputs=(table,), output=store, overrides=settings, workers=workers, json=True
    )
    prepare.run(request)


#: Reads all cells as texts, parses the columns of numbers, and prints what it took.
PANDAS = """
import json, resource, sys, time
import pandas as pd
def spent():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
(start, before), began = spent(), time.perf_counter()
frame = pd.read_csv(sys.argv[1], dtype=str, keep_default_na=False)
for column in frame.columns[: int(sys.argv[2])]:
    frame[column] = pd.to_numeric(frame[column].replace("", None))
end, most = spent()
print(json.dumps({"seconds": end - start, "wall": time.perf_counter() - began, "megabytes": most, "before": before}))
"""


def by_pandas(python: str, table: Path) -> Run:
    """What pandas takes, in an environment that has it."""
    line = [python, "-c", PANDAS, str(table), str(len(COLUMNS))]
    return Run(**json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout))


def measured(table: Path, store: Path, workers: int) -> Run:
    """What `prepare` takes in a fresh process; imports of this file are not counted."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_timed, table, store, workers).result()


def _timed(table: Path, store: Path, workers: int) -> Run:
    def spent() -> tuple[float, float]:
        mine, theirs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        seconds = sum(part.ru_utime + part.ru_stime for part in (mine, theirs))
        return seconds, max(part.ru_maxrss for part in (mine, theirs)) / 1024

    (before, megabytes), began = spent(), time.perf_counter()
    prepared(table, store, workers)
    after, most = spent()
    return Run(after - before, time.perf_counter() - began, most, megabytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--workers", type=int, action="append", help="of prepare; 1 if absent")
    parser.add_argument("--theirs", metavar="PYTHON", help="one that has pandas")
    _record.add_option(parser)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table, store = Path(folder) / "table.csv", Path(folder) / "table.zarr"
        rows = write_table(table, asked.megabytes)
        size = table.stat().st_size / 1e6
        ways: dict[str, Callable[[], Run]] = {
            f"prepare, {workers} process{'es' if workers > 1 else ''}": partial(measured, table, store, workers)
            for workers in asked.workers or [1]
        }
        if asked.theirs is not None:
            ways[THEIRS] = partial(by_pandas, asked.theirs, table)
        runs: dict[str, list[Run]] = {name: [] for name in ways}
        for _ in range(asked.turns):
            for name, way in ways.items():
                runs[name].append(way())
        right = exact(store, table)
    least = {name: min(found, key=lambda run: run.seconds) for name, found in runs.items()}
    theirs = least[THEIRS].seconds if THEIRS in least else math.nan
    lines = [
        [
            name,
            f"{run.seconds:.1f}",
            f"{run.wall:.1f}",
            f"{size / run.seconds:.1f}",
            f"{run.seconds / theirs:.2f}",
            f"{run.megabytes:.0f}",
            f"{run.before:.0f}",
        ]
        for name, run in least.items()
    ]
    table_of = Table(
        f"A CSV of {size:.0f} MB and {rows:,} rows of {HEADER.count(',') + 1} columns to a store",
        ["", "s of processor", "s", "MB/s and core", "times pandas'", "peak MiB of one process", "of them before"],
        lines,
        f"Least of {asked.turns} in turns. Every number of the store is that of the file: {'yes' if right else 'NO'}.",
    )
    figures = {"bytes": size * 1e6, "rows": rows, "exact": right}
    _record.finish(
        asked, {**figures, "runs": {name: [asdict(run) for run in all_] for name, all_ in runs.items()}}, table_of
    )


if __name__ == "__main__":
    main()
