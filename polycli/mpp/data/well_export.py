"""Writes a store as The Well's loader reads it: HDF5 files in folders for the splits, and stats.yaml beside them.

    DIR/data/train/NAME.hdf5, DIR/data/valid/NAME.hdf5, DIR/data/test/NAME.hdf5, DIR/stats.yaml

The loader takes DIR as its `path` with `well_split_name`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import yaml
from numpy.typing import NDArray

from polycli.console import counted, progress, say, warn
from polycli.errors import StoreError
from polycli.files.hdf5_output import SafeFile
from polycli.mpp.data.about import physics_of, statistics_of
from polycli.mpp.data.well_arrays import WellArray, well_arrays
from polycli.mpp.recipe.physics import PdeDescription
from polycli.outputs import Output, OutputKind
from polycli.requests import JsonDocument, Split
from polycli.store.reader import Store, Window, open_store

#: The folders by our word for the split.
FOLDERS: dict[Split, str] = {"train": "train", "validation": "valid", "test": "test"}
#: What The Well's own statistics never fall below, so that a constant field can be divided by it.
SMALLEST_STD = 1e-4
_STATISTICS = {
    "mean": "mean",
    "std": "std",
    "rms": "rms",
    "mean_delta": "mean_change",
    "std_delta": "std_change",
    "rms_delta": "rms_change",
}
_BLOCK_BYTES = 16 * 2**20
_DIMS = ("x", "y")
_RESERVED = ("dataset_name", "grid_type", "n_spatial_dims", "n_trajectories", "simulation_parameters")


def _is_export(path: Path) -> bool:
    return (path / "stats.yaml").is_file() and (path / "data").is_dir()


#: Entries of a folder that was written here: nothing else in it is lost when it is replaced.
WELL = OutputKind("data of The Well", ("",), _is_export, ask="--force replaces it", parts=("data", "stats.yaml"))


def export_well(store_path: Path, output: Path, *, force: bool = False) -> JsonDocument:
    """Write the store to the folder `output`, which appears when it is whole.

    Raises:
        PolycliError: no store of MPP, or something is there already.
    """
    target = Output(output, WELL, force, (store_path,))
    target.refuse()
    store = open_store(store_path, family="mpp", verify="auto")
    about = physics_of(store.manifest, store.path)
    arrays = well_arrays(about.fields, about.units)
    rows = {split: store.rows(split) for split in FOLDERS if store.manifest.splits.get(split)}
    with target.writing() as folder, progress(sum(map(len, rows.values())), "writing trajectories") as bar:
        for split, numbers in rows.items():
            path = folder / "data" / FOLDERS[split] / f"{store.manifest.name}.hdf5"
            path.parent.mkdir(parents=True)
            with SafeFile(path) as file:
                with h5py.File(file, "w") as root:
                    _describe(root, store, about, numbers)
                    for _ in _copied(root, store, arrays, numbers):
                        file.check()
                        bar.advance(1)
                file.check()
        statistics = _statistics(store, arrays)
        (folder / "stats.yaml").write_text(yaml.safe_dump(statistics, sort_keys=False), encoding="utf-8")
    absent = [FOLDERS[split] for split in FOLDERS if split not in rows]
    if absent:
        warn(f"{output}: no trajectory is in {' or in '.join(absent)}: The Well's loader finds no such folder")
    say(
        f"{output}: {', '.join(f'{len(numbers)} {FOLDERS[split]}' for split, numbers in rows.items())}, "
        f"{counted(len(arrays), 'array', 'arrays')}"
    )
    return {
        "output": str(output),
        "format": "well",
        "store": str(store_path),
        "store_hash": store.manifest.store_hash,
        "trajectories": {FOLDERS[split]: len(numbers) for split, numbers in rows.items()},
        "fields": [array.name for array in arrays],
    }


def _describe(root: h5py.File, store: Store, about: PdeDescription, rows: NDArray[np.int64]) -> None:
    """Everything but the fields."""
    root.attrs.update(
        dataset_name=store.manifest.name, grid_type="cartesian", n_spatial_dims=2, n_trajectories=len(rows)
    )
    constants = {key: value for key, value in about.constants.items() if key not in _RESERVED}
    root.attrs["simulation_parameters"] = list(constants)
    root.attrs.update(constants)
    dimensions = root.create_group("dimensions")
    dimensions.attrs["spatial_dims"] = list(_DIMS)
    lines = {"time": store.read("time")}
    for dim, points, (low, high) in zip(_DIMS, about.grid, about.extent, strict=True):
        lines[dim] = low + (np.arange(points) + 0.5) * (high - low) / points
    for dim, values in lines.items():
        line = dimensions.create_dataset(dim, data=np.asarray(values, dtype=np.float32))
        line.attrs.update(sample_varying=False, time_varying=False)
    boundaries = root.create_group("boundary_conditions")
    for dim, points in zip(_DIMS, about.grid, strict=True):
        kind = about.boundary_conditions["x" if dim == "x" else "y"]
        group = boundaries.create_group(f"{dim}_{kind}")
        group.attrs.update(bc_type=kind.upper(), sample_varying=False, time_varying=False)
        group.attrs["associated_dims"], group.attrs["associated_fields"] = [dim], []
        group.create_dataset("mask", data=np.isin(np.arange(points), (0, points - 1)))
    scalars = root.create_group("scalars")
    scalars.attrs["field_names"] = list(about.parameter_names)
    if about.parameter_names:
        values = store.read_rows("params", rows)
        for place, name in enumerate(about.parameter_names):
            scalar = scalars.create_dataset(name, data=values[:, place])
            scalar.attrs.update(sample_varying=True, time_varying=False)


def _copied(root: h5py.File, store: Store, arrays: Sequence[WellArray], rows: NDArray[np.int64]) -> Iterator[int]:
    """Writes one trajectory after another, a block of frames at a time, and yields each that is done."""
    _, frames, fields, *grid = store.manifest.arrays["fields"].shape
    made: dict[str, h5py.Dataset] = {}
    for order in range(3):
        group = root.create_group(f"t{order}_fields")
        group.attrs["field_names"] = [array.name for array in arrays if array.order == order]
    for array in arrays:
        shape = (len(rows), frames, *grid, *(2,) * array.order)
        made[array.name] = root.create_dataset(f"t{array.order}_fields/{array.name}", shape=shape, dtype="float32")
        made[array.name].attrs.update(
            sample_varying=True,
            time_varying=True,
            dim_varying=[True, True],
            units=array.unit,
            polycli_fields=array.full,
        )
        if array.order == 2:
            made[array.name].attrs.update(symmetric=False, antisymmetric=False)
    span = max(1, _BLOCK_BYTES // (4 * fields * grid[0] * grid[1]))
    for item, row in enumerate(rows):
        for start in range(0, frames, span):
            length = min(span, frames - start)
            block = store.read_windows("fields", [Window(int(row), start, length)])[0]
            for array in arrays:
                values = np.moveaxis(block[:, list(array.places)], 1, -1)
                made[array.name][item, start : start + length] = values.reshape(*values.shape[:3], *(2,) * array.order)
        yield int(row)


def _statistics(store: Store, arrays: Sequence[WellArray]) -> dict[str, dict[str, object]]:
    """The six statistics of the training rows, nested as the components of each array are."""
    found = statistics_of(store.manifest, store.path)
    if absent := [name for array in arrays for name in array.full if name not in found]:
        raise StoreError(f"{store.path}: no statistics of {', '.join(absent)}, which training trajectories give")
    document: dict[str, dict[str, object]] = {}
    for theirs, ours in _STATISTICS.items():
        smallest = SMALLEST_STD if theirs in ("std", "std_delta") else -np.inf
        document[theirs] = {
            array.name: np.array([max(found[name][ours], smallest) for name in array.full])
            .reshape((2,) * array.order)
            .tolist()
            for array in arrays
        }
    return document
