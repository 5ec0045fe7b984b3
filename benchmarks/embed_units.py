"""What units cost `embed`, and whether memory and speed stay flat in rows: `python benchmarks/embed_units.py`.

Bookkeeping is everything of a start but the encoder: writing each unit, reading it back, hashing, noting and syncing
it, joining and publishing. It is measured with an encoder of fixed speed and vectors of 512 numbers, at the sizes of
units that `embed` chooses. Memory and speed are those of a toy encoder of 16 numbers, each size in its own process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from _record import add_option, finish
from numpy.typing import NDArray

from polycli.report.table import Table
from polycli.requests import EmbedRequest
from polycli.sections import UnitSettings
from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.store.embeddings.parts import Tables, with_vectors
from polycli.store.embeddings.plan import data_identity
from polycli.workflow.embed import begin, embed
from polycli.workflow.embedding.rows import Advance, Opened, Rows

BATCH, WIDTH, TOY_WIDTH = 64, 512, 16
#: Rows of a unit, and rows a second that an encoder gives.
UNITS = ((16_384, 500.0), (4_096, 100.0))


class Encoder:
    """Vectors at a fixed speed: the time that a network would take is slept, and noted."""

    def __init__(self, width: int, rows_per_second: float | None) -> None:
        self.width, self.rows_per_second, self.seconds = width, rows_per_second, 0.0
        self.values = np.random.default_rng(0).standard_normal((BATCH * 64, width), dtype=np.float32)

    def __call__(self, batches: Sequence[NDArray[np.int64]], _: int, advance: Advance) -> Tables:
        """Rows and their vectors, at the encoder's speed."""
        begun = time.monotonic()
        rows = np.concatenate(batches)
        tables = {"": with_vectors(pa.table({"object_id": rows}), {"toy_embedding": self.values[: len(rows)]})}
        if self.rows_per_second:
            time.sleep(max(0.0, len(rows) / self.rows_per_second - (time.monotonic() - begun)))
        advance(len(rows))
        self.seconds += time.monotonic() - begun
        return tables


def embedded(output: Path, encoder: Encoder, rows: int, unit: int | None) -> float:
    """Embed into `output`; returns the seconds."""
    request = EmbedRequest(checkpoint=Path("none"), data=(), output=output, json=True)
    data = Rows(
        "toy",
        data_identity("toy"),
        BATCH,
        encoder,
        ids=lambda batch: [str(row) for row in batch],
        count=rows,
        take=np.arange,
    )
    begun = time.monotonic()
    target = begin(request, UnitSettings(unit_rows=unit))
    embed(target, Opened(EmbeddingsHeader("toy", {"model_hash": "m"}, {}), [data]), noun=("row", "rows"))
    return time.monotonic() - begun


def bookkeeping(scratch: Path, seconds: float) -> list[dict[str, float]]:
    """Of each size of unit: seconds of an embed beside its encoder, for each unit and as a share."""
    found = []
    # What is imported and set up once is no cost of units.
    embedded(scratch / "first", Encoder(WIDTH, None), 4 * BATCH, None)
    for unit, speed in UNITS:
        count = max(2, round(seconds * speed / unit))
        encoder = Encoder(WIDTH, speed)
        processor = time.process_time()
        total = embedded(scratch / f"{unit}", encoder, count * unit, unit)
        processor = time.process_time() - processor
        beside = total - encoder.seconds
        found.append(
            {
                "rows_per_unit": unit,
                "rows_per_second": speed,
                "units": count,
                "seconds_per_unit": encoder.seconds / count,
                "bookkeeping_per_unit": beside / count,
                "share": beside / encoder.seconds,
                # The encoder sleeps, so all of it is bookkeeping; other work on the machine does not count in it.
                "processor_per_unit": processor / count,
                "processor_share": processor / encoder.seconds,
            }
        )
    return found


def of_size(output: Path, rows: int) -> dict[str, float]:
    """Peak memory and speed of one size, for the process that is this one."""
    before = peak_memory()
    seconds = embedded(output, Encoder(TOY_WIDTH, None), rows, 16_384)
    return {"rows": rows, "seconds": seconds, "peak_mib": peak_memory(), "before_mib": before}


def peak_memory() -> float:
    """The most memory that this process ever had, in MiB. getrusage would count what its parent had when it forked."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def sizes(scratch: Path, counts: Sequence[int]) -> list[dict[str, float]]:
    """Every form and size in a process of its own."""
    found = []
    for suffix in ("", ".parquet", ".zarr"):
        for rows in counts:
            output = scratch / f"toy-{rows}{suffix}"
            command = [sys.executable, __file__, "--one", str(output), str(rows)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found.append({"form": suffix or "folder", **json.loads(done.stdout)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="sizes of the toy data"
    )
    parser.add_argument("--seconds", type=float, default=70.0, help="of encoding for each size of unit")
    parser.add_argument("--scratch", type=Path, default=None, help="where embeddings are written")
    parser.add_argument("--one", nargs=2, metavar=("OUTPUT", "ROWS"), help=argparse.SUPPRESS)
    add_option(parser)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(of_size(Path(options.one[0]), int(options.one[1]))))
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        costs = bookkeeping(Path(scratch), options.seconds)
        toys = sizes(Path(scratch), options.rows)
    load = f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the end."
    finish(
        options,
        {"bookkeeping": costs, "sizes": toys},
        Table(
            "Units of `embed`: bookkeeping beside an encoder of 512 numbers",
            (
                "rows of a unit",
                "encoder, rows/s",
                "units",
                "s encoding a unit",
                "s bookkeeping a unit",
                "share",
                "of processor",
            ),
            [
                (
                    f"{cost['rows_per_unit']:,}",
                    f"{cost['rows_per_second']:g}",
                    f"{cost['units']:g}",
                    f"{cost['seconds_per_unit']:.2f}",
                    f"{cost['bookkeeping_per_unit']:.3f}",
                    f"{cost['share']:.2%}",
                    f"{cost['processor_share']:.2%}",
                )
                for cost in costs
            ],
            caption=f"Writing, reading back, hashing, joining and publishing included; the aim is 3 %. "
            f"Waiting for the disk and for other work on the machine is in the clock's share alone. {load}",
        ),
        Table(
            "Rows of `embed`: memory and speed of a toy encoder of 16 numbers",
            ("form", "rows", "s", "rows/s", "peak MiB", "of them before the start"),
            [
                (
                    toy["form"],
                    f"{toy['rows']:,}",
                    f"{toy['seconds']:.2f}",
                    f"{toy['rows'] / toy['seconds']:,.0f}",
                    f"{toy['peak_mib']:.0f}",
                    f"{toy['before_mib']:.0f}",
                )
                for toy in toys
            ],
            caption=f"Units of 16,384 rows. {load}",
        ),
    )


if __name__ == "__main__":
    main()
