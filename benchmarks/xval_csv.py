"""CSV to store in `prepare xval`: megabytes a second and core, peak memory, and whether every number arrived exactly.

The table has ten columns: positions, magnitudes with gaps, a flux over many decades, a count, a class and a remark,
about 80 bytes a row. Numbers are compared with those that Python's csv and float read from the same file.

    python benchmarks/xval_csv.py [--megabytes 20]
"""

from __future__ import annotations

import argparse
import csv
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from polycli.requests import PrepareRequest
from polycli.xval import prepare
from polycli.xval.data.store import open_records

KINDS = ("star", "galaxy", "quasar", "planetary nebula")
HEADER = "id,ra,dec,mag_g,mag_r,mag_z,flux (Jy),count,kind,note"
COLUMNS = ("id", "ra", "dec", "mag_g", "mag_r", "mag_z", "flux", "count")
_ROWS = 20_000


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table, store = Path(folder) / "table.csv", Path(folder) / "table.zarr"
        rows = write_table(table, asked.megabytes)
        request = PrepareRequest(source="table", inputs=(table,), output=store, overrides=(), workers=1, json=True)
        began, wall = time.process_time(), time.perf_counter()
        prepare.run(request)
        seconds, wall = time.process_time() - began, time.perf_counter() - wall
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        size = table.stat().st_size / 1e6
        print(f"{size:.1f} MB, {rows} rows: {seconds:.1f} s of processor time, {wall:.1f} s in all")
        print(f"{size / seconds:.2f} MB/s and core, {1e6 * seconds / rows:.1f} us a row, peak memory {memory:.0f} MiB")
        print(f"every number exact: {exact(store, table)}")


if __name__ == "__main__":
    main()
