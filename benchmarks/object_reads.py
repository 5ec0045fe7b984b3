"""Objects per second from an AstroCLIP store in random order, as training reads: `python benchmarks/object_reads.py`.

A store of simulated pairs is prepared first, or one is given. Rates are by the clock and per second of processor time;
beside random rows stand consecutive ones, as embedding reads.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import open_objects
from polycli.astroclip.prepare import run
from polycli.requests import PrepareRequest


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        path = options.store
        if path is None:
            path = Path(scratch) / "mock.zarr"
            overrides = (f"mock.objects={options.objects}",)
            run(PrepareRequest(source="mock", inputs=(), output=path, overrides=overrides))
        store = open_objects(path)
        machine = f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"
        print(f"{machine}; {len(store)} objects, batches of {options.batch}")
        generator = np.random.default_rng(0)
        random = [generator.integers(0, len(store), options.batch) for _ in range(options.runs)]
        starts = generator.integers(0, max(1, len(store) - options.batch), options.runs)
        ordered = [np.arange(start, start + options.batch) % len(store) for start in starts]
        for what, read, there in (
            ("images", store.read_images, store.has_images),
            ("spectra", store.read_spectra, store.has_spectra),
        ):
            if there:
                for order, batches in (("random", random), ("in order", ordered)):
                    print(f"{what:<8} {order:<9} {rates(read, batches)}")


def rates(read: Callable[[NDArray[np.int64]], Any], batches: list[NDArray[np.int64]]) -> str:
    clock, processor = [], []
    for rows in batches:
        start, used = time.perf_counter(), time.process_time()
        read(rows)
        clock.append(len(rows) / (time.perf_counter() - start))
        processor.append(len(rows) / max(time.process_time() - used, 1e-9))
    return (
        f"median {statistics.median(clock):7.0f}/s, best {max(clock):7.0f}/s, "
        f"{statistics.median(processor):7.0f} per second of processor time"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--objects", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--scratch", type=Path, help="where a store is prepared")
    return parser.parse_args()


if __name__ == "__main__":
    main()
