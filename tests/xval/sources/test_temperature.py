"""The temperature source: values are those of the field at the points and times that a record states."""

import math

import h5py
import numpy as np
import pytest
import zarr

from polycli.errors import SourceError
from polycli.xval.data.preview import preview
from polycli.xval.recipe.sources import TemperatureSection
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.sources.gridded import open_field
from polycli.xval.sources.synthetic_temperature import climate, synthetic_field, weather
from polycli.xval.sources.temperature import BLOCK, TemperatureSource

TIMES, LATITUDES, LONGITUDES = 64, np.array([60.0, 20.0, -45.0]), np.array([0.0, 90.0, 200.0, 300.0])
#: Packed as ERA5 is: 16-bit integers with scale and offset.
SCALE, OFFSET, FILL = 0.01, 250.0, -32767
#: Hours from 1900 to 2020-02-29.
START = 1_053_384
SECTION = {"variable": "t2m", "stations": [2, 5], "steps": [3, 4], "block_days": 4, "records": 40}


def packed():
    values = np.arange(TIMES * 12, dtype=np.int16).reshape(TIMES, 3, 4)
    values[5, 1, 2] = FILL
    return values


def temperatures():
    values = packed().astype(float)
    return np.where(values == FILL, np.nan, values * SCALE + OFFSET)


def netcdf4(path):
    with h5py.File(path, "w") as file:
        for name, values, units in (
            ("valid_time", START + 6 * np.arange(TIMES), "hours since 1900-01-01 00:00:0.0"),
            ("latitude", LATITUDES, "degrees_north"),
            ("longitude", LONGITUDES, "degrees_east"),
        ):
            file[name] = values
            file[name].make_scale(name)
            file[name].attrs["units"] = units
        file["t2m"] = packed()
        for place, name in enumerate(("valid_time", "latitude", "longitude")):
            file["t2m"].dims[place].attach_scale(file[name])
        file["t2m"].attrs.update(
            {"scale_factor": SCALE, "add_offset": OFFSET, "_FillValue": np.int16(FILL), "units": "K"}
        )
    return path


def classic(path):
    from scipy.io import netcdf_file

    with netcdf_file(path, "w") as file:
        for name, values, units in (
            ("time", START + 6 * np.arange(TIMES), "hours since 1900-01-01"),
            ("lat", LATITUDES, "degrees_north"),
            ("lon", LONGITUDES, "degrees_east"),
        ):
            file.createDimension(name, len(values))
            variable = file.createVariable(name, "f8", (name,))
            variable[:] = values
            variable.units = units
        variable = file.createVariable("t2m", "h", ("time", "lat", "lon"))
        variable[:] = packed()
        variable.scale_factor, variable.add_offset, variable._FillValue = SCALE, OFFSET, np.int16(FILL)
        variable.units = "K"
    return path


def zarr_group(path):
    group = zarr.open_group(path, mode="w")
    for name, values, units in (
        ("time", START + 6 * np.arange(TIMES), "hours since 1900-01-01"),
        ("latitude", LATITUDES, "degrees_north"),
        ("longitude", LONGITUDES, "degrees_east"),
    ):
        group.create_array(name, data=values, dimension_names=[name]).attrs["units"] = units
    # Another order of axes, which their names tell.
    array = group.create_array(
        "t2m", data=packed().transpose(1, 2, 0), dimension_names=["latitude", "longitude", "time"]
    )
    array.attrs.update({"scale_factor": SCALE, "add_offset": OFFSET, "_FillValue": FILL, "units": "K"})
    return path


WRITERS = {"era5.nc": netcdf4, "classic.nc": classic, "field.zarr": zarr_group}


@pytest.mark.parametrize("name", WRITERS)
def test_fields_are_unpacked_whatever_the_format(tmp_path, name):
    field = open_field(WRITERS[name](tmp_path / name), "t2m")
    np.testing.assert_allclose(field.read(3, 10), temperatures()[3:13])
    np.testing.assert_array_equal(field.latitude, LATITUDES)
    np.testing.assert_array_equal(field.longitude, LONGITUDES)
    assert field.time[0] == np.datetime64("2020-03-03", "s").astype(int)
    assert (field.interval, field.unit) == (21_600, "K")


@pytest.mark.parametrize("name", WRITERS)
def test_records_hold_the_fields_values(tmp_path, read, name):
    writer, opened = read(TemperatureSource(), WRITERS[name](tmp_path / name), temperature=SECTION)
    assert len(writer.records) == 40
    assert opened.about.synthetic is False
    assert opened.about.units == {"data": "K"}
    missing = 0
    for record_name, record in writer.records.items():
        places = []
        for north, sine, cosine in record["description"]["coords"]:
            row = np.argmin(np.abs(np.sin(np.deg2rad(LATITUDES)) - north))
            east = np.deg2rad(LONGITUDES)
            column = np.argmin(np.hypot(np.sin(east) - sine, np.cos(east) - cosine))
            places.append((row, column))
        assert len(set(places)) == len(places)
        sine, cosine, hour_sine, hour_cosine = record["description"]["start"]
        day = (math.atan2(sine, cosine) % (2 * math.pi)) * 365.25 / (2 * math.pi)
        begin = round((day - 62) * 4)  # From 3 March 2020, day 62 of that year.
        assert hour_sine == pytest.approx(math.sin(math.pi * begin / 2), abs=1e-9)
        assert hour_cosine == pytest.approx(math.cos(math.pi * begin / 2), abs=1e-9)
        # Blocks of four days: what is drawn for one split never shares a time with another's.
        block = begin // 16
        assert writer.groups[record_name].endswith(f"@{block}")
        assert (begin + len(record["data"]) - 1) // 16 == block
        for step, values in enumerate(record["data"]):
            expected = [temperatures()[begin + step, row, column] for row, column in places]
            found = [math.nan if value is None else value for value in values]
            missing += values.count(None)
            np.testing.assert_allclose(found, expected)
    assert writer.counts.get("missing values of the field", 0) == missing


def test_without_input_the_field_is_synthetic_and_says_so(read):
    section = {"synthetic_days": 64, "synthetic_grid": [4, 6], "stations": [2, 3], "records": 20}
    writer, opened = read(TemperatureSource(), temperature=section)
    assert opened.about.synthetic is True
    assert all(name.startswith("synthetic-") for name in writer.records)
    again, _ = read(TemperatureSource(), temperature=section, backwards=True)
    assert again.records == writer.records


def test_blocks_are_bounded_whatever_the_total_and_hold_the_same_records(read, monkeypatch):
    section = {"synthetic_days": 64, "synthetic_grid": [4, 6], "stations": [2, 3], "records": 50}
    whole, opened = read(TemperatureSource(), temperature=section)
    assert [block.size for block in opened.blocks] == [12, 13, 12, 13]
    monkeypatch.setattr("polycli.xval.sources.temperature.BLOCK", 5)

    cut, opened = read(TemperatureSource(), temperature=section)

    assert [block.size for block in opened.blocks] == [5, 5, 2, 5, 5, 3, 5, 5, 2, 5, 5, 3]
    assert list(cut.records.items()) == list(whole.records.items())
    # One group for each stretch of time, so that no split shares a time with another.
    assert cut.groups == whole.groups
    assert len(set(cut.groups.values())) == 4


def test_a_dry_run_of_a_billion_records_reads_one_block(tmp_path):
    section = {"synthetic_days": 64, "synthetic_grid": [4, 6], "stations": [2, 2], "steps": [2, 2], "records": 10**9}
    recipe = PrepareRecipe(family="xval", verb="prepare", temperature=section)
    opened = TemperatureSource().open((), recipe, None)

    draft = preview(tmp_path / "x.zarr", "x", opened, recipe)

    assert draft.more.first_block.records == BLOCK
    assert draft.rows == 10**9
    # A record has 2 x 3 numbers of places, 4 of its start and 2 x 2 values.
    assert draft.more.numbers == 14 * 10**9


def test_the_synthetic_climate_has_seasons_days_and_poles():
    year = np.arange(0, 24 * 365.25, 6)
    field = climate(year, np.array([80.0, 0.0, -80.0]), np.array([0.0, 180.0]))
    assert field[:, 1].mean() == pytest.approx(288, abs=0.1)
    assert field[:, 0].mean() == pytest.approx(288 - 40 * math.sin(math.radians(80)) ** 2, abs=0.1)
    north, south = (field[:, row, 0].reshape(-1, 1).ravel() for row in (0, 2))
    assert np.corrcoef(north, south)[0, 1] < -0.9
    # At the equator: 14 h is the warmest hour at longitude 0, twelve hours away on the other side.
    daily = climate(np.arange(24.0), np.array([0.0]), np.array([0.0, 180.0]))
    assert (daily[:, 0, 0].argmax(), daily[:, 0, 1].argmax()) == (14, 2)


def test_the_synthetic_weather_has_the_memory_and_size_that_it_states():
    values = weather(4000, 3, 8, seed=1)
    assert values.std() == pytest.approx(3, rel=0.05)
    ahead = (values[1:] * values[:-1]).mean() / values.var()
    assert ahead == pytest.approx(math.exp(-6 / 72), abs=0.02)


def test_the_field_follows_from_the_section_alone():
    section = TemperatureSection(synthetic_days=3, synthetic_grid=(2, 3))
    first = synthetic_field(section).read(0, 12)
    synthetic_field.cache_clear()
    np.testing.assert_array_equal(first, synthetic_field(section).read(0, 12))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"variable": "sst"}, "there is no variable 'sst'"),
        ({"stations": [2, 50]}, "has 12 points"),
        ({"steps": [3, 100]}, "64 times"),
    ],
)
def test_what_the_field_lacks_is_named(tmp_path, read, section, message):
    with pytest.raises(SourceError, match=message):
        read(TemperatureSource(), netcdf4(tmp_path / "era5.nc"), temperature=SECTION | section)


def test_a_file_of_another_kind_is_refused(tmp_path, read):
    (tmp_path / "text.nc").write_text("no field")
    with pytest.raises(SourceError, match="neither NetCDF nor zarr"):
        read(TemperatureSource(), tmp_path / "text.nc", temperature=SECTION)
