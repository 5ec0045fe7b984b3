"""Streams trajectories out of HDF5 files of which each array holds one field, or the components of one, for all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from polycli.files.hdf5 import COPY_AGAIN, open_hdf5
from polycli.mpp.sources.array_read import BLOCK_BYTES, as_float32
from polycli.mpp.sources.file_jobs import FileJob


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


@dataclass(frozen=True, kw_only=True)
class Hdf5Job(FileJob[h5py.File]):
    """Some trajectories of one file."""

    columns: tuple[Column, ...]
    #: (field, x, y) of a frame as it is stored.
    shape: tuple[int, int, int]

    def _open(self) -> AbstractContextManager[h5py.File]:
        return open_hdf5(self.path, hint=COPY_AGAIN)

    def _slices(self, file: h5py.File) -> list[slice]:
        chunk = max(self._time_chunk(file[column.name], column) for column in self.columns)
        widest = max(file[column.name].dtype.itemsize for column in self.columns)
        return list(
            self.frames.blocks(max(1, BLOCK_BYTES // (widest * int(np.prod(self.shape)))) * self.frames.step, chunk)
        )

    def _read(self, file: h5py.File, items: slice, block: slice) -> NDArray[np.float32]:
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
