"""The layout of an array on disk: chunks inside shards, checksummed codecs, and the zarr v3 metadata that says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

MEBIBYTE = 2**20
#: A reader decodes whole chunks, so a chunk holds little more than a training window touches.
FRAMES_PER_CHUNK = 8
MAX_CHUNK_BYTES = 8 * MEBIBYTE
#: A writer holds one shard in memory before it writes it.
MAX_SHARD_BYTES = 128 * MEBIBYTE

Compression = Literal["blosc-lz4", "none"]


@dataclass(frozen=True)
class ArrayLayout:
    """Names, type and cuts of one array; the first axis is the row axis (trajectory, record, object).

    `chunk` is what one read decodes, `shard` what one file holds, both in elements per axis with the row axis included.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    chunk: tuple[int, ...]
    shard: tuple[int, ...]
    compression: Compression = "blosc-lz4"

    def __post_init__(self) -> None:
        if not len(self.dims) == len(self.chunk) == len(self.shard):
            raise ValueError(f"{self.name}: dims, chunk and shard differ in length: {self}")
        if any(length % part for length, part in zip(self.shard, self.chunk, strict=True)):
            raise ValueError(f"{self.name}: a shard {self.shard} must be made of whole chunks {self.chunk}")

    @classmethod
    def of_trajectories(
        cls,
        name: str,
        dims: Sequence[str],
        row_shape: Sequence[int],
        *,
        dtype: str = "float32",
        frames_per_chunk: int = FRAMES_PER_CHUNK,
        compression: Compression = "blosc-lz4",
    ) -> ArrayLayout:
        """The layout for rows of `row_shape` (time, ...): every row has its own shard files.

        A chunk is `frames_per_chunk` frames of all fields on the whole grid, or a part of a grid where that is more
        than 8 MiB; a shard is one row, cut along time where that is more than 128 MiB.
        """
        itemsize = np.dtype(dtype).itemsize
        frames, *frame = row_shape
        chunk = [min(frames_per_chunk, frames), *frame]
        while math.prod(chunk) * itemsize > MAX_CHUNK_BYTES:
            axis = max(range(1, len(chunk)), key=chunk.__getitem__) if max(chunk[1:]) > 1 else 0
            chunk[axis] = -(-chunk[axis] // 2)
        whole_frame = [-(-length // part) * part for length, part in zip(frame, chunk[1:], strict=True)]
        chunks_in_time = -(-frames // chunk[0])
        chunks_per_shard = max(
            1, min(chunks_in_time, MAX_SHARD_BYTES // (chunk[0] * math.prod(whole_frame) * itemsize))
        )
        shard = (1, chunk[0] * chunks_per_shard, *whole_frame)
        return cls(name, tuple(dims), dtype, (1, *chunk), shard, compression)

    @classmethod
    def of_rows(
        cls,
        name: str,
        dims: Sequence[str],
        shape: Sequence[int],
        *,
        dtype: str,
        chunk_bytes: int,
        compression: Compression = "blosc-lz4",
    ) -> ArrayLayout:
        """The layout for many small rows: a chunk is as many as `chunk_bytes` hold and at least one, a shard 128 MiB.

        A row of more than 8 MiB is cut into several chunks. An array smaller than a shard is one file of its size.
        """
        itemsize = np.dtype(dtype).itemsize
        rows, *row = shape
        part = [max(1, length) for length in row]
        while math.prod(part) * itemsize > max(chunk_bytes, MAX_CHUNK_BYTES):
            axis = max(range(len(part)), key=part.__getitem__)
            part[axis] = -(-part[axis] // 2)
        whole_row = [-(-max(1, length) // cut) * cut for length, cut in zip(row, part, strict=True)]
        per_chunk = max(1, min(max(1, rows), chunk_bytes // (math.prod(part) * itemsize)))
        chunks_per_shard = max(1, MAX_SHARD_BYTES // (per_chunk * math.prod(whole_row) * itemsize))
        per_shard = per_chunk * min(chunks_per_shard, -(-max(1, rows) // per_chunk))
        return cls(name, tuple(dims), dtype, (per_chunk, *part), (per_shard, *whole_row), compression)

    @classmethod
    def whole(cls, name: str, dims: Sequence[str], shape: Sequence[int], dtype: str) -> ArrayLayout:
        """The layout of a small array: as few chunks as 8 MiB allow, cut along the first axis, one file each."""
        row_bytes = max(1, math.prod(shape[1:]) * np.dtype(dtype).itemsize)
        rows = max(1, min(shape[0], MAX_CHUNK_BYTES // row_bytes)) if shape else 0
        chunk = (rows, *(max(1, length) for length in shape[1:])) if shape else ()
        return cls(name, tuple(dims), dtype, chunk, chunk)

    def zarr_metadata(self, shape: Sequence[int]) -> dict[str, object]:
        """The zarr v3 metadata document of the array at `shape`.

        The fill value of floats is NaN, so that whoever reads a damaged store with a lenient reader sees it.
        """
        dtype = np.dtype(self.dtype)
        to_bytes: dict[str, object] = {"name": "bytes"}
        if dtype.itemsize > 1:
            to_bytes["configuration"] = {"endian": "little"}
        # Without a checksum a flipped bit is silent under no codec and under blosc alike.
        codecs: list[dict[str, object]] = [to_bytes, *self._compressors(dtype.itemsize), {"name": "crc32c"}]
        if self.shard != self.chunk:
            little = {"name": "bytes", "configuration": {"endian": "little"}}
            sharding = {
                "chunk_shape": list(self.chunk),
                "codecs": codecs,
                "index_codecs": [little, {"name": "crc32c"}],
                "index_location": "end",
            }
            codecs = [{"name": "sharding_indexed", "configuration": sharding}]
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(shape),
            "data_type": dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.shard)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": codecs,
            "fill_value": {"f": "NaN", "b": False}.get(dtype.kind, 0),
            "dimension_names": list(self.dims),
        }

    def _compressors(self, itemsize: int) -> list[dict[str, object]]:
        if self.compression == "none":
            return []
        shuffle = "shuffle" if itemsize > 1 else "noshuffle"
        configuration = {"cname": "lz4", "clevel": 5, "shuffle": shuffle, "typesize": itemsize, "blocksize": 0}
        return [{"name": "blosc", "configuration": configuration}]


def shard_files(name: str, shape: Sequence[int], shard: Sequence[int]) -> list[str]:
    """Every file, relative to the store, that an array of `shape` in shards of `shard` consists of."""
    counts = [-(-length // part) for length, part in zip(shape, shard, strict=True)]
    if 0 in counts:
        # `product` would still make lists of the other axes, which a forged shape lets be of any length.
        return []
    return [f"{name}/c/" + "/".join(map(str, index)) for index in product(*map(range, counts))]
