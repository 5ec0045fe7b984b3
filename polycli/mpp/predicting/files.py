"""Forecasts on disk: zarr or HDF5, with coordinates, times, field names and where they come from.

Written frame by frame. One dataset stands at the root, several stand in groups of their names. In a dataset:

    fields  float32 (trajectory, time, field, x, y)      time  float64 (time,)      x, y  float64
    level   float64 (level,)      half_width   float64 (level, time, field), where the model is calibrated
    spread  float32, as fields: what half_width is multiplied by, where bands are scaled by draws
    attributes: format, dataset, physics, field_names, units, boundary_conditions, interval, and provenance
    trajectory ids: the attribute `trajectories` in zarr, the dataset `trajectory` in HDF5, whose attributes are bounded
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polycli.files.hdf5_output import SafeFile
from polycli.json_records import JsonObject
from polycli.mpp.predicting.bands import Bands
from polycli.mpp.recipe.physics import PdeDescription
from polycli.outputs import OutputKind
from polycli.store.sealing import HDF5_SEAL, entries_of, new_seal, seal

#: What the attribute `format` says.
FORMAT = "polycli-forecast"
#: Since version 2, forecasts are sealed: see `polycli.store.sealing`.
SCHEMA_VERSION = 2
DIMENSIONS = ("trajectory", "time", "field", "x", "y")
#: Bytes of a chunk, at most; a chunk is at least one frame of one trajectory.
_CHUNK_BYTES = 4 * 2**20


class ForecastArray(Protocol):
    """The `fields` of one dataset, open for writing."""

    def write(
        self, trajectory: int, step: int, frames: NDArray[np.float32], spread: NDArray[np.float32] | None = None
    ) -> None:
        """Frames (B, C, H, W) of one step, of the trajectories from `trajectory` on, and their spread, likewise."""
        ...


@dataclass(frozen=True)
class ForecastHeader:
    """Everything about a dataset's forecast that is known before its first frame."""

    name: str
    about: PdeDescription
    trajectories: tuple[str, ...]
    #: Times of the predicted frames.
    time: NDArray[np.float64]
    #: Time between two of them.
    interval: float
    #: Checkpoint, hashes, settings: JSON values.
    provenance: JsonObject
    #: Bands around the frames, where the model is calibrated for such data.
    bands: Bands | None = None

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """The shape of the array `fields`: (trajectory, time, field, x, y)."""
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
    def band_arrays(self) -> dict[str, tuple[tuple[str, ...], NDArray[np.float64]]]:
        """Levels and half-widths by name, each with its dimensions; nothing where there are no bands."""
        if self.bands is None:
            return {}
        return {
            "level": (("level",), np.array(self.bands.levels)),
            "half_width": (("level", "time", "field"), self.bands.widths_for(len(self.time))),
        }

    @property
    def arrays(self) -> tuple[str, ...]:
        """The arrays of frames, in the shape of `shape`."""
        return ("fields", "spread") if self.bands is not None and self.bands.settings.draws > 1 else ("fields",)

    @property
    def attributes(self) -> dict[str, Any]:
        """Everything but the ids of the trajectories, of which there may be many."""
        return {
            "format": FORMAT,
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
        """The shape of a chunk: some frames of one trajectory."""
        _, steps, fields, height, width = self.shape
        return (1, min(steps, max(1, _CHUNK_BYTES // (4 * fields * height * width))), fields, height, width)


@contextmanager
def forecast_arrays(path: Path, headers: Sequence[ForecastHeader]) -> Iterator[list[ForecastArray]]:
    """Open arrays for all datasets in a new zarr or HDF5 file at `path`, as its suffix says, until the block ends.

    Then the hashes of what was written are written too, which `inspect --verify` compares.
    """
    token = new_seal()
    if path.suffix == ".zarr":
        yield _zarr_arrays(path, headers)
        _seal_zarr(path, token)
    else:
        with _hdf5_arrays(path, headers, token) as arrays:
            yield arrays
        seal(path, token)


def _is_forecast(path: Path) -> bool:
    """Whether all that a zarr or an HDF5 file holds is marked as a forecast."""
    if path.is_dir():
        groups = [path] if _format_of_zarr(path) else [entry for entry in path.iterdir() if entry.is_dir()]
        return bool(groups) and all(_format_of_zarr(group) == FORMAT for group in groups)
    import h5py

    if not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path, "r") as file:
            nodes = [file] if "format" in file.attrs else list(file.values())
            return bool(nodes) and all(node.attrs.get("format") == FORMAT for node in nodes)
    except (OSError, RuntimeError):
        return False  # Damaged: nobody can say what it was.


def _format_of_zarr(path: Path) -> object:
    try:
        document = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    attributes = document.get("attributes") if isinstance(document, dict) else None
    return attributes.get("format") if isinstance(attributes, dict) else None


FORECASTS = OutputKind("forecasts", (".zarr", ".h5", ".hdf5"), _is_forecast)


class _Frames:
    """One step of some trajectories at a time, gathered to whole chunks of one trajectory before they are written."""

    def __init__(
        self,
        array: Any,  # noqa: ANN401  # zarr or h5py.
        header: ForecastHeader,
        check: Callable[[], None] = lambda: None,
        spread: _Frames | None = None,
    ) -> None:
        self._array = array
        self._spread = spread
        #: Raises where what was written has not come to the disk.
        self._check = check
        self._steps = header.shape[1]
        self._depth = header.chunk[1]
        self._waiting: list[NDArray[np.float32]] = []

    def write(
        self, trajectory: int, step: int, frames: NDArray[np.float32], spread: NDArray[np.float32] | None = None
    ) -> None:
        if self._spread is not None and spread is not None:
            self._spread.write(trajectory, step, spread)
        self._waiting.append(frames)
        if len(self._waiting) < self._depth and step + 1 < self._steps:
            return
        block = np.stack(self._waiting, axis=1)
        self._waiting.clear()
        self._array[trajectory : trajectory + len(frames), step + 1 - block.shape[1] : step + 1] = block
        self._check()


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
        for name, (dimensions, values) in header.band_arrays.items():
            group.create_array(name, data=values, dimension_names=dimensions)
        frames = {
            name: group.create_array(
                name,
                shape=header.shape,
                chunks=header.chunk,
                dtype="float32",
                # As in stores: a flipped bit is found, and a frame of zeros is written rather than left out.
                compressors=[BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=4), Crc32cCodec()],
                dimension_names=DIMENSIONS,
                config={"write_empty_chunks": True},
            )
            for name in header.arrays
        }
        spread = _Frames(frames["spread"], header) if "spread" in frames else None
        arrays.append(_Frames(frames["fields"], header, spread=spread))
    return arrays


def _seal_zarr(path: Path, token: str) -> None:
    import zarr

    group = path / "zarr.json"
    zarr.open_group(path, mode="r+").attrs["polycli"] = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "files": {name: entry.model_dump() for name, entry in entries_of(path, without=group).items()},
        "sha256": token,
    }
    seal(group, token)


@contextmanager
def _hdf5_arrays(path: Path, headers: Sequence[ForecastHeader], token: str) -> Iterator[list[ForecastArray]]:
    import h5py

    with SafeFile(path) as file, h5py.File(file, "w") as root:
        root.attrs["schema_version"] = SCHEMA_VERSION
        # Of a fixed length, for it is changed in place when the file is whole.
        root.attrs[HDF5_SEAL] = np.bytes_(token)
        arrays: list[ForecastArray] = []
        for header in headers:
            group = root if len(headers) == 1 else root.create_group(header.name)
            for name, value in header.attributes.items():
                group.attrs[name] = json.dumps(value) if isinstance(value, dict) else value
            scales = {name: group.create_dataset(name, data=values) for name, values in header.coordinates.items()}
            group.create_dataset("trajectory", data=list(header.trajectories), dtype=h5py.string_dtype())
            packed = {"dtype": "float32", "fletcher32": True, "compression": "lzf"}
            frames = {
                name: group.create_dataset(name, shape=header.shape, chunks=header.chunk, **packed)
                for name in header.arrays
            }
            for array, (dimensions, values) in header.band_arrays.items():
                widths = group.create_dataset(array, data=values)
                for index, name in enumerate(dimensions):
                    widths.dims[index].label = name
            for index, name in enumerate(DIMENSIONS):
                if name in scales:
                    scales[name].make_scale(name)
                for fields in frames.values():
                    fields.dims[index].label = name
                    if name in scales:
                        fields.dims[index].attach_scale(scales[name])
            spread = _Frames(frames["spread"], header, file.check) if "spread" in frames else None
            arrays.append(_Frames(frames["fields"], header, file.check, spread))
        yield arrays
