"""Reads the frames that forecasts start from: from stores, PDEBench files and array files, by trajectory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.errors import UserError
from polycli.json_records import IF_GIVEN
from polycli.mpp.data.about import physics_of
from polycli.mpp.data.source import Dataset, Job, SeekableJob
from polycli.mpp.predicting.file_datasets import open_datasets
from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.recipe.settings import ReadingSettings
from polycli.requests import Split
from polycli.store.manifest import MANIFEST_NAME
from polycli.store.reader import Store, Window
from polycli.workflow.stores import open_stores

Frames = NDArray[np.float32]


@dataclass(frozen=True)
class Reach:
    """The frames of a trajectory that are the context: `length` from `first` on, every `stride`-th."""

    first: int
    length: int
    stride: int

    @property
    def frames(self) -> range:
        """The indices of these frames in the trajectory."""
        return range(self.first, self.first + self.length * self.stride, self.stride)


@dataclass(frozen=True, kw_only=True)
class DataOrigin:
    """The data that something was made from."""

    #: The path of a store, or those of the files.
    data: str
    #: The hash of a store's content; absent where the data were files.
    store_hash: str | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, kw_only=True)
class ContextSource(ABC):
    """Trajectories of one dataset, of which some frames are known."""

    name: str
    about: PdeDescription
    ids: tuple[str, ...]
    #: Times of the known frames.
    time: NDArray[np.float64]
    #: Which data this is, for whoever finds the forecast.
    origin: DataOrigin
    #: Whether anything has told the time between frames.
    dt_known: bool = True
    #: The files that are read, where it is no store.
    files: tuple[Path, ...] = ()

    @abstractmethod
    def contexts(self, reach: Reach) -> Iterator[Frames]:
        """The context (time, C, H, W) of each trajectory, in the order of `ids`."""


@dataclass(frozen=True, kw_only=True)
class StoreContexts(ContextSource):
    """Contexts from the rows of a store."""

    store: Store
    rows: NDArray[np.int64]

    def contexts(self, reach: Reach) -> Iterator[Frames]:
        """Yields the frames of one trajectory after another, as `ContextSource` says."""
        for row in self.rows:
            yield self.store.read_windows("fields", [Window(int(row), reach.first, reach.length, reach.stride)])[0]


@dataclass(frozen=True, kw_only=True)
class SourceContexts(ContextSource):
    """Trajectories of source files, which are streamed: a trajectory is never held as a whole."""

    jobs: tuple[Job, ...]

    def contexts(self, reach: Reach) -> Iterator[Frames]:
        """Yields the frames of one trajectory after another, as `ContextSource` says."""
        for job in self.jobs:
            first = reach.first if isinstance(job, SeekableJob) else 0
            read = job.starting_at(first) if isinstance(job, SeekableJob) else job
            wanted = range(reach.first - first, reach.frames[-1] + 1 - first, reach.stride)
            for trajectory in read.trajectories(job.ids):
                yield _pick(trajectory.blocks, wanted)


def open_contexts(
    paths: Sequence[Path],
    *,
    split: Split | None,
    limit: int | None,
    settings: ReadingSettings,
    known_fields: Sequence[str] = (),
) -> list[ContextSource]:
    """Opens `paths` as whatever they are: stores, folders of stores, or files that a source of prepare reads.

    Raises:
        UserError: a path is none of these, is damaged, or lacks what a setting must say.
    """
    stores = [path for path in paths if path.is_dir() and _is_store(path)]
    files = [path for path in paths if path not in stores]
    if split is not None and files:
        raise UserError(f"--split {split}: {files[0]} is not a store and has no splits", hint="leave --split out")
    found: list[ContextSource] = []
    if stores:
        opened = open_stores(stores, family="mpp", verify="auto", by_name=False)
        found += [_of_store(store, split, limit) for store in opened]
    if files:
        found += [_of_dataset(dataset, limit) for dataset in open_datasets(files, settings, limit, known_fields)]
    twice = [name for name, count in Counter(source.name for source in found).items() if count > 1]
    if twice:
        raise UserError(f"two of the data sets are called {twice[0]}", hint="give them two outputs")
    return found


def _is_store(path: Path) -> bool:
    inside = [path, *path.iterdir()]
    # A zarr group without a manifest may be arrays of the user's own.
    return any((place / MANIFEST_NAME).exists() for place in inside)


def _of_store(store: Store, split: Split | None, limit: int | None) -> StoreContexts:
    rows = store.rows(split)[:limit]
    if len(rows) == 0:
        raise UserError(f"{store.path}: no trajectory is in the split {split}", hint="choose another --split")
    return StoreContexts(
        name=store.name,
        about=physics_of(store.manifest, store.path),
        ids=tuple(store.manifest.row_ids[row] for row in rows),
        time=store.read("time").astype(np.float64),
        origin=DataOrigin(data=str(store.path), store_hash=store.manifest.store_hash),
        store=store,
        rows=rows,
    )


def _of_dataset(dataset: Dataset, limit: int | None) -> SourceContexts:
    return SourceContexts(
        name=dataset.name,
        about=dataset.about,
        ids=tuple(dataset.row_ids.values())[:limit],
        time=dataset.time,
        origin=DataOrigin(data=", ".join(str(file) for file in dataset.files)),
        jobs=dataset.jobs,
        dt_known=dataset.dt_known,
        files=dataset.files,
    )


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
