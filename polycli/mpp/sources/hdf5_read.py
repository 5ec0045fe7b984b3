"""Streams trajectories out of HDF5 files of which each array holds one field, or the components of one, for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from polycli.files.hdf5 import COPY_AGAIN, open_hdf5
from polycli.mpp.data.source import Trajectory
from polycli.mpp.sources.array_read import BLOCK_BYTES, as_float32
from polycli.mpp.sources.frames import Frames


@dataclass(frozen=True)
class Column:
    """An array of a file, ([trajectory], [time], [x], [y], components...): a field, or the components of a vector or
    tensor.
    """

    name: str
    #: Whether there is an axis of trajectories, of time, and of the first and the second dimension in space.
    has: tuple[bool, bool, bool, bool]
    #: Whether the second dimension in space is x.
    turned: bool = False

    def read(self, file: h5py.File, items: slice, block: slice, space: int) -> NDArray[Any]:
        """Some frames of some trajectories, (trajectory, time, component, x, y), every `space`-th point along x and y.

        Axes that the array does not have are of length 1.
        """
        index = tuple(part for part, present in zip((items, block), self.has, strict=False) if present)
        values = file[self.name][index]
        for axis, present in enumerate(self.has):
            values = values if present else np.expand_dims(values, axis)
        values = values.reshape(*values.shape[:4], -1)
        values = values.transpose(0, 1, 4, 3, 2) if self.turned else values.transpose(0, 1, 4, 2, 3)
        thinned: NDArray[Any] = values[..., ::space, ::space]
        return thinned


@dataclass(frozen=True)
class Hdf5Job:
    """Some trajectories of one file."""

    path: Path
    source: str
    columns: tuple[Column, ...]
    #: (field, x, y) of a frame as it is stored.
    shape: tuple[int, int, int]
    ids: tuple[str, ...]
    #: Their places in the file.
    items: tuple[int, ...]
    parameters: tuple[tuple[float, ...], ...]
    frames: Frames
    #: Whether they lie in the same chunks and are small: then all are read in one go, and no chunk is unpacked twice.
    together: bool = False

    def trajectories(self, wanted: Sequence[str]) -> Iterator[Trajectory]:
        """Those of `ids` that are wanted, in order; each opens the file by itself when its blocks are asked for."""
        chosen = [index for index, name in enumerate(self.ids) if name in wanted]
        rows = self._rows([self.items[index] for index in chosen]) if self.together and chosen else {}
        for index in chosen:
            item = self.items[index]
            blocks = iter(rows[item]) if self.together else self._blocks(item)
            yield Trajectory(id=self.ids[index], parameters=self.parameters[index], blocks=blocks)

    def starting_at(self, frame: int) -> Hdf5Job:
        """The same trajectories without their first frames, as `SeekableJob` says."""
        return replace(self, frames=self.frames.starting_at(frame))

    def _blocks(self, item: int) -> Iterator[NDArray[np.float32]]:
        with open_hdf5(self.path, hint=COPY_AGAIN) as file:
            for block in self._slices(file):
                yield self._read(file, slice(item, item + 1), block)[0]

    def _rows(self, items: Sequence[int]) -> dict[int, list[NDArray[np.float32]]]:
        """The blocks of trajectories that are read together, cut as if they had been read one by one."""
        whole = slice(self.frames.start, self.frames.stop, self.frames.step)
        with open_hdf5(self.path, hint=COPY_AGAIN) as file:
            lengths = [len(range(block.start, block.stop, block.step)) for block in self._slices(file)]
            values = self._read(file, slice(min(items), max(items) + 1), whole)
        edges = np.cumsum(lengths)[:-1]
        return {item: np.split(values[item - min(items)], edges) for item in items}

    def _slices(self, file: h5py.File) -> list[slice]:
        chunk = max(self._time_chunk(file[column.name], column) for column in self.columns)
        widest = max(file[column.name].dtype.itemsize for column in self.columns)
        return list(
            self.frames.blocks(max(1, BLOCK_BYTES // (widest * int(np.prod(self.shape)))) * self.frames.step, chunk)
        )

    def _read(self, file: h5py.File, items: slice, block: slice) -> NDArray[np.float32]:
        """Some frames of some trajectories as (trajectory, time, field, x, y), thinned."""
        parts = (column.read(file, items, block, self.frames.space) for column in self.columns)
        counts = (items.stop - items.start, len(range(block.start, block.stop, block.step)), self.shape[0])
        return as_float32(parts, (*counts, *self.frames.grid(self.shape[1:])))

    @staticmethod
    def _time_chunk(array: h5py.Dataset, column: Column) -> int:
        sample, time, *_ = column.has
        return int(array.chunks[int(sample)]) if array.chunks and time else 1


def most_at_once(file: h5py.File, columns: Sequence[Column]) -> int:
    """How many trajectories lie in the same chunks of the arrays that have an axis of trajectories and one of time."""
    arrays = [file[column.name] for column in columns if column.has[:2] == (True, True)]
    return max((int(array.chunks[0]) for array in arrays if array.chunks), default=1)
