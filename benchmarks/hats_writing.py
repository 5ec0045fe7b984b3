"""Writes one table as a HATS collection, by us and by hats-import: `python benchmarks/hats_writing.py --theirs PYTHON`.

PYTHON is the interpreter of an environment with the package hats-import. Both make a catalogue of the objects, its
margin of 5 arcsec and an index of ids; ours has the vectors in a catalogue of their own besides. One process and one
thread each; processor time is told beside the clock, for other work on the machine does not count in it. What is
imported and started once is left out on both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from _record import add_option, finish
from astropy import units
from astropy_healpix import HEALPix
from pyarrow import parquet

from polycli.report.table import Table
from polycli.store.embeddings.hats_form import MARGIN_ARCSEC, PARTITION_ROWS
from polycli.store.embeddings.joining import join
from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.store.embeddings.parts import PartWriter, with_vectors

UNIT = 16_384
#: What the other interpreter runs: it imports and starts everything, writes a small collection, and then is timed.
THEIRS = """
import json, sys, time
from pathlib import Path
from dask.distributed import Client, LocalCluster
from hats_import import __version__ as version
from hats_import.collection.arguments import CollectionArguments
from hats_import.collection.run_import import run

def write(source, folder, client, alone):
    folder.mkdir(parents=True)
    made = CollectionArguments(output_artifact_name="sky", output_path=folder, progress_bar=False)
    made = made.catalog(input_file_list=[source], file_reader="parquet", ra_column="ra", dec_column="dec",
                        pixel_threshold={rows}, highest_healpix_order=10)
    if not alone:
        made = made.add_margin(margin_threshold={margin}, is_default=True)
        made = made.add_index(indexing_column="object_id")
    clock, processor = time.monotonic(), time.process_time()
    run(made, client)
    return [time.monotonic() - clock, time.process_time() - processor]

small, source, folder = map(Path, sys.argv[1:])
options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
with LocalCluster(**options) as cluster, Client(cluster) as client:
    write(small, folder / "first", client, False)
    catalogue = write(source, folder / "second", client, True)
    print(json.dumps([version, catalogue, write(source, folder / "third", client, False)]))
"""


def table(rows: int, width: int) -> pa.Table:
    """Objects over the whole sky, a tenth of them near one place, with some columns and a vector."""
    draw = np.random.default_rng(0)
    ra, dec = draw.uniform(0, 360, rows), np.degrees(np.arcsin(draw.uniform(-1, 1, rows)))
    dense = rows // 10
    ra[:dense], dec[:dense] = draw.normal(150, 1, dense), draw.normal(2, 1, dense)
    pixels = HEALPix(nside=2**29, order="nested").lonlat_to_healpix(ra * units.deg, dec * units.deg)
    columns = {
        "object_id": draw.permutation(rows),
        "ra": ra,
        "dec": dec,
        "healpix29": np.asarray(pixels, np.int64),
        "redshift": draw.exponential(0.3, rows),
        "mag_r": draw.normal(20, 1, rows).astype(np.float32),
        "split": np.array(["train", "test"])[draw.integers(0, 2, rows)],
    }
    vectors = draw.standard_normal((rows, width), dtype=np.float32)
    return with_vectors(pa.table(columns), {"image_embedding": vectors})


def ours(whole: pa.Table, folder: Path) -> list[float]:
    """Seconds of the clock and of the processor, from the parts of units to a collection."""
    parts = folder / "parts"
    parts.mkdir(parents=True)
    for number, first in enumerate(range(0, len(whole), UNIT)):
        with PartWriter(parts, number) as writer:
            writer.write({"": whole.slice(first, UNIT)})
    clock, processor = time.monotonic(), time.process_time()
    join(parts, folder / "sky.hats", EmbeddingsHeader("astroclip", {"model_hash": "m"}, {}))
    return [time.monotonic() - clock, time.process_time() - processor]


def theirs(interpreter: str, whole: pa.Table, folder: Path) -> tuple[str, list[float], list[float]]:
    """The version of hats-import, and its seconds from one Parquet file to the catalogue, and to a collection."""
    halves = np.asarray(whole["image_embedding"].combine_chunks().flatten()).astype(np.float16)
    width = whole.schema.field("image_embedding").type.list_size
    column = pa.FixedSizeListArray.from_arrays(pa.array(halves), width)
    given = whole.drop_columns(["healpix29", "image_embedding"]).append_column("image_embedding", column)
    for name, some in (("small", given.slice(0, 2000)), ("whole", given)):
        parquet.write_table(some, folder / f"{name}.parquet", row_group_size=UNIT)
    program = THEIRS.replace("{rows}", str(PARTITION_ROWS)).replace("{margin}", str(MARGIN_ARCSEC))
    command = [interpreter, "-c", program, *(str(folder / name) for name in ("small.parquet", "whole.parquet", "sky"))]
    # Our packages are not theirs, unless the environment says so.
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
    version, catalogue, collection = json.loads(done.stdout.splitlines()[-1])
    return version, catalogue, collection


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--theirs", required=True, metavar="PYTHON", help="an interpreter that has hats-import")
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--width", type=int, default=64, help="numbers of a vector")
    parser.add_argument("--scratch", type=Path, default=None)
    add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        place = Path(scratch)
        whole = table(options.rows, options.width)
        ours(whole.slice(0, 2000), place / "small")
        clock, processor = ours(whole, place / "ours")
        (place / "theirs").mkdir()
        version, catalogue, collection = theirs(options.theirs, whole, place / "theirs")
    named = {
        "polycli: objects, vectors, margin, index": [clock, processor],
        f"hats-import {version}: objects, margin, index": collection,
        f"hats-import {version}: objects alone": catalogue,
    }
    figures = {"rows": options.rows, "width": options.width, "hats-import": version, "seconds": named}
    load = f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the end."
    finish(
        options,
        figures,
        Table(
            f"Writing a HATS collection of {options.rows:,} objects with vectors of {options.width} numbers",
            ("by", "s", "s of processor", "times polycli's"),
            [
                (name, f"{seconds[0]:.2f}", f"{seconds[1]:.2f}", f"{seconds[1] / processor:.1f}")
                for name, seconds in named.items()
            ],
            caption=f"The last column is of processor time; the aim is 3. {load}",
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
