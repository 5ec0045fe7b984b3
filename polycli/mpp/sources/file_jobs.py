"""Jobs of trajectories in one file of arrays: read one by one, or all in one go where they lie together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from polycli.mpp.data.source import Trajectory
from polycli.mpp.sources.frames import Frames

#: An open file.
FileT = TypeVar("FileT")


@dataclass(frozen=True, kw_only=True)
class FileJob(ABC, Generic[FileT]):
    """Some trajectories of one file."""

    path: Path
    source: str
    ids: tuple[str, ...]
    #: Their places along the file's axis of trajectories.
    items: tuple[int, ...]
    parameters: tuple[tuple[float, ...], ...]
    frames: Frames
    #: Whether they lie in the same pieces of the file and are small: then all are read in one go, and no piece is
    #: unpacked twice.
    together: bool = False

    def trajectories(self, wanted: Sequence[str]) -> Iterator[Trajectory]:
        """Those of `ids` that are wanted, in order; each opens the file by itself when its blocks are asked for."""
        chosen = [index for index, name in enumerate(self.ids) if name in wanted]
        rows = self._rows([self.items[index] for index in chosen]) if self.together and chosen else {}
        for index in chosen:
            item = self.items[index]
            blocks = iter(rows[item]) if self.together else self._blocks(item)
            yield Trajectory(id=self.ids[index], parameters=self.parameters[index], blocks=blocks)

    def starting_at(self, frame: int) -> Self:
        """The same trajectories without their first frames, as `SeekableJob` says."""
        return replace(self, frames=self.frames.starting_at(frame))

    def _blocks(self, item: int) -> Iterator[NDArray[np.float32]]:
        with self._open() as file:
            for block in self._slices(file):
                yield self._read(file, slice(item, item + 1), block)[0]

    def _rows(self, items: Sequence[int]) -> dict[int, list[NDArray[np.float32]]]:
        """The blocks of trajectories that are read together, cut as if they had been read one by one."""
        whole = slice(self.frames.start, self.frames.stop, self.frames.step)
        with self._open() as file:
            lengths = [len(range(block.start, block.stop, block.step)) for block in self._slices(file)]
            values = self._read(file, slice(min(items), max(items) + 1), whole)
        edges = np.cumsum(lengths)[:-1]
        return {item: np.split(values[item - min(items)], edges) for item in items}

    @abstractmethod
    def _open(self) -> AbstractContextManager[FileT]:
        """The file, open to be read."""

    @abstractmethod
    def _slices(self, file: FileT) -> list[slice]:
        """The kept frames in blocks, such that one block fits in memory with ease."""

    @abstractmethod
    def _read(self, file: FileT, items: slice, block: slice) -> NDArray[np.float32]:
        """Some frames of some trajectories as (trajectory, time, field, x, y), thinned."""
