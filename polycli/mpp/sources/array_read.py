"""Streams trajectories out of array files, whatever the order of their axes, as (time, field, x, y) float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.mpp.data.source import Trajectory
from polycli.mpp.recipe.arrays import Axis
from polycli.mpp.sources.array_files import ArrayFile, ArrayInfo, open_arrays
from polycli.mpp.sources.frames import Frames

#: Bytes of a block as it is read.
BLOCK_BYTES = 4 * 2**20
#: The same where the time axis comes after those of space, so that each block is gathered from all over the array.
_SCATTERED_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Placed:
    """An array, and what each of its axes is."""

    name: str
    axes: tuple[Axis, ...]

    def length(self, axis: Axis, info: ArrayInfo) -> int:
        """Entries along an axis; one where the array does not have it."""
        return info.shape[self.axes.index(axis)] if axis in self.axes else 1

    def read(self, file: ArrayFile, trajectory: int, time: slice, space: int) -> NDArray[Any]:
        """Some frames of one trajectory, (time, field, x, y), every `space`-th point along x and y."""
        index = tuple(
            trajectory if axis == "trajectory" else time if axis == "time" else slice(None) for axis in self.axes
        )
        left: list[Axis] = [axis for axis in self.axes if axis != "trajectory"]
        order: list[Axis] = [axis for axis in ("time", "field", "x", "y") if axis in left]
        values = file.read(self.name, index).transpose([left.index(axis) for axis in order])
        if "field" not in left:
            values = values[:, np.newaxis]
        return values[:, :, ::space, ::space]


@dataclass(frozen=True)
class ArrayJob:
    """Some trajectories of one file, of which each array holds one field, or all."""

    path: Path
    source: str
    arrays: tuple[Placed, ...]
    ids: tuple[str, ...]
    #: Their places along the axis `trajectory`.
    items: tuple[int, ...]
    parameters: tuple[tuple[float, ...], ...]
    frames: Frames

    def trajectories(self, wanted: Sequence[str]) -> Iterator[Trajectory]:
        """Those of `ids` that are wanted, in order; each opens the file by itself when its blocks are asked for."""
        for name, item, parameters in zip(self.ids, self.items, self.parameters, strict=True):
            if name in wanted:
                yield Trajectory(id=name, parameters=parameters, blocks=self._blocks(item))

    def starting_at(self, frame: int) -> ArrayJob:
        """The same trajectories without their first frames, as `SeekableJob` says."""
        return replace(self, frames=self.frames.starting_at(frame))

    def _blocks(self, item: int) -> Iterator[NDArray[np.float32]]:
        with open_arrays(self.path) as file:
            infos = [file.arrays[placed.name] for placed in self.arrays]
            frame_bytes = sum(map(_frame_bytes, self.arrays, infos))
            chunk = max(map(_time_chunk, self.arrays, infos))
            most = _SCATTERED_BYTES if any(map(_is_scattered, self.arrays)) else BLOCK_BYTES
            span = max(1, most // max(1, frame_bytes)) * self.frames.step
            for block in self.frames.blocks(span, chunk):
                parts = [placed.read(file, item, block, self.frames.space) for placed in self.arrays]
                with np.errstate(over="ignore"):  # A double beyond float32 becomes infinite, and is rejected as such.
                    yield np.concatenate([part.astype(np.float32) for part in parts], axis=1)


def _frame_bytes(placed: Placed, info: ArrayInfo) -> int:
    return placed.length("field", info) * placed.length("x", info) * placed.length("y", info) * info.dtype.itemsize


def _time_chunk(placed: Placed, info: ArrayInfo) -> int:
    return info.chunks[placed.axes.index("time")] if info.chunks else 1


def _is_scattered(placed: Placed) -> bool:
    return placed.axes.index("time") > min(placed.axes.index("x"), placed.axes.index("y"))
