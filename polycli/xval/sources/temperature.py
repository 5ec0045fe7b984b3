"""`--source temperature`: series of a gridded field at random points, from NetCDF, zarr, or a synthetic field.

Records are laid out as in Golkar et al. 2023, section 3: under `description` the points' `coords`, each sine of
latitude, sine and cosine of longitude, and the `start`, sine and cosine of the day of the year and of the hour; under
`data` one list for each time with the value at each point. Values stay in the field's unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError
from polycli.outputs import is_zarr
from polycli.paths import files_below
from polycli.requests import JsonDocument
from polycli.store.manifest import MANIFEST_NAME
from polycli.xval.data.source import Opened, RecordWriter, SourceAbout
from polycli.xval.recipe.sources import TemperatureSection
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.sources.gridded import Field, open_field
from polycli.xval.sources.synthetic_temperature import synthetic_field

Floats = NDArray[np.float64]
_NETCDF = (".nc", ".nc4", ".cdf")
_DAY = 86_400.0
_YEAR_DAYS = 365.25
_RECORDS_PER_SECOND = 2_000.0
#: The most records of a block, whatever their total: a block is held in memory, and a dry run reads one.
BLOCK = 4096


@dataclass(frozen=True, kw_only=True)
class FieldAbout(SourceAbout):
    """Facts about a field of temperatures."""

    #: Whether it is made up, and not of a file.
    synthetic: bool
    #: The name of the variable.
    field: str
    units: Mapping[str, str]
    #: Between two frames of a record.
    interval_seconds: float

    def stated_units(self) -> Mapping[str, str]:
        """The unit of the temperatures."""
        return self.units


@dataclass(frozen=True)
class TemperatureBlock:
    """Records that lie in one stretch of the field's time: all of them, or a piece of those of many records."""

    section: TemperatureSection
    #: None: the synthetic field.
    path: Path | None
    source: str
    #: Number of the stretch, its first time and how many times it has, strides not yet applied.
    stretch: int
    start: int
    times: int
    first: int
    size: int
    #: Which piece of the stretch's records; None where they are one block.
    piece: int | None = None

    @property
    def key(self) -> str:
        """A name for the block that is unique within the source."""
        stretch = f"{self.source}@{self.stretch:06d}"
        return stretch if self.piece is None else f"{stretch}-{self.piece:06d}"

    def load(self, writer: RecordWriter) -> None:
        """Read the stretch once and draw records from it; all of them are in one split."""
        field = _open(self.path, self.section)
        values = field.read(self.start, self.times)[:: self.section.time_stride]
        times = field.time[self.start : self.start + self.times : self.section.time_stride]
        for index in range(self.first, self.first + self.size):
            generator = np.random.default_rng([self.section.seed, 1, index])
            record, missing = _record(self.section, field, values, times, generator)
            writer.add(record, id=f"{self.source}-{index:08d}", group=f"{self.source}@{self.stretch}")
            if missing:
                writer.count("missing values of the field", missing)


class TemperatureSource:
    """The recipe's section `temperature`; without inputs the field is synthetic, and says so everywhere."""

    def accepts(self, path: Path) -> bool:
        """NetCDF files by their names, and zarr groups that are no stores."""
        return path.suffix.lower() in _NETCDF or (is_zarr(path) and not (path / MANIFEST_NAME).is_file())

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Opened:
        """Stretches of time, with the records to draw from each.

        Raises:
            SourceError: more than one input, no such variable, or fewer times than a record needs.
        """
        section = recipe.temperature
        if len(inputs) > 1:
            raise SourceError(f"the temperature source reads one file or zarr group, {len(inputs)} were given")
        path = inputs[0] if inputs else None
        field = _open(path, section)
        name = path.name if path is not None else "synthetic"
        points = len(field.latitude) * len(field.longitude)
        if section.stations[1] > points:
            raise SourceError(
                f"{name}: the field has {points} points, temperature.stations asks for up to {section.stations[1]}",
                hint=f"--set temperature.stations=[{min(section.stations[0], points)},{points}]",
            )
        needed = (section.steps[1] - 1) * section.time_stride + 1
        length = max(needed, round(section.block_days * _DAY / field.interval))
        stretches = len(field.time) // length
        if stretches == 0:
            raise SourceError(
                f"{name}: the field has {len(field.time)} times, a block of {section.block_days:g} days and "
                f"{section.steps[1]} steps need {length}",
                hint="--set temperature.block_days=N or temperature.steps=[N,N]",
            )
        count = section.records if limit is None else min(limit, section.records)
        bounds = [index * count // stretches for index in range(stretches + 1)]
        blocks = tuple(
            TemperatureBlock(
                section,
                path,
                name,
                stretch=index,
                start=index * length,
                times=length,
                first=first,
                size=min(BLOCK, bounds[index + 1] - first),
                piece=None if bounds[index + 1] - bounds[index] <= BLOCK else piece,
            )
            for index in range(stretches)
            for piece, first in enumerate(range(bounds[index], bounds[index + 1], BLOCK))
        )
        files = _files(path)
        return Opened(
            blocks=blocks,
            files=files,
            file_names=tuple(str(file.relative_to(path.parent)) if path is not None else "" for file in files),
            about=FieldAbout(
                synthetic=path is None,
                field=field.name,
                units={"data": field.unit},
                interval_seconds=field.interval * section.time_stride,
            ),
            options=section.model_dump(mode="json"),
            seconds=count / _RECORDS_PER_SECOND,
        )


def _open(path: Path | None, section: TemperatureSection) -> Field:
    return synthetic_field(section) if path is None else open_field(path, section.variable)


def _files(path: Path | None) -> tuple[Path, ...]:
    if path is None:
        return ()
    return tuple(files_below(path)) if path.is_dir() else (path,)


def _record(
    section: TemperatureSection, field: Field, values: Floats, times: Floats, generator: np.random.Generator
) -> tuple[JsonDocument, int]:
    """One record, and how many of its values are missing."""
    stations = int(generator.integers(*section.stations, endpoint=True))
    steps = int(generator.integers(*section.steps, endpoint=True))
    begin = int(generator.integers(len(times) - steps, endpoint=True))
    points = generator.choice(values[0].size, size=stations, replace=False)
    rows, columns = np.divmod(points, len(field.longitude))
    series = values[begin : begin + steps, rows, columns]
    record: JsonDocument = {
        "description": {
            "coords": [
                _place(float(field.latitude[row]), float(field.longitude[column]))
                for row, column in zip(rows, columns, strict=True)
            ],
            "start": _moment(float(times[begin])),
        },
        "data": [[None if math.isnan(value) else value for value in step] for step in series.tolist()],
    }
    return record, int(np.isnan(series).sum())


def _place(latitude: float, longitude: float) -> list[float]:
    north, east = math.radians(latitude), math.radians(longitude)
    return [math.sin(north), math.sin(east), math.cos(east)]


def _moment(seconds: float) -> list[float]:
    """Sine and cosine of the day of the year, from 1 January, and of the hour of the day."""
    moment = np.datetime64(round(seconds), "s")
    year = moment.astype("datetime64[Y]").astype("datetime64[s]")
    day = float((moment - year).astype(np.int64)) / _DAY
    angles = (2 * math.pi * day / _YEAR_DAYS, 2 * math.pi * (day % 1))
    return [function(angle) for angle in angles for function in (math.sin, math.cos)]
