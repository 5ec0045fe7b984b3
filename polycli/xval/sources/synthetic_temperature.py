"""A made-up surface temperature: seasons, days and weather, for trying things out where there is no real field.

    T = 288 - 40 sin(latitude)^2 + season + day + weather    (kelvin)

The season is 15 K strong at 90 degrees and of opposite sign in the south, the day 5 K strong at the equator with its
peak at 14 h local time, and the weather an AR(1) process with standard deviation 3 K and a memory of three days, smooth
over neighbouring points. It is no climate, and whatever is learned from it says nothing about one.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from polycli.xval.recipe.sources import TemperatureSection
from polycli.xval.sources.gridded import Field

Floats = NDArray[np.float64]
INTERVAL_HOURS = 6
START = "2001-01-01"
YEAR_DAYS = 365.25
WEATHER_KELVIN, MEMORY_DAYS = 3.0, 3.0


@lru_cache(maxsize=1)
def synthetic_field(section: TemperatureSection) -> Field:
    """Four times a day from the start of 2001; follows from the section alone."""
    hours = np.arange(0, 24 * section.synthetic_days, INTERVAL_HOURS, dtype=np.float64)
    rows, columns = section.synthetic_grid
    latitude = np.linspace(-90, 90, rows + 2)[1:-1]
    longitude = np.arange(columns) * 360 / columns
    values = climate(hours, latitude, longitude) + weather(len(hours), rows, columns, section.seed)
    start = float(np.datetime64(START, "s").astype(np.int64))
    return Field(
        name="synthetic",
        unit="K",
        time=start + 3600 * hours,
        latitude=latitude,
        longitude=longitude,
        read=lambda first, count: values[first : first + count],
    )


def climate(hours: Floats, latitude: Floats, longitude: Floats) -> Floats:
    """The part that repeats every day and year, (time, latitude, longitude); hours count from the start of a year."""
    height = np.sin(np.deg2rad(latitude))[None, :, None]
    year = 2 * np.pi * hours[:, None, None] / (24 * YEAR_DAYS)
    local = 2 * np.pi * (hours[:, None, None] / 24 + longitude[None, None, :] / 360 - 14 / 24)
    # The coldest day of the north is about the 20th of January.
    season = -15 * height * np.cos(year - 2 * np.pi * 19 / YEAR_DAYS)
    result: Floats = 288 - 40 * height**2 + season + 5 * np.cos(np.deg2rad(latitude))[None, :, None] * np.cos(local)
    return result


def weather(times: int, rows: int, columns: int, seed: int) -> Floats:
    """An AR(1) process at every point, (time, latitude, longitude), with standard deviation `WEATHER_KELVIN`."""
    generator = np.random.default_rng([seed, 0])
    memory = np.exp(-INTERVAL_HOURS / (24 * MEMORY_DAYS))
    shocks = generator.standard_normal((times, rows, columns))
    # Neighbours around the globe share half of what happens, which makes fronts of a few points.
    smooth = (shocks + np.roll(shocks, 1, axis=2) + np.roll(shocks, -1, axis=2)) / np.sqrt(3)
    state = smooth[0]
    found = [state]
    for shock in smooth[1:]:
        state = memory * state + np.sqrt(1 - memory**2) * shock
        found.append(state)
    return WEATHER_KELVIN * np.stack(found)
