"""`prepare mpp --source arrays` and `--source well` beside plain h5py copying, in turns, one process each.

The copies read every byte and write every byte, synced: once as it lies in the source, and once compressed, in chunks
of 8 frames with shuffle and lzf, which is h5py's own codec of the kind that stores have (lz4); a store has about as
many bytes as the second. The second table says where the time of `prepare` goes.

    python benchmarks/mpp_prepare.py [--turns 5] [--record mpp_prepare]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import _record
import h5py
import numpy as np
from numpy.typing import NDArray

from polycli.mpp.prepare import run
from polycli.mpp.sources import array_read, hdf5_read
from polycli.report.table import Table
from polycli.requests import PrepareRequest
from polycli.store import builder, source_hashes, staging
from polycli.store import statistics as store_statistics

#: (trajectories, frames, fields, points along x and y)
SHAPES = {"large rows": (12, 32, 2, 128), "small rows": (200, 24, 4, 32)}
KEYS = ("arrays.axes=[trajectory, time, x, y]", "arrays.boundary={x: periodic, y: periodic}")
#: What is timed within `prepare`, by the places where it is called.
PARTS = {
    "hash of the source": [(source_hashes, "file_hash")],
    "reading": [(array_read.ArrayJob, "_read"), (hdf5_read.Hdf5Job, "_read")],
    "statistics in float64": [(store_statistics.RunningStatistics, "update")],
    "hash of the content": [(staging.ContentHash, "update")],
    "compressing and writing": [(staging, "write")],
    "reading back": [(staging, "reads_back")],
    "hash of the files": [(staging, "file_hash")],
    "syncing": [(staging, "sync_all"), (builder, "sync_folder")],
}


def waves(trajectories: int, frames: int, fields: int, points: int) -> NDArray[np.float32]:
    """Smooth frames that turn into each other, (trajectory, time, field, x, y)."""
    random = np.random.default_rng(0)
    wavenumber = np.hypot(np.fft.fftfreq(points)[:, None] * points, np.fft.rfftfreq(points) * points)
    noise = np.fft.rfft2(random.normal(size=(2, trajectories, 1, fields, points, points)))
    cosine, sine = np.fft.irfft2(noise * np.exp(-((8 * wavenumber / points) ** 2)), s=(points, points))
    phase = 0.2 * np.arange(frames)[None, :, None, None, None]
    return (cosine * np.cos(phase) + sine * np.sin(phase)).astype(np.float32)


def write_sources(folder: Path, values: NDArray[np.float32]) -> dict[str, Path]:
    """The same numbers as arrays of one's own and in The Well's schema, contiguous."""
    rows, frames, fields, points, _ = values.shape
    names = [f"u{number}" for number in range(fields)]
    own, well = folder / "own.h5", folder / "waves" / "data" / "train" / "waves.hdf5"
    well.parent.mkdir(parents=True)
    line = ((np.arange(points) + 0.5) / points).astype(np.float32)
    with h5py.File(own, "w") as file:
        for place, name in enumerate(names):
            file[name] = values[:, :, place]
        file["time"] = 0.1 * np.arange(frames)
    with h5py.File(well, "w") as file:
        file.attrs.update(
            dataset_name="waves", grid_type="cartesian", n_spatial_dims=2, n_trajectories=rows, simulation_parameters=[]
        )
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = ["x", "y"]
        for axis, steps in {"time": 0.1 * np.arange(frames), "x": line, "y": line}.items():
            dimensions.create_dataset(axis, data=steps).attrs.update(sample_varying=False, time_varying=False)
        for axis in "xy":
            boundary = file.create_group(f"boundary_conditions/{axis}_periodic")
            boundary.attrs.update(associated_dims=[axis], associated_fields=[], bc_type="PERIODIC")
            boundary.attrs.update(sample_varying=False, time_varying=False)
            boundary["mask"] = np.isin(np.arange(points), [0, points - 1])
        for group in ("scalars", "t0_fields", "t1_fields", "t2_fields"):
            file.create_group(group).attrs["field_names"] = names if group == "t0_fields" else []
        for place, name in enumerate(names):
            data = file["t0_fields"].create_dataset(name, data=values[:, :, place])
            data.attrs.update(dim_varying=[True, True], sample_varying=True, time_varying=True)
    return {"arrays": own, "well": folder / "waves"}


def copy(source: Path, target: Path, names: list[str], *, compressed: bool) -> int:
    """Copy trajectory by trajectory, synced; returns the bytes written."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        for name in names:
            chunks = (1, 8, *old[name].shape[2:])
            codec = {"chunks": chunks, "compression": "lzf", "shuffle": True} if compressed else {}
            data = new.create_dataset(name, old[name].shape, "f4", **codec)
            for row in range(len(data)):
                data[row] = old[name][row]
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return target.stat().st_size


def prepare(source: str, path: Path, output: Path, names: list[str]) -> int:
    """One `prepare`; returns the bytes of the store."""
    keys = (*KEYS, f"arrays.fields={{{', '.join(f'my.{name}: {name}' for name in names)}}}")
    request = PrepareRequest(
        source=source, inputs=(path,), output=output, workers=1, overrides=keys if source == "arrays" else ()
    )
    with contextlib.redirect_stderr(io.StringIO()):
        run(request)
    return sum(file.stat().st_size for file in output.rglob("*") if file.is_file())


@contextlib.contextmanager
def watched(seconds: dict[str, float]) -> Iterator[None]:
    """Add up the wall time of every part while it lasts."""

    def timed(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started

        return call

    with contextlib.ExitStack() as patches:
        for name, places in PARTS.items():
            for owner, attribute in places:
                patches.enter_context(mock.patch.object(owner, attribute, timed(name, getattr(owner, attribute))))
        yield


def measure(folder: Path, shape: tuple[int, int, int, int], turns: int) -> dict[str, Any]:
    """Medians over turns, and the part that each step has of `prepare --source arrays`."""
    sources = write_sources(folder, waves(*shape))
    names = [f"u{number}" for number in range(shape[2])]
    ways: dict[str, Callable[[Path], int]] = {
        "h5py copy": lambda target: copy(sources["arrays"], target, names, compressed=False),
        "h5py copy, lzf": lambda target: copy(sources["arrays"], target, names, compressed=True),
        "prepare, arrays": lambda target: prepare("arrays", sources["arrays"], target, names),
        "prepare, well": lambda target: prepare("well", sources["well"], target, names),
    }
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    sizes, shares = {}, list[dict[str, float]]()
    for turn in range(turns + 1):  # The first fills caches.
        for name, way in ways.items():
            target, parts = folder / "out", dict[str, float]()
            wall, cpu = time.perf_counter(), time.process_time()
            with watched(parts) if name == "prepare, arrays" else contextlib.nullcontext():
                sizes[name] = way(target)
            found = (time.perf_counter() - wall, time.process_time() - cpu)
            if turn:
                runs[name].append(found)
                if parts:
                    shares.append({part: seconds / found[0] for part, seconds in parts.items()})
            shutil.rmtree(target) if target.is_dir() else target.unlink()
    median = {name: [statistics.median(column) for column in zip(*found, strict=True)] for name, found in runs.items()}
    ratios = {
        base: {
            name: statistics.median(one[0] / other[0] for one, other in zip(found, runs[base], strict=True))
            for name, found in runs.items()
        }
        for base in ("h5py copy", "h5py copy, lzf")
    }
    share = {part: statistics.median(found.get(part, 0.0) for found in shares) for part in PARTS}
    megabytes = 4e-6 * np.prod([*shape, shape[-1]])
    return {"megabytes": megabytes, "median": median, "ratios": ratios, "sizes": sizes, "shares": share}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    _record.add_option(parser)
    options = parser.parse_args()
    figures = {}
    for label, shape in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            figures[label] = measure(Path(folder), shape, options.turns)
    rows = [
        (
            f"{label}: {way}",
            f"{found['sizes'][way] / 1e6:.0f}",
            f"{wall:.2f}",
            f"{cpu:.2f}",
            *(f"{found['ratios'][base][way]:.2f}" for base in found["ratios"]),
        )
        for label, found in figures.items()
        for way, (wall, cpu) in found["median"].items()
    ]
    parts = [(part, *(f"{100 * found['shares'][part]:.0f} %" for found in figures.values())) for part in PARTS]
    rests = [1 - sum(found["shares"].values()) for found in figures.values()]
    parts.append(("checks, records, renames, publishing", *(f"{100 * rest:.0f} %" for rest in rests)))
    shapes = "; ".join(
        f"{label}: {figures[label]['megabytes']:.0f} MB, {n} trajectories of {t} x {c} x {p} x {p}"
        for label, (n, t, c, p) in SHAPES.items()
    )
    _record.finish(
        options,
        figures,
        Table(
            "Preparing arrays and The Well's files beside copying them",
            ("what", "MB written", "seconds", "processor seconds", "times the copy", "times the compressed copy"),
            rows,
            f"Medians of {options.turns} turns, one process. {shapes}.",
        ),
        Table("Where the time of `prepare --source arrays` goes", ("part", *SHAPES), parts),
    )


if __name__ == "__main__":
    main()
