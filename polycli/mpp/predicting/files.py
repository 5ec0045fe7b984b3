"""Forecasts on disk: zarr or HDF5, with coordinates, times, field names and where they come from.

Written frame by frame under a temporary name beside the target and renamed when whole. One dataset stands at the root,
several stand in groups of their names. In a dataset:

    fields  float32 (trajectory, time, field, x, y)      time  float64 (time,)      x, y  float64
    attributes: format, dataset, physics, field_names, units, boundary_conditions, interval, and provenance
    trajectory ids: the attribute `trajectories` in zarr, the dataset `trajectory` in HDF5, whose attributes are bounded
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polycli.errors import UserError
from polycli.mpp.recipe.physics import PdeDescription
from polycli.paths import refuse_unwritable, remove, replace

DIMENSIONS = ("trajectory", "time", "field", "x", "y")
#: Bytes of a chunk, at most; a chunk is at least one frame of one trajectory.
_CHUNK_BYTES = 4 * 2**20


class ForecastArray(Protocol):
    """The `fields` of one dataset, open for writing."""

    def write(self, trajectory: int, step: int, frames: NDArray[np.float32]) -> None:
        """Frames (B, C, H, W) of one step, of the trajectories from `trajectory` on."""
        ...


@dataclass(frozen=True)
class ForecastHeader:
    """What is known of a dataset's forecast before the first frame is."""

    name: str
    about: PdeDescription
    trajectories: tuple[str, ...]
    #: Times of the predicted frames.
    time: NDArray[np.float64]
    #: Time between two of them.
    interval: float
    #: Checkpoint, hashes, settings: JSON values.
    provenance: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Of `fields`."""
        return (len(self.trajectories), len(self.time), len(self.about.fields), *self.about.grid)

    @property
    def coordinates(self) -> dict[str, NDArray[np.float64]]:
        """Cell centres along both axes, and times."""
        return {
            "time": self.time,
            **{
                axis: low + (np.arange(points) + 0.5) * (high - low) / points
                for axis, points, (low, high) in zip("xy", self.about.grid, self.about.extent, strict=True)
            },
        }

    @property
    def attributes(self) -> dict[str, Any]:
        """Everything but the ids of the trajectories, of which there may be many."""
        return {
            "format": "polycli-forecast",
            "dataset": self.name,
            "physics": self.about.physics,
            "field_names": list(self.about.fields),
            "units": list(self.about.units),
            "boundary_conditions": dict(self.about.boundary_conditions),
            "interval": self.interval,
            **self.provenance,
        }

    @property
    def chunk(self) -> tuple[int, int, int, int, int]:
        """Some frames of one trajectory."""
        _, steps, fields, height, width = self.shape
        return (1, min(steps, max(1, _CHUNK_BYTES // (4 * fields * height * width))), fields, height, width)


def refuse_target(target: Path, *, overwrite: bool) -> None:
    """Raise UserError where a forecast cannot be written to `target`; leaves nothing behind."""
    if target.suffix not in {".zarr", ".h5", ".hdf5"}:
        raise UserError(
            f"{target}: the suffix says the format: .zarr, .h5 or .hdf5", hint=f"--output {target.with_suffix('.zarr')}"
        )
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists already", hint="give another --output, or --set overwrite=true")
    refuse_unwritable(target.parent, what="forecasts")


@contextmanager
def writing(target: Path, headers: Sequence[ForecastHeader]) -> Iterator[list[ForecastArray]]:
    """Open arrays for all datasets; `target` appears, whole, when the block ends without an exception."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.partial-{os.getpid()}")
    remove(unfinished)
    try:
        if target.suffix == ".zarr":
            yield _zarr_arrays(unfinished, headers)
        else:
            with _hdf5_arrays(unfinished, headers) as arrays:
                yield arrays
        replace(unfinished, target)
    finally:
        remove(unfinished)


class _Frames:
    """One step of some trajectories at a time, gathered to whole chunks of one trajectory before they are written."""

    def __init__(self, array: Any, header: ForecastHeader) -> None:  # noqa: ANN401  # zarr or h5py.
        self._array = array
        self._steps = header.shape[1]
        self._depth = header.chunk[1]
        self._waiting: list[NDArray[np.float32]] = []

    def write(self, trajectory: int, step: int, frames: NDArray[np.float32]) -> None:
        self._waiting.append(frames)
        if len(self._waiting) < self._depth and step + 1 < self._steps:
            return
        block = np.stack(self._waiting, axis=1)
        self._waiting.clear()
        self._array[trajectory : trajectory + len(frames), step + 1 - block.shape[1] : step + 1] = block


def _zarr_arrays(path: Path, headers: Sequence[ForecastHeader]) -> list[ForecastArray]:
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec

    root = zarr.open_group(path, mode="w", zarr_format=3)
    arrays: list[ForecastArray] = []
    for header in headers:
        group = root if len(headers) == 1 else root.create_group(header.name)
        group.attrs.update(header.attributes | {"trajectories": list(header.trajectories)})
        for name, values in header.coordinates.items():
            group.create_array(name, data=values, dimension_names=[name])
        fields = group.create_array(
            "fields",
            shape=header.shape,
            chunks=header.chunk,
            dtype="float32",
            # As in stores: a flipped bit is found, and a frame of zeros is written rather than left out.
            compressors=[BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=4), Crc32cCodec()],
            dimension_names=DIMENSIONS,
            config={"write_empty_chunks": True},
        )
        arrays.append(_Frames(fields, header))
    return arrays


@contextmanager
def _hdf5_arrays(path: Path, headers: Sequence[ForecastHeader]) -> Iterator[list[ForecastArray]]:
    import json

    import h5py

    with h5py.File(path, "w") as root:
        arrays: list[ForecastArray] = []
        for header in headers:
            group = root if len(headers) == 1 else root.create_group(header.name)
            for name, value in header.attributes.items():
                group.attrs[name] = json.dumps(value) if isinstance(value, dict) else value
            scales = {name: group.create_dataset(name, data=values) for name, values in header.coordinates.items()}
            group.create_dataset("trajectory", data=list(header.trajectories), dtype=h5py.string_dtype())
            fields = group.create_dataset(
                "fields", shape=header.shape, chunks=header.chunk, dtype="float32", fletcher32=True, compression="lzf"
            )
            for place, name in enumerate(DIMENSIONS):
                fields.dims[place].label = name
                if name in scales:
                    scales[name].make_scale(name)
                    fields.dims[place].attach_scale(scales[name])
            arrays.append(_Frames(fields, header))
        yield arrays
