"""Random training windows per second from stores, against h5py on the source files: `python benchmarks/store_reads.py`.

Every way delivers the same bytes: float32 (16, T, C, H, W) batches of windows drawn at random. Runs of all ways are
interleaved, so that a busy machine slows all alike; medians and the best run are printed, with processor time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from polycli.store import reader
from polycli.store.builder import StoreBuilder
from polycli.store.layout import ArrayLayout, Compression
from polycli.store.reader import Store, Window, open_store

FILES = {
    "diffusion-reaction (source: lzf)": "2D/diffusion-reaction/2D_diff-react_NA_NA.h5",
    "shallow water (source: contiguous)": "2D/shallow-water/2D_rdb_NA_NA.h5",
}
BATCH, FRAMES = 16, 16
DIMS = ("trajectory", "time", "field", "x", "y")
Batch = NDArray[np.float32]
#: Reads windows into a batch.
Way = Callable[[list[Window], Batch], None]


def main() -> None:
    options = arguments()
    sources = {name: options.data / path for name, path in FILES.items() if (options.data / path).is_file()}
    if not sources:
        sys.exit(f"{options.data}: none of PDEBench's shallow-water and diffusion-reaction files there; give --data")
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; windows of {FRAMES} frames, batches of {BATCH}")
    for name, source in sources.items():
        with tempfile.TemporaryDirectory(dir=options.scratch) as scratch, h5py.File(source) as file:
            trajectories = [file[key]["data"] for key in sorted(file)]
            print(f"\n{name}: {len(trajectories)} x {trajectories[0].shape}")
            ways = {"h5py": from_source(trajectories)}
            chunks = (4, 8, 16) if options.layouts else (8,)
            compressions: tuple[Compression, ...] = ("blosc-lz4", "none") if options.layouts else ("blosc-lz4",)
            for chunk in chunks:
                for compression in compressions:
                    store = build(Path(scratch) / f"{chunk}-{compression}.zarr", trajectories, chunk, compression)
                    size = sum(entry.size for entry in store.manifest.files.values()) / 1e6
                    label = f"store, chunk {chunk}, {compression}, {size:.0f} MB"
                    ways |= {f"{label}, {way}": call for way, call in ways_to_read(store, options.contexts)}
            report(ways, trajectories, options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "pdebench"
    parser.add_argument("--data", type=Path, default=beside, help="folder of PDEBench's files (default: %(default)s)")
    parser.add_argument("--layouts", action="store_true", help="also chunks of 4 and 16 frames, and no compression")
    parser.add_argument("--contexts", action="store_true", help="also other limits of tensorstore, and separate arrays")
    parser.add_argument("--batches", type=int, default=16, help="batches per run")
    parser.add_argument("--runs", type=int, default=9, help="interleaved runs of every way")
    parser.add_argument("--scratch", type=Path, default=None, help="where the stores are built")
    return parser.parse_args()


def build(path: Path, trajectories: list[h5py.Dataset], chunk: int, compression: Compression) -> Store:
    """A store of all trajectories, (time, x, y, field) in the source and (time, field, x, y) in the store."""
    builder = StoreBuilder(path, fingerprint="0" * 64)
    keys = [str(number) for number in range(len(trajectories))]
    for key, data in zip(keys, trajectories, strict=True):
        frames, x, y, fields = data.shape
        layout = ArrayLayout.of_trajectories(
            "fields", DIMS, (frames, fields, x, y), frames_per_chunk=chunk, compression=compression
        )
        builder.stage(key, layout, (np.moveaxis(data[at : at + 16], -1, 1) for at in range(0, frames, 16)))
        builder.finish(key, {})
    builder.publish(
        keys,
        {},
        family="mpp",
        name=path.stem,
        row_ids=keys,
        row_splits=["train"] * len(keys),
        split_rule="all train",
        statistics={},
    )
    return open_store(path, verify="full")


def from_source(trajectories: list[h5py.Dataset]) -> Way:
    """One window after the other, straight into place where the source has one field, else with its axes moved."""

    def read(windows: list[Window], out: Batch) -> None:
        for place, window in enumerate(windows):
            data = trajectories[window.row]
            if data.shape[-1] == 1:
                data.read_direct(out[place].reshape(FRAMES, *data.shape[1:]), window.frames)
            else:
                out[place] = np.moveaxis(data[window.frames], -1, 1)

    return read


def ways_to_read(store: Store, contexts: bool) -> Iterator[tuple[str, Way]]:  # noqa: FBT001  # one switch
    """The reader as it is used, one window at a time, and, if asked, other settings of tensorstore."""
    yield f"{BATCH} in flight", lambda windows, out: discard(store.read_windows("fields", windows, out=out))
    yield "one at a time", lambda windows, out: one_at_a_time(store, windows, out)
    if not contexts:
        return
    array = store._open("fields")  # noqa: SLF001  # the raw array, for what the reader does not do
    yield f"{BATCH} in flight into arrays of their own", lambda windows, out: into_own_arrays(array, windows, out)
    usual = reader.CONTEXT
    for label, limits in {
        "2 threads": {"data_copy_concurrency": {"limit": 2}},
        "32 files at once": {"file_io_concurrency": {"limit": 32}},
        "2 files at once": {"file_io_concurrency": {"limit": 2}},
        "16 MiB cache": {"cache_pool": {"total_bytes_limit": 2**24}},
    }.items():
        reader.CONTEXT = {**usual, **limits}
        other = open_store(store.path)
        other.read_rows("fields", [0])
        yield (
            f"{BATCH} in flight, {label}",
            lambda windows, out, other=other: discard(other.read_windows("fields", windows, out=out)),
        )
    reader.CONTEXT = usual


def one_at_a_time(store: Store, windows: list[Window], out: Batch) -> None:
    for place, window in enumerate(windows):
        store.read_windows("fields", [window], out=out[place : place + 1])


def into_own_arrays(array: ts.TensorStore, windows: list[Window], out: Batch) -> None:
    futures = [array[window.row, window.frames].read(order="C") for window in windows]
    for place, future in enumerate(futures):
        out[place] = future.result()


def discard(_batch: NDArray[np.generic]) -> None:
    """The batch is in place already."""


def report(ways: dict[str, Way], trajectories: list[h5py.Dataset], options: argparse.Namespace) -> None:
    """Check that all ways deliver the same, time them in turn, and print."""
    frames, x, y, fields = trajectories[0].shape
    generator = np.random.default_rng(0)
    count = options.batches * BATCH
    rows, starts = generator.integers(0, len(trajectories), count), generator.integers(0, frames - FRAMES + 1, count)
    windows = [Window(int(row), int(start), FRAMES) for row, start in zip(rows, starts, strict=True)]
    out = np.zeros((BATCH, FRAMES, fields, x, y), np.float32)
    expected = out.copy()
    ways["h5py"](windows[:BATCH], expected)
    for name, read in ways.items():
        out.fill(np.nan)
        read(windows[:BATCH], out)
        assert np.array_equal(out, expected), name
    rates: dict[str, list[float]] = {name: [] for name in ways}
    costs: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.runs):
        for name, read in ways.items():
            wall, processor = time.perf_counter(), time.process_time()
            for start in range(0, count, BATCH):
                read(windows[start : start + BATCH], out)
            rates[name].append(count / (time.perf_counter() - wall))
            costs[name].append((time.process_time() - processor) / count)
    base = {"median": statistics.median(rates["h5py"]), "best": max(rates["h5py"])}
    width = max(map(len, ways))
    print(f"{'':{width}}  windows/s: median     best   x h5py: median  best   processor us per window")
    for name in ways:
        median, best = statistics.median(rates[name]), max(rates[name])
        ratios = f"{median / base['median']:16.2f} {best / base['best']:5.2f}"
        print(f"{name:{width}}  {median:17.0f} {best:8.0f} {ratios} {statistics.median(costs[name]) * 1e6:25.0f}")


if __name__ == "__main__":
    main()
