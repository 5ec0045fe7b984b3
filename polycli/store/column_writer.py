"""Streams the parts of one array to its shards in a store's tree, and reads each shard back."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from polycli.errors import PolycliError
from polycli.store.building import create_array
from polycli.store.layout import ArrayLayout
from polycli.store.manifest import ArrayInfo
from polycli.store.staging import open_for_writing, reads_back, sync_tree, write

#: Bytes that are read back at once.
_COMPARED = 16 * 2**20


def write_column(tree: Path, layout: ArrayLayout, shape: tuple[int, ...], parts: Iterable[NDArray[Any]]) -> ArrayInfo:
    """Write one array of `shape` whose rows come in parts, in order. Memory: about three shards, whatever its length.

    Raises:
        OSError: the disk is full or refuses the write.
        PolycliError: a shard reads back differently.
    """
    info = create_array(tree, layout, shape)
    if 0 in shape:
        return info
    array = open_for_writing(tree / layout.name, layout, shape)
    buffer = np.empty((min(layout.shard[0], shape[0]), *shape[1:]), dtype=layout.dtype)
    filled = written = 0
    for part in parts:
        rest = part
        while len(rest):
            taken = rest[: len(buffer) - filled]
            buffer[filled : filled + len(taken)] = taken
            filled += len(taken)
            rest = rest[len(taken) :]
            if filled == len(buffer) or written + filled == shape[0]:
                place = slice(written, written + filled)
                write(array, (place,), buffer[:filled])
                _give_back()
                if not _reads_back(array, written, buffer[:filled]):
                    raise PolycliError(
                        f"{tree / layout.name}: what was written reads back differently; is the disk or memory sound?"
                    )
                _give_back()
                written, filled = written + filled, 0
    if written != shape[0]:
        raise ValueError(f"{layout.name}: {written} rows came, {shape[0]} were expected")
    sync_tree(tree / layout.name, leaves=False)
    return info


def _give_back() -> None:
    """Let the C library return to the system what was freed.

    Chunks are compressed and freed in pieces by several threads, and glibc keeps pieces for each of these: without
    this, 1 GB in shards of 128 MiB held 740 MiB in place of 410, and more with every shard.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _reads_back(array: ts.TensorStore, first: int, values: NDArray[Any]) -> bool:
    """Whether the file has these values from the row `first` on; a whole shard more in memory would be much."""
    step = max(1, _COMPARED // max(1, values[:1].nbytes))
    pieces = ((start, values[start : start + step]) for start in range(0, len(values), step))
    return all(reads_back(array, (slice(first + start, first + start + len(piece)),), piece) for start, piece in pieces)
