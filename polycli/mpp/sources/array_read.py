"""Streams trajectories out of array files, whatever the order of their axes, as (time, field, x, y) float32."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.mpp.recipe.arrays import Axis
from polycli.mpp.sources.array_files import ArrayFile, ArrayInfo, open_arrays
from polycli.mpp.sources.file_jobs import FileJob

#: Bytes of a block as it is read.
BLOCK_BYTES = 4 * 2**20
_ORDER: tuple[Axis, ...] = ("trajectory", "time", "field", "x", "y")
#: The same where the time axis comes after those of space, so that each block is gathered from all over the array.
_SCATTERED_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Placed:
    """An array, and what each of its axes is."""

    name: str
    axes: tuple[Axis, ...]
    #: The one entry of its axis `field` that is taken; None for all of them.
    component: int | None = None

    def length(self, axis: Axis, info: ArrayInfo) -> int:
        """Entries along an axis; one where the array does not have it, or one of its fields alone is taken."""
        if axis == "field" and self.component is not None:
            return 1
        return info.shape[self.axes.index(axis)] if axis in self.axes else 1

    def read(self, file: ArrayFile, trajectories: slice, time: slice, space: int) -> NDArray[Any]:
        """Some frames of some trajectories, (trajectory, time, field, x, y), every `space`-th point along x and y."""
        taken: dict[Axis, slice] = {"trajectory": trajectories, "time": time}
        if self.component is not None:
            taken["field"] = slice(self.component, self.component + 1)
        index = tuple(taken.get(axis, slice(None)) for axis in self.axes)
        order: list[Axis] = [axis for axis in _ORDER if axis in self.axes]
        values = file.read(self.name, index).transpose([self.axes.index(axis) for axis in order])
        if "trajectory" not in self.axes:
            values = values[np.newaxis]
        if "field" not in self.axes:
            values = values[:, :, np.newaxis]
        return values[..., ::space, ::space]

    def trajectories_at_once(self, info: ArrayInfo) -> int:
        """How many trajectories lie in the same pieces of the file, so that reading one reads all; 1 if none do."""
        if "trajectory" not in self.axes:
            return 1
        place = self.axes.index("trajectory")
        if info.chunks is not None:
            return info.chunks[place]
        # Behind another axis, the numbers of one trajectory are scattered over the whole array.
        return info.shape[place] if place > 0 else 1


@dataclass(frozen=True, kw_only=True)
class ArrayJob(FileJob[ArrayFile]):
    """Some trajectories of one file, of which each array holds one field, or all."""

    arrays: tuple[Placed, ...]

    def _open(self) -> AbstractContextManager[ArrayFile]:
        return open_arrays(self.path)

    def _slices(self, file: ArrayFile) -> list[slice]:
        infos = [file.arrays[placed.name] for placed in self.arrays]
        frame_bytes = sum(map(_frame_bytes, self.arrays, infos))
        chunk = max(map(_time_chunk, self.arrays, infos))
        most = _SCATTERED_BYTES if any(map(_is_scattered, self.arrays)) else BLOCK_BYTES
        return list(self.frames.blocks(max(1, most // max(1, frame_bytes)) * self.frames.step, chunk))

    def _read(self, file: ArrayFile, items: slice, block: slice) -> NDArray[np.float32]:
        parts = (placed.read(file, items, block, self.frames.space) for placed in self.arrays)
        first = self.arrays[0]
        info = file.arrays[first.name]
        counts = (
            items.stop - items.start,
            len(range(block.start, block.stop, block.step)),
            sum(placed.length("field", file.arrays[placed.name]) for placed in self.arrays),
        )
        return as_float32(parts, (*counts, *self.frames.grid((first.length("x", info), first.length("y", info)))))


def as_float32(parts: Iterable[NDArray[Any]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Parts (trajectory, time, field, x, y) as one array of this shape, one after the other along its fields.

    A part that has one trajectory or one frame has it for all.
    """
    values, place = np.empty(shape, dtype=np.float32), 0
    with np.errstate(over="ignore"):  # A double beyond float32 becomes infinite, and is rejected as such.
        for part in parts:
            values[:, :, place : place + part.shape[2]] = part
            place += part.shape[2]
    return values


def _frame_bytes(placed: Placed, info: ArrayInfo) -> int:
    return placed.length("field", info) * placed.length("x", info) * placed.length("y", info) * info.dtype.itemsize


def _time_chunk(placed: Placed, info: ArrayInfo) -> int:
    return info.chunks[placed.axes.index("time")] if info.chunks else 1


def _is_scattered(placed: Placed) -> bool:
    return placed.axes.index("time") > min(placed.axes.index("x"), placed.axes.index("y"))
