"""Streams trajectories out of PDEBench's HDF5 files, a block of frames at a time, as (time, field, x, y) float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError
from polycli.files.hdf5 import COPY_AGAIN, is_hdf5, open_hdf5
from polycli.files.plain import check_plain
from polycli.mpp.data.source import Trajectory
from polycli.mpp.sources.frames import Frames

#: `grouped`: an HDF5 group per trajectory; the others: an array per quantity, trajectories along its first axis.
Layout = Literal["grouped", "compressible", "incompressible"]

#: Bytes of a block as it is read. Transposing and float64 statistics hold it several times over.
BLOCK_BYTES = 4 * 2**20

COMPRESSIBLE_KEYS = ("Vx", "Vy", "density", "pressure")
INCOMPRESSIBLE_KEYS = ("velocity", "particles")


class ForeignFileError(SourceError):
    """A file that is not damaged, and yet none that is read here: it may stand in a folder among others."""


@contextmanager
def open_source(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file opened for reading.

    Raises:
        SourceError: missing, empty, truncated or damaged, here or where the block reads it.
        ForeignFileError: not HDF5.
    """
    if check_plain(path) == 0:
        raise SourceError(f"{path}: the file is empty, an HDF5 file was expected", hint="fetch it again")
    if not is_hdf5(path):
        raise ForeignFileError(
            f"{path}: not an HDF5 file: its signature is missing", hint="name another file, or fetch this one again"
        )
    with open_hdf5(path, hint=COPY_AGAIN) as file:
        yield file


@dataclass(frozen=True)
class PdebenchJob:
    """Some trajectories of one file; `items` are their groups, or their places along the first axis."""

    path: Path
    source: str
    layout: Layout
    ids: tuple[str, ...]
    items: tuple[str | int, ...]
    parameters: tuple[tuple[float, ...], ...]
    frames: Frames
    #: Whether they lie in the same chunks and are small: then all are read in one go, and no chunk is unpacked twice.
    together: bool = False

    def trajectories(self, wanted: Sequence[str]) -> Iterator[Trajectory]:
        """Those of `ids` that are wanted, in order; each opens the file by itself when its blocks are asked for."""
        chosen = [index for index, name in enumerate(self.ids) if name in wanted]
        rows = self._rows([int(self.items[index]) for index in chosen]) if self.together and chosen else {}
        for index in chosen:
            item = self.items[index]
            blocks = iter(rows[int(item)]) if self.together else self._blocks(item)
            yield Trajectory(id=self.ids[index], parameters=self.parameters[index], blocks=blocks)

    def starting_at(self, frame: int) -> PdebenchJob:
        """The same trajectories without their first frames, as `SeekableJob` says."""
        return replace(self, frames=self.frames.starting_at(frame))

    def _blocks(self, item: str | int) -> Iterator[NDArray[np.float32]]:
        with open_source(self.path) as file:
            arrays, lead = _arrays(file, self.layout, item)
            index: tuple[int, ...] = (int(item),) if lead else ()
            for block in self._slices(arrays, lead):
                parts = self._read(arrays, (*index, block), f"trajectory {item}")
                yield _as_fields(parts, space=self.frames.space)

    def _rows(self, items: Sequence[int]) -> dict[int, list[NDArray[np.float32]]]:
        """The blocks of trajectories that are read together, cut as if they had been read one by one."""
        first, last = min(items), max(items)
        with open_source(self.path) as file:
            arrays, lead = _arrays(file, self.layout, first)
            lengths = [len(range(block.start, block.stop, block.step)) for block in self._slices(arrays, lead)]
            whole = slice(self.frames.start, self.frames.stop, self.frames.step)
            parts = self._read(arrays, (slice(first, last + 1), whole), f"trajectories {first} to {last}")
        edges = np.cumsum(lengths)[:-1]
        return {
            item: np.split(_as_fields([part[item - first] for part in parts], space=self.frames.space), edges)
            for item in items
        }

    def _slices(self, arrays: Sequence[Any], lead: int) -> list[slice]:
        frame_bytes = sum(int(np.prod(array.shape[lead + 1 :])) * array.dtype.itemsize for array in arrays)
        chunk = max(array.chunks[lead] if array.chunks else 1 for array in arrays)
        return list(self.frames.blocks(max(1, BLOCK_BYTES // max(frame_bytes, 1)) * self.frames.step, chunk))

    def _read(self, arrays: Sequence[Any], index: tuple[int | slice, ...], what: str) -> list[NDArray[Any]]:
        try:
            return [array[index] for array in arrays]
        except (OSError, RuntimeError) as error:
            block = index[-1]
            frames = f"{block.start} to {block.stop - 1}" if isinstance(block, slice) else str(block)
            raise SourceError(
                f"{self.path}: {what}, frames {frames} cannot be read: {error}",
                hint="the file is damaged; fetch or copy it again",
            ) from error


def trajectories_at_once(arrays: Sequence[Any]) -> int:
    """How many trajectories lie in one chunk of arrays whose first axis they are."""
    return max(array.chunks[0] if array.chunks else 1 for array in arrays)


def _arrays(file: h5py.File, layout: Layout, item: str | int) -> tuple[list[Any], int]:
    """The HDF5 datasets that hold the fields, and the axis of theirs that is time."""
    if layout == "grouped":
        return [file[str(item)]["data"]], 0
    keys = COMPRESSIBLE_KEYS if layout == "compressible" else INCOMPRESSIBLE_KEYS
    return [file[key] for key in keys], 1


def _as_fields(parts: list[NDArray[Any]], *, space: int) -> NDArray[np.float32]:
    """Arrays (time, x, y) or (time, x, y, component) to one (time, field, x, y).

    HDF5 selects with strides element by element, so whole frames are read and thinned here.
    """
    columns = [part[:, ::space, ::space] for part in parts]
    columns = [column[..., np.newaxis] if column.ndim == 3 else column for column in columns]
    time, x, y, _ = columns[0].shape
    fields = np.empty((time, sum(column.shape[-1] for column in columns), x, y), dtype=np.float32)
    place = 0
    with np.errstate(over="ignore"):  # A double beyond float32 becomes infinite, and is rejected as such.
        for column in columns:
            fields[:, place : place + column.shape[-1]] = np.moveaxis(column, -1, 1)
            place += column.shape[-1]
    return fields
