"""The interface by which `prepare` reads any source of trajectories: datasets, made of jobs, that stream them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError
from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.recipe.training import PrepareRecipe
from polycli.requests import Split
from polycli.store.manifest import LeftOut
from polycli.workflow import sources


@dataclass(frozen=True)
class Trajectory:
    """One solution over time, not yet read."""

    id: str
    #: In the order of the dataset's `parameter_names`.
    parameters: tuple[float, ...]
    #: Consecutive blocks of frames, each (time, field, x, y) float32; together `frames` of them, strides applied.
    blocks: Iterator[NDArray[np.float32]]


class Job(Protocol):
    """A piece of work for one process: some trajectories of one dataset. Picklable, and small when pickled."""

    @property
    def source(self) -> str:
        """The origin of its trajectories: a file name relative to the input, or the name of a simulation."""
        ...

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its trajectories, in the order in which `trajectories` yields them."""
        ...

    def trajectories(self, wanted: Sequence[str]) -> Iterator[Trajectory]:
        """Those of `ids` that are wanted, in order. Memory does not grow with the size of a file."""
        ...


@runtime_checkable
class SeekableJob(Job, Protocol):
    """A job of files that can be read from any frame on."""

    def starting_at(self, frame: int) -> Job:
        """The same trajectories without their first frames, which are not read."""
        ...


@runtime_checkable
class DescribedJob(Job, Protocol):
    """A job that knows the parameters of its trajectories before they are read."""

    @property
    def parameters(self) -> tuple[tuple[float, ...], ...]:
        """The parameters of each of `ids`, in the order of the dataset's `parameter_names`."""
        ...


@dataclass(frozen=True)
class Dataset:
    """Trajectories that become one store: equal physics, grid, time step, boundaries and constants."""

    name: str
    about: PdeDescription
    #: Times of the frames, in the units of `about.dt`, strides applied.
    time: NDArray[np.float64]
    jobs: tuple[Job, ...]
    #: Files that the jobs read; empty for a simulation.
    files: tuple[Path, ...]
    #: What the manifest calls those files, in the same order: names relative to the input.
    file_names: tuple[str, ...] = ()
    #: What the source itself found wrong before anything was read in full, and what it found strange but kept.
    rejected: tuple[LeftOut, ...] = ()
    flagged: tuple[LeftOut, ...] = ()
    #: The split of each trajectory, by source and id, where the files say it; else it is by content hash.
    splits: Mapping[tuple[str, str], Split] | None = None
    #: Whether anything has told the time between frames; forecasts may do without.
    dt_known: bool = True
    #: Seconds of work for one process, where the source can tell; else `prepare` estimates from bytes.
    seconds: float | None = None

    @property
    def row_ids(self) -> dict[tuple[str, str], str]:
        """Maps (source, id) to the name of the row: the id if it is unique, else file and id, `FILE.h5/0002`."""
        names = [(job.source, name) for job in self.jobs for name in job.ids]
        plain = len({name for _, name in names}) == len(names)
        return {(source, name): name if plain else f"{source}/{name}" for source, name in names}

    @property
    def manifest_names(self) -> tuple[str, ...]:
        """The names of the files in the manifest: as the source says, or their plain names."""
        return self.file_names or tuple(path.name for path in self.files)


def named(datasets: Sequence[Dataset], name: str) -> list[Dataset]:
    """The one dataset under the name that was asked for.

    Raises:
        SourceError: there are several.
    """
    if len(datasets) > 1:
        found = ", ".join(dataset.name for dataset in datasets)
        raise SourceError(
            f"dataset.name {name}: the inputs hold {len(datasets)} datasets, and one name cannot name them: {found}",
            hint="name the files of one of them, or leave dataset.name out",
        )
    return [replace(dataset, name=name) for dataset in datasets]


#: What `polycli.workflow.sources` finds for this family: the datasets that the inputs hold. `limit` keeps at most that
#: many trajectories of each.
Source: TypeAlias = "sources.Source[PrepareRecipe, list[Dataset]]"
