"""Where forecasts start: contexts from stores, PDEBench files and array files, one trajectory at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError, UserError
from polycli.mpp.data.source import Dataset, Job
from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.recipe.settings import ArraySection
from polycli.mpp.recipe.training import PrepareRecipe
from polycli.mpp.sources.pdebench_read import open_source
from polycli.requests import Split
from polycli.store.manifest import MANIFEST_NAME
from polycli.store.reader import Store, Window
from polycli.workflow.sources import find_source, load_source
from polycli.workflow.stores import open_stores

Frames = NDArray[np.float32]
AXES = ("x", "y")


@dataclass(frozen=True)
class Reach:
    """Which frames of a trajectory are the context: `length` from `first` on, every `stride`-th."""

    first: int
    length: int
    stride: int

    @property
    def frames(self) -> range:
        """Their places in the trajectory."""
        return range(self.first, self.first + self.length * self.stride, self.stride)


@dataclass(frozen=True, kw_only=True)
class ContextSource(ABC):
    """Trajectories of one dataset, of which some frames are known."""

    name: str
    about: PdeDescription
    ids: tuple[str, ...]
    #: Times of the known frames.
    time: NDArray[np.float64]
    #: Which data this is, for whoever finds the forecast.
    origin: dict[str, Any]

    @abstractmethod
    def contexts(self, reach: Reach) -> Iterator[Frames]:
        """The context (time, C, H, W) of each trajectory, in the order of `ids`."""


@dataclass(frozen=True, kw_only=True)
class StoreContexts(ContextSource):
    """Rows of a store."""

    store: Store
    rows: NDArray[np.int64]

    def contexts(self, reach: Reach) -> Iterator[Frames]:
        """As ContextSource says."""
        for row in self.rows:
            yield self.store.read_windows("fields", [Window(int(row), reach.first, reach.length, reach.stride)])[0]


@dataclass(frozen=True, kw_only=True)
class SourceContexts(ContextSource):
    """Trajectories of source files, which are streamed: a trajectory is never held as a whole."""

    jobs: tuple[Job, ...]

    def contexts(self, reach: Reach) -> Iterator[Frames]:
        """As ContextSource says."""
        for job in self.jobs:
            for trajectory in job.trajectories(job.ids):
                yield _pick(trajectory.blocks, reach.frames)


@dataclass(frozen=True, kw_only=True)
class ArrayContexts(ContextSource):
    """One array in a .npy or HDF5 file, (N, T, C, H, W) or (T, C, H, W)."""

    file: Path

    def contexts(self, reach: Reach) -> Iterator[Frames]:
        """As ContextSource says."""
        frames = slice(reach.first, reach.frames[-1] + 1, reach.stride)
        if self.file.suffix == ".npy":
            array = _open_npy(self.file)
            for place in range(len(self.ids)):
                yield np.asarray(array[place, frames] if array.ndim == 5 else array[frames], dtype=np.float32)
            return
        with open_source(self.file) as file:
            fields = file["fields"]
            for place in range(len(self.ids)):
                yield np.asarray(fields[place, frames] if fields.ndim == 5 else fields[frames], dtype=np.float32)


def open_contexts(
    paths: Sequence[Path], *, split: Split | None, limit: int | None, settings: ArraySection
) -> list[ContextSource]:
    """What `paths` hold, found by looking: stores, folders of stores, array files, PDEBench files or folders of them.

    Raises:
        UserError: a path is none of these, is damaged, or lacks what a setting must say.
    """
    stores = [path for path in paths if path.is_dir() and _is_store(path)]
    arrays = [path for path in paths if path.is_file() and _is_array(path)]
    others = [path for path in paths if path not in stores and path not in arrays]
    if split is not None and (arrays or others):
        raise UserError(
            f"--split {split}: {(arrays + others)[0]} is no store and has no splits", hint="leave --split out"
        )
    found: list[ContextSource] = []
    if stores:
        opened = open_stores(stores, family="mpp", verify="auto", by_name=False)
        found += [_of_store(store, split, limit) for store in opened]
    found += [_of_array(path, settings, limit) for path in arrays]
    if others:
        recipe = PrepareRecipe(family="mpp", verb="prepare")
        source = load_source("mpp", find_source("mpp", others))
        found += [_of_dataset(dataset, limit) for dataset in source.open(others, recipe, limit)]
    twice = [name for name, count in Counter(source.name for source in found).items() if count > 1]
    if twice:
        raise UserError(f"two of the data sets are called {twice[0]}", hint="give them two outputs")
    return found


def _is_store(path: Path) -> bool:
    inside = [path, *path.iterdir()]
    return any((place / name).exists() for place in inside for name in (MANIFEST_NAME, "zarr.json"))


def _is_array(path: Path) -> bool:
    if path.suffix == ".npy":
        return True
    if not h5py.is_hdf5(path):
        return False
    with open_source(path) as file:
        return isinstance(file.get("fields"), h5py.Dataset)


def _of_store(store: Store, split: Split | None, limit: int | None) -> StoreContexts:
    rows = store.rows(split)[:limit]
    if len(rows) == 0:
        raise UserError(f"{store.path}: no trajectory is in the split {split}", hint="choose another --split")
    return StoreContexts(
        name=store.name,
        about=PdeDescription.model_validate(store.manifest.about),
        ids=tuple(store.manifest.row_ids[row] for row in rows),
        time=store.read("time").astype(np.float64),
        origin={"data": str(store.path), "store_hash": store.manifest.store_hash},
        store=store,
        rows=rows,
    )


def _of_dataset(dataset: Dataset, limit: int | None) -> SourceContexts:
    return SourceContexts(
        name=dataset.name,
        about=dataset.about,
        ids=tuple(dataset.row_ids.values())[:limit],
        time=dataset.time,
        origin={"data": ", ".join(str(file) for file in dataset.files)},
        jobs=dataset.jobs,
    )


def _of_array(path: Path, settings: ArraySection, limit: int | None) -> ArrayContexts:
    shape, time = _array_shape(path)
    if len(shape) not in {4, 5}:
        raise SourceError(f"{path}: the array is {shape}, (N, T, C, H, W) or (T, C, H, W) was expected")
    count = min(shape[0] if len(shape) == 5 else 1, limit or shape[0])
    frames, fields, height, width = shape[-4:]
    if len(settings.fields) != fields:
        raise SourceError(
            f"{path}: the array is {shape}, so {fields} field{'s' if fields > 1 else ''}, "
            f"and {len(settings.fields)} names were given",
            hint="--set 'fields=[shallow_water.height]', names in the order of the array",
        )
    if set(settings.boundary) != set(AXES):
        raise SourceError(
            f"{path}: an array file does not say its boundary conditions",
            hint="--set 'boundary={x: periodic, y: wall}', each of periodic, wall, open",
        )
    physics = {name.split(".", 1)[0] for name in settings.fields}
    about = PdeDescription(
        physics=physics.pop() if len(physics) == 1 else "mixed",
        fields=settings.fields,
        units=("",) * fields,
        dt=settings.dt,
        grid=(height, width),
        extent=settings.extent,
        boundary_conditions=settings.boundary,
        parameter_names=(),
        constants={},
    )
    if time is None:
        time = np.arange(frames) * settings.dt
    elif time.shape != (frames,):
        raise SourceError(f"{path}: time is {time.shape}, ({frames},) was expected")
    ids = tuple(f"{place:04d}" for place in range(count))
    return ArrayContexts(
        name=path.stem, about=about, ids=ids, time=time.astype(np.float64), origin={"data": str(path)}, file=path
    )


def _array_shape(path: Path) -> tuple[tuple[int, ...], NDArray[Any] | None]:
    if path.suffix == ".npy":
        return _open_npy(path).shape, None
    with open_source(path) as file:
        time = file.get("time")
        _refuse_objects(path, file["fields"].dtype)
        return tuple(file["fields"].shape), time[...] if isinstance(time, h5py.Dataset) else None


def _open_npy(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: not a whole .npy array of numbers: {error}") from error
    _refuse_objects(path, array.dtype)
    return array


def _refuse_objects(path: Path, found: np.dtype[Any]) -> None:
    if found.kind not in "fiu":
        raise SourceError(f"{path}: the array holds {found}, real numbers were expected")


def _pick(blocks: Iterator[Frames], wanted: range) -> Frames:
    """The wanted frames out of consecutive blocks; what comes after the last of them is not read."""
    picked: list[Frames] = []
    start = 0
    for block in blocks:
        picked += [block[place - start] for place in wanted if start <= place < start + len(block)]
        start += len(block)
        if start > wanted[-1]:
            break
    return np.stack(picked)
