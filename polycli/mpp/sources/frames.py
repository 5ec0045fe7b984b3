"""Chooses the frames and grid points of a source that are kept, in which blocks they are read, and where they lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polycli.mpp.recipe.arrays import Extent

#: Steps that differ by more than this part of their median are uneven; float32 times are off by less.
UNEVEN = 0.01
#: A job is about this much to read: enough to be worth a process's while, small enough to share out evenly.
_JOB_BYTES = 16 * 2**20
#: Trajectories that lie in the same pieces of a file are read in one go up to this.
_TOGETHER_BYTES = 128 * 2**20
#: A trajectory is small when a job holds so many.
_SMALL = 8


@dataclass(frozen=True)
class Frames:
    """The frames and grid points that are kept: every `step`-th from `start`, every `space`-th along x and y."""

    start: int
    stop: int
    step: int
    space: int

    @property
    def count(self) -> int:
        """The number of frames that are kept."""
        return len(range(self.start, self.stop, self.step))

    def starting_at(self, frame: int) -> Frames:
        """The kept frames from the `frame`-th of them on."""
        return replace(self, start=self.start + frame * self.step)

    def grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Points along x and y that are kept of a grid."""
        return (-(-grid[0] // self.space), -(-grid[1] // self.space))

    def blocks(self, span: int, chunk: int = 1) -> Iterator[slice]:
        """The kept frames in slices of at most `span` frames, kept or not.

        Slices end where a file's chunks end, so that no compressed chunk is unpacked twice.
        """
        if span > chunk:
            span -= span % chunk
        edge = self.start
        while edge < self.stop:
            end = min(self.stop, (edge // span + 1) * span)
            # The first kept frame at or after the block's edge.
            first = self.start + -(-(edge - self.start) // self.step) * self.step
            if first < end:
                yield slice(first, end, self.step)
            edge = end

    def extent(self, extent: Extent, grid: tuple[int, int]) -> Extent:
        """The edges of the domain around the points that are kept of `grid`, whose cells fill `extent`.

        A cell of the thinned grid is `space` times as wide and has its middle where the kept point lies.
        """
        if self.space == 1:
            return extent
        x, y = (
            _edges(low, (high - low) / points, self.space, kept)
            for (low, high), points, kept in zip(extent, grid, self.grid(grid), strict=True)
        )
        return x, y


def _edges(low: float, cell: float, space: int, kept: int) -> tuple[float, float]:
    first = low + cell / 2 - space * cell / 2
    return (_digits(first, cell), _digits(first + kept * space * cell, cell))


def _digits(value: float, cell: float) -> float:
    """Rounds off the noise of arithmetic, which is far below a cell."""
    return round(value, int(np.ceil(-np.log10(abs(cell)))) + 6) if cell else value


def unevenness(points: NDArray[np.float64]) -> float:
    """Largest deviation of a step from the median step, as a part of it."""
    steps = np.diff(points)
    return float(np.abs(steps / np.median(steps) - 1).max())


def job_size(row_bytes: int, at_once: int) -> tuple[int, bool]:
    """How many trajectories a job has, and whether it reads them in one go.

    Trajectories that lie in the same pieces of a file, `at_once` of them, share a job as far as memory allows. Small
    ones are read in one go wherever they lie, for opening a file costs more than reading them.
    """
    size = max(1, _JOB_BYTES // row_bytes)
    if at_once == 1:
        return size, row_bytes <= _JOB_BYTES // _SMALL
    pieces = -(-size // at_once) * at_once
    size = min(pieces, max(size, _TOGETHER_BYTES // row_bytes))
    return size, size * row_bytes <= _TOGETHER_BYTES
