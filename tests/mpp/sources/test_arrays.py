"""One's own arrays: any order of axes, any kind of file, read bit for bit; what is not said is refused with a line."""

import itertools
import re

import h5py
import numpy as np
import pytest
import zarr

from polycli.errors import RecipeError, SourceError
from polycli.mpp.sources import array_files, array_read
from polycli.mpp.sources.arrays import ArraysSource
from polycli.recipes import default_recipe

SIZES = {"trajectory": 3, "time": 5, "x": 6, "y": 4, "field": 2}
FULL = ("trajectory", "time", "field", "x", "y")
SAID = (
    "arrays.fields=[my.height, my.speed]",
    "arrays.boundary={x: periodic, y: wall}",
    "arrays.dt=0.1",
)
ORDERS = [
    "trajectory,time,x,y,field",
    "y,x,time,field,trajectory",
    "field,time,trajectory,y,x",
    "x,trajectory,y,field,time",
]


def numbers(dtype=np.float64, axes=FULL):
    generator = np.random.default_rng(0)
    return generator.normal(size=[SIZES[axis] for axis in axes]).astype(dtype)


def turned(values, order, axes=FULL):
    """The array as somebody else would have written it, with its axes in another order."""
    return np.ascontiguousarray(values.transpose([axes.index(axis) for axis in order]))


def opened(*paths, settings=(), limit=None):
    (dataset,) = ArraysSource().open(paths, default_recipe("mpp", "prepare", tuple(settings)), limit)
    return dataset


def rows(dataset):
    """(trajectory, time, field, x, y) as it would go into a store."""
    return np.stack(
        [np.concatenate(list(trajectory.blocks)) for job in dataset.jobs for trajectory in job.trajectories(job.ids)]
    )


def write(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".zarr":
        group = zarr.open_group(path, mode="w")
        for name, values in arrays.items():
            group.create_array(name, data=np.asarray(values))
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values


def axes_line(order):
    return f"arrays.axes=[{', '.join(order)}]"


@pytest.mark.parametrize("order", list(itertools.permutations(FULL)), ids="-".join)
def test_every_order_of_axes_gives_the_same_trajectories_bit_for_bit(tmp_path, order):
    values = numbers()
    np.save(tmp_path / "own.npy", turned(values, order))
    dataset = opened(tmp_path / "own.npy", settings=(*SAID, axes_line(order)))
    found = rows(dataset)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values.astype(np.float32))
    assert dataset.about.grid == (6, 4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("suffix", [".npz", ".h5", ".zarr"])
def test_every_kind_of_file_gives_what_numpy_gives(tmp_path, suffix, order, monkeypatch):
    monkeypatch.setattr(array_read, "BLOCK_BYTES", 1)  # A frame at a time.
    monkeypatch.setattr(array_read, "_SCATTERED_BYTES", 1)
    values = numbers(np.float32)
    path = tmp_path / f"own{suffix}"
    write(path, {"data": turned(values, order.split(",")), "note": np.arange(3)})
    np.testing.assert_array_equal(rows(opened(path, settings=(*SAID, axes_line(order.split(","))))), values)


@pytest.mark.parametrize("job_bytes", [1, 10**7])
def test_a_piece_that_holds_several_trajectories_is_read_once(tmp_path, monkeypatch, job_bytes):
    """It was unpacked for each of them."""
    monkeypatch.setattr("polycli.mpp.sources.frames._JOB_BYTES", job_bytes)
    values = numbers(np.float32)
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file.create_dataset("u", data=values, chunks=(2, 1, 2, 6, 4), compression="gzip")
    read = []
    part = array_files.ArrayFile.read
    monkeypatch.setattr(array_files.ArrayFile, "read", lambda *a: read.append(a[2]) or part(*a))
    dataset = opened(tmp_path / "own.h5", settings=(*SAID, axes_line(FULL)))
    np.testing.assert_array_equal(rows(dataset), values)
    assert [(index[0].start, index[0].stop) for index in read] == ([(0, 2), (2, 3)] if job_bytes == 1 else [(0, 3)])
    # Some alone, and from a later frame on.
    job = dataset.jobs[0].starting_at(3)
    (trajectory,) = job.trajectories(["0001"])
    np.testing.assert_array_equal(np.concatenate(list(trajectory.blocks)), values[1, 3:])


def test_small_trajectories_of_a_job_are_read_in_one_go_whatever_is_wanted_of_them(tmp_path, monkeypatch):
    """The file was opened, and looked through, for each."""
    values = numbers(np.float32)
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file["u"] = values
    (job,) = opened(tmp_path / "own.h5", settings=(*SAID, axes_line(FULL))).jobs
    opens = []
    open_arrays = array_read.open_arrays
    monkeypatch.setattr(array_read, "open_arrays", lambda path: opens.append(path) or open_arrays(path))
    found = {
        trajectory.id: np.concatenate(list(trajectory.blocks)) for trajectory in job.trajectories(["0002", "0000"])
    }
    assert len(opens) == 1
    assert list(found) == ["0000", "0002"]
    for name, row in found.items():
        np.testing.assert_array_equal(row, values[int(name)])


def test_axes_may_be_absent_and_files_are_then_trajectories(tmp_path):
    values = numbers(axes=("trajectory", "time", "x", "y"))
    for index, trajectory in enumerate(values):
        np.save(tmp_path / f"run{index}.npy", trajectory.transpose(2, 0, 1))
    settings = ("arrays.fields=[my.height]", *SAID[1:], "arrays.axes=[y, time, x]")
    dataset = opened(tmp_path, settings=settings)
    np.testing.assert_array_equal(rows(dataset)[:, :, 0], values.astype(np.float32))
    assert [job.source for job in dataset.jobs] == ["run0.npy", "run1.npy", "run2.npy"]
    assert len(opened(tmp_path, settings=settings, limit=2).jobs) == 2


def test_one_array_for_each_field_by_name(tmp_path):
    height, speed = numbers(axes=("trajectory", "time", "x", "y")), numbers(axes=("trajectory", "time", "x", "y")) ** 2
    np.savez(tmp_path / "own.npz", h=height, v=speed)
    settings = ("arrays.fields={my.speed: v, my.height: h}", *SAID[1:], "arrays.axes=[trajectory, time, x, y]")
    dataset = opened(tmp_path / "own.npz", settings=settings)
    assert dataset.about.fields == ("my.speed", "my.height")
    np.testing.assert_array_equal(rows(dataset), np.stack([speed, height], axis=2).astype(np.float32))


def test_a_group_for_each_trajectory_is_read_by_one_pattern(tmp_path):
    values = numbers()
    with h5py.File(tmp_path / "own.h5", "w") as file:
        for index, trajectory in enumerate(values):
            file[f"run{index}/u"] = turned(trajectory, ORDERS[1].replace(",trajectory", "").split(","), FULL[1:])
            file[f"run{index}/t"] = 0.5 * np.arange(5)
            file[f"run{index}/nu"] = index / 10
    with pytest.raises(SourceError, match="which of the arrays 'run0/u', 'run1/u', 'run2/u' to take") as caught:
        opened(tmp_path / "own.h5")
    assert pasted(caught.value.hint)[0] == 'arrays.array="*/u"'
    settings = (*SAID[:2], 'arrays.array="*/u"', "arrays.axes=[y, x, time, field]", 'arrays.parameters={nu: "*/nu"}')
    dataset = opened(tmp_path / "own.h5", settings=settings)
    np.testing.assert_array_equal(rows(dataset), values.astype(np.float32))
    assert [name for job in dataset.jobs for name in job.ids] == ["run0", "run1", "run2"]
    assert [parameters for job in dataset.jobs for parameters in job.parameters] == [(0.0,), (0.1,), (0.2,)]
    assert dataset.about.dt == 0.5
    assert dataset.files == (tmp_path / "own.h5",)


def test_coordinates_may_be_meshes(tmp_path):
    x, y = np.meshgrid(np.arange(6.0), np.arange(4.0) / 2, indexing="ij")
    np.savez(tmp_path / "own.npz", data=numbers(), x=x, y=y.T)
    dataset = opened(tmp_path / "own.npz", settings=(*SAID, axes_line(FULL)))
    np.testing.assert_allclose(dataset.about.extent, [[-0.5, 5.5], [-0.25, 1.75]])


def test_the_description_holds_what_was_said_and_the_selection_what_was_asked(tmp_path):
    values = numbers()
    np.savez(
        tmp_path / "own.npz",
        data=values,
        viscosity=[0.1, 0.2, 0.3],
        part=["train", "valid", "test"],
        x=np.linspace(0.5, 5.5, 6),
    )
    settings = (
        *SAID,
        axes_line(FULL),
        "arrays.array=data",
        "arrays.units={my.height: m}",
        "arrays.parameters={nu: viscosity, gravity: 9.81}",
        "arrays.split=part",
        "dataset.name=mine",
        "select.time_stride=2",
        "select.first_frame=1",
        "select.space_stride=2",
    )
    dataset = opened(tmp_path / "own.npz", settings=settings)
    about = dataset.about
    assert dataset.name == "mine"
    assert about.physics == "my"
    assert about.units == ("m", "")
    assert about.dt == pytest.approx(0.2)
    assert about.boundary_conditions == {"x": "periodic", "y": "wall"}
    assert about.parameter_names == ("nu",)
    assert about.constants == {"gravity": 9.81}
    assert [parameters for job in dataset.jobs for parameters in job.parameters] == [(0.1,), (0.2,), (0.3,)]
    assert list(dataset.splits.values()) == ["train", "validation", "test"]
    np.testing.assert_allclose(dataset.time, [0.1, 0.3])
    np.testing.assert_array_equal(rows(dataset), values[:, 1::2, :, ::2, ::2].astype(np.float32))
    # Kept points at 0.5, 2.5 and 4.5 are the middles of cells that are twice as wide.
    assert about.extent[0] == pytest.approx((-0.5, 5.5))


def netcdf(path, values, order, *, packed=False):
    """As NetCDF4 writes it: a scale for each dimension, numbers perhaps packed into integers."""
    with h5py.File(path, "w") as file:
        for name, length in (("time", SIZES["time"]), ("x", SIZES["x"]), ("y", SIZES["y"])):
            file[name] = 0.25 * np.arange(length) + 1
            file[name].make_scale(name)
        data = file.create_dataset("h", data=values.transpose([("time", "x", "y").index(name) for name in order]))
        data.attrs["units"] = "m"
        if packed:
            data.attrs.update({"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": np.int16(-1)})
        for place, name in enumerate(order):
            data.dims[place].attach_scale(file[name])


@pytest.mark.parametrize("order", list(itertools.permutations(("time", "x", "y"))), ids="-".join)
def test_netcdf_says_by_itself_which_axis_is_what(tmp_path, order):
    values = numbers(axes=("time", "x", "y"))
    netcdf(tmp_path / "own.nc", values, order)
    dataset = opened(tmp_path / "own.nc", settings=("arrays.fields=[my.height]", SAID[1]))
    np.testing.assert_array_equal(rows(dataset)[0, :, 0], values.astype(np.float32))
    assert dataset.about.dt == 0.25
    assert dataset.about.units == ("m",)
    np.testing.assert_allclose(dataset.about.extent, [[0.875, 2.375], [0.875, 1.875]])
    np.testing.assert_allclose(dataset.time, 1 + 0.25 * np.arange(5))


def test_packed_numbers_of_netcdf_come_unpacked_and_unknown_ones_as_nan(tmp_path):
    values = np.arange(5 * 6 * 4, dtype=np.int16).reshape(5, 6, 4)
    values[3, 2, 1] = -1
    netcdf(tmp_path / "own.nc", values, ("time", "x", "y"), packed=True)
    expected = np.where(values == -1, np.nan, 10 + 0.5 * values).astype(np.float32)
    dataset = opened(tmp_path / "own.nc", settings=("arrays.fields=[my.height]", SAID[1]))
    np.testing.assert_array_equal(rows(dataset)[0, :, 0], expected)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"_FillValue": 7.0}, [0.0, 1.0, np.nan]),
        ({"missing_value": [7.0, 1.0]}, [0.0, np.nan, np.nan]),
        ({"_FillValue": "AAAAAAAAHEA="}, [0.0, 1.0, np.nan]),  # 7 in float64, as xarray writes it into zarr v3.
        ({"_FillValue": "words of it", "scale_factor": "?"}, [0.0, 1.0, 7.0]),
        ({"_FillValue": 1e300, "add_offset": 2.5, "scale_factor": 10.0}, [2.5, 12.5, 72.5]),
    ],
)
def test_marks_of_unknown_numbers_are_read_in_all_their_forms(tmp_path, attributes, expected):
    values = np.zeros((3, 4, 5), np.float32)
    values[1], values[2] = 1, 7
    array = zarr.open_group(tmp_path / "own.zarr", mode="w").create_array("h", data=values)
    array.attrs.update(attributes)
    settings = ("arrays.fields=[my.height]", *SAID[1:], "arrays.axes=[time, x, y]")
    np.testing.assert_array_equal(rows(opened(tmp_path / "own.zarr", settings=settings))[0, :, 0, 0, 0], expected)


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_as_xarray_writes_it_says_which_axis_is_what(tmp_path, version):
    values = numbers(axes=("time", "x", "y"))
    group = zarr.open_group(tmp_path / "own.zarr", mode="w", zarr_format=version)
    arrays = {"h": (values.transpose(2, 0, 1), ["lat", "time", "lon"]), "time": (np.arange(5) * 0.5, ["time"])}
    for name, (data, dims) in arrays.items():
        named = {"dimension_names": dims} if version == 3 else {}
        array = group.create_array(name, shape=data.shape, dtype=data.dtype, **named)
        array[...] = data
        if version == 2:
            array.attrs["_ARRAY_DIMENSIONS"] = dims
    dataset = opened(tmp_path / "own.zarr", settings=("arrays.fields={my.height: h}", SAID[1]))
    np.testing.assert_array_equal(rows(dataset)[0, :, 0], values.astype(np.float32))
    assert dataset.about.dt == 0.5
    assert dataset.name == "own"


def pasted(hint):
    """The settings of a proposed line, as the shell would pass them on."""
    return [one or two for one, two in re.findall(r"--set (?:'([^']+)'|(\S+))", hint)]


def settled(hint, **said):
    """The proposed settings with an answer in place of each that a file leaves open."""
    lines = {line.split("=", 1)[0].removeprefix("arrays."): line for line in pasted(hint)}
    given = {key: f"arrays.{key}={value}" for key, value in said.items()}
    assert {key for key, line in lines.items() if "|" in line or "NUMBER" in line} == set(said)
    return tuple({**lines, **given}.values())


BOUNDARY = "{x: periodic, y: wall}"
SCALARS = ("trajectory", "time", "x", "y")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"data": numbers()}, {"axes": "[trajectory, time, field, x, y]", "fields": "[my.a, my.b]", "dt": 1}),
        (
            {"data": turned(numbers(), ORDERS[0].split(",")), "time": np.arange(5) * 0.1},
            {"axes": "[trajectory, time, x, y, field]", "fields": "[my.a, my.b]"},
        ),
        (
            {"h": numbers(axes=("time", "x", "y")), "v": numbers(axes=("time", "x", "y"))},
            {"axes": "[time, x, y]", "dt": 1},
        ),
        ({"h": numbers(axes=SCALARS), "dt": 0.5}, {"axes": "[trajectory, time, x, y]"}),
        ({"h": numbers(axes=("time", "x", "y")), "tt": np.arange(5), "ygrid": np.arange(4)}, {}),
    ],
)
def test_a_proposed_line_is_refused_until_what_the_file_leaves_open_is_said(tmp_path, arrays, said):
    """Pasted unchanged it was taken, with sides and times that nobody had said."""
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(SourceError, match=r"axes|which of the arrays") as caught:
        opened(tmp_path / "own.npz")
    for name, values in arrays.items():
        assert f"{name!r} {np.shape(values)}" in caught.value.message
    hint = caught.value.hint
    with pytest.raises(RecipeError, match=r"'wall' or 'open', found 'periodic\|wall\|open'") as bad:
        opened(tmp_path / "own.npz", settings=pasted(hint))
    assert "did you mean" not in bad.value.message
    fields = said.pop("fields", None)
    settings = settled(hint, boundary=BOUNDARY, **said) + ((f"arrays.fields={fields}",) if fields else ())
    dataset = opened(tmp_path / "own.npz", settings=settings)
    count = len(dataset.about.fields)
    assert rows(dataset).shape == (len(rows(dataset)), 5, count, 6, 4)
    if "dt" in arrays:
        assert dataset.about.dt == 0.5


def own_names(shape=(4, 3, 6, 5), **other):
    """Two fields with axes (y, run, x, time), with lines of names that nobody agreed upon."""
    generator = np.random.default_rng(0)
    lines = {"tt": 7 + 0.5 * np.arange(shape[3]), "xgrid": 0.5 + np.arange(shape[2]), "ygrid": np.arange(shape[0]) * 2}
    parameters = {"b": 1.5, "c": generator.uniform(-1, 0, shape[1])}
    fields = {"ReA": generator.normal(size=shape), "ImA": generator.normal(size=shape)}
    return {**fields, **lines, **parameters, **other}


def test_axes_are_told_by_lengths_of_lines_whatever_these_are_called(tmp_path):
    """Proposed were axes in the usual order, with a field for each trajectory and a time step of 1."""
    arrays = own_names()
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(SourceError) as caught:
        opened(tmp_path / "own.npz")
    assert pasted(caught.value.hint) == [
        "arrays.axes=[y, trajectory, x, time]",
        "arrays.fields={my.ReA: ReA, my.ImA: ImA}",
        "arrays.boundary={x: periodic|wall|open, y: periodic|wall|open}",
        "arrays.time=tt",
        "arrays.coordinates={x: xgrid, y: ygrid}",
        "arrays.parameters={b: b, c: c}",
    ]
    dataset = opened(tmp_path / "own.npz", settings=settled(caught.value.hint, boundary=BOUNDARY))
    whole = np.stack([arrays["ReA"], arrays["ImA"]]).transpose(2, 4, 0, 3, 1)
    np.testing.assert_array_equal(rows(dataset), whole.astype(np.float32))
    assert dataset.about.dt == 0.5
    np.testing.assert_allclose(dataset.about.extent, [[0, 6], [-1, 7]])
    assert dataset.about.parameter_names == ("b", "c")


OWN_NAMES = ("arrays.axes=[y, trajectory, x, time]", "arrays.fields={my.a: ReA}", "arrays.boundary={x: wall, y: wall}")


@pytest.mark.parametrize(
    ("arrays", "said", "noted"),
    [
        (own_names(), (), "along x and y: 0 to 1 is taken; is 'xgrid' x and is 'ygrid' y? Then --set 'arrays.coord"),
        (own_names(), ("arrays.coordinates={x: xgrid}",), "y: 0 to 1 is taken; is 'ygrid' y? Then --set 'arrays.coord"),
        (
            {"ReA": own_names()["ReA"], "tt": np.arange(5)},
            (),
            "taken; --set 'arrays.extent=[[0, LENGTH], [0, LENGTH]]'",
        ),
        (own_names(), ("arrays.extent=[[0, 6], [0, 8]]",), ""),
        (own_names(), ("arrays.coordinates={x: xgrid, y: ygrid}",), ""),
    ],
)
def test_an_extent_that_nothing_says_is_noted_with_the_arrays_that_may_say_it(tmp_path, capsys, arrays, said, noted):
    """It was taken as 0 to 1 without a word."""
    np.savez(tmp_path / "own.npz", **arrays)
    dataset = opened(tmp_path / "own.npz", settings=(*OWN_NAMES, "arrays.time=tt", *said))
    notes = " ".join(capsys.readouterr().err.split())
    assert (noted in notes) if noted else ("is taken" not in notes)
    if noted and not said:
        assert dataset.about.extent == ((0.0, 1.0), (0.0, 1.0))
    if lines := pasted(notes):
        settings = (*OWN_NAMES, "arrays.time=tt", *(line for line in lines if "LENGTH" not in line))
        assert opened(tmp_path / "own.npz", settings=settings).about.extent[1] in {(-1.0, 7.0), (0.0, 1.0)}


@pytest.mark.parametrize(
    ("arrays", "axes"),
    [
        # Two axes of one length; no array of a number a run; a line that may be times or a parameter that was swept.
        (own_names((6, 3, 6, 5)), "[{0}, {0}, {0}, time]".format("trajectory|field|x|y")),
        (own_names(c=1.0), "[y, trajectory|field, x, time]"),
        ({**own_names(tt=0.0), "s": np.arange(5.0)}, "[y, trajectory|time|field, x, trajectory|time|field]"),
        # Two lines that say they are x.
        (own_names(x=np.arange(4)), "[{0}, {0}, {0}, time]".format("trajectory|field|x|y")),
    ],
)
def test_an_axis_that_lengths_do_not_tell_is_left_open(tmp_path, arrays, axes):
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(SourceError, match="nothing tells") as caught:
        opened(tmp_path / "own.npz")
    proposed = pasted(caught.value.hint)[0]
    with pytest.raises(RecipeError, match=r"arrays\.axes"):
        default_recipe("mpp", "prepare", (proposed,))
    assert proposed == f"arrays.axes={axes}"


def test_an_array_of_too_few_axes_is_refused_where_no_other_could_be_frames(tmp_path):
    np.savez(tmp_path / "own.npz", a=np.zeros((4, 5)), dx=0.1, nu=0.2)
    with pytest.raises(SourceError, match="its dimensions are not those of frames over time") as caught:
        opened(tmp_path / "own.npz", settings=("arrays.array=a",))
    assert "arrays.parameters={nu: nu}" in pasted(caught.value.hint)


def test_axes_of_equal_lengths_are_named_as_what_nobody_can_tell_apart(tmp_path):
    np.save(tmp_path / "own.npy", np.zeros((8, 8, 8)))
    with pytest.raises(SourceError, match="nothing tells which of the 1st, 2nd and 3rd is time, x or y") as caught:
        opened(tmp_path / "own.npy")
    assert "--set 'arrays.axes=[time|x|y, time|x|y, time|x|y]'" in caught.value.hint
    assert "--set arrays.dt=NUMBER" in caught.value.hint


@pytest.mark.parametrize(
    ("arrays", "settings", "sentence"),
    [
        ({"a": numbers()}, ["arrays.axes=[trajectory, time, x, y]"], "is 5 axes, and arrays.axes names 4"),
        ({"a": numbers()}, [axes_line(FULL), "arrays.fields=[my.h]"], "so 2 fields, and 1 names were given"),
        ({"a": numbers()}, [axes_line(FULL), "arrays.array=b"], "there is no array 'b'"),
        ({"a": numbers().astype(complex)}, [axes_line(FULL), "arrays.array=a"], "real and imaginary parts"),
        ({"a": numbers(), "time": np.arange(6)}, [axes_line(FULL)], r"times 'time' are \(6,\), \(5,\) was expected"),
        ({"a": numbers(), "t": np.arange(5)[::-1]}, [axes_line(FULL)], "do not increase after frame 0: 4, then 3"),
        ({"a": numbers(), "t": np.logspace(-2, 0, 5)}, [axes_line(FULL)], "are uneven: steps of 0.02162 to 0.6838"),
        ({"a": numbers(), "t": np.arange(5) * 0.3}, [axes_line(FULL)], "its times are 0.3 apart, arrays.dt says 0.1"),
        ({"a": numbers(), "x": np.arange(7)}, [axes_line(FULL)], r"coordinates 'x' are .* \(6,\) was expected"),
        ({"a": numbers(), "y": -np.arange(4)}, [axes_line(FULL)], "coordinates 'y' fall"),
        ({"a": numbers(), "x": np.full(6, np.nan)}, [axes_line(FULL)], "coordinates 'x' are not finite"),
        ({"a": numbers(), "x": np.arange(6)}, [axes_line(FULL), "arrays.extent=[[0,1],[0,1]]"], "fill -0.5 to 5.5"),
        (
            {"a": numbers(), "p": np.arange(2)},
            [axes_line(FULL), "arrays.parameters={nu: p}"],
            "parameter nu, array 'p'",
        ),
        ({"a": numbers(), "s": ["a"] * 3}, [axes_line(FULL), "arrays.split=s"], "hold 'a'; train, validation"),
        ({"a": numbers()}, [axes_line(FULL), "arrays.split=s"], "arrays.split names 's', which is not in it"),
        ({"a": np.zeros(4)}, [axes_line(FULL)], "no array of real numbers with 3 to 5 axes"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, arrays, settings, sentence):
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(SourceError, match=sentence):
        opened(tmp_path / "own.npz", settings=(*SAID, *settings))


def test_axes_that_a_file_itself_names_otherwise_are_refused(tmp_path):
    netcdf(tmp_path / "own.nc", numbers(axes=("time", "x", "y")), ("time", "y", "x"))
    with pytest.raises(SourceError, match="says x where the array 'h' itself says y"):
        opened(tmp_path / "own.nc", settings=("arrays.fields=[my.height]", SAID[1], "arrays.axes=[time, x, y]"))


@pytest.mark.parametrize("axes", ["[time, x]", "[time, time, x, y]", "[time, x, y, z]"])
def test_axes_that_cannot_be_are_refused_before_a_file_is_opened(axes):
    with pytest.raises(RecipeError, match="axes"):
        default_recipe("mpp", "prepare", (f"arrays.axes={axes}",))


def test_an_array_that_is_called_t_and_is_not_of_times_can_be_left_aside(tmp_path):
    np.savez(tmp_path / "own.npz", data=numbers(), t=np.arange(3), x=np.arange(9))
    settings = (*SAID, axes_line(FULL), 'arrays.time=""', 'arrays.coordinates={x: ""}')
    dataset = opened(tmp_path / "own.npz", settings=settings)
    assert dataset.about.dt == 0.1
    assert dataset.about.extent[0] == (0.0, 1.0)
    with pytest.raises(SourceError, match=r"and arrays\.dt is not given"):
        opened(tmp_path / "own.npz", settings=(*SAID[:2], axes_line(FULL), 'arrays.time=""'))


def test_stretched_coordinates_are_flagged(tmp_path):
    np.savez(tmp_path / "own.npz", data=numbers(), x=np.logspace(-2, 0, 6))
    dataset = opened(tmp_path / "own.npz", settings=(*SAID, axes_line(FULL)))
    assert {left.reason for left in dataset.flagged} == {"stretched grid: steps along x are 0.01512 to 0.6019"}
    assert len(dataset.flagged) == 3


def test_times_in_float32_are_even_though_they_are_rounded(tmp_path):
    np.savez(tmp_path / "own.npz", data=numbers(), t=(1000 + 0.01 * np.arange(5)).astype(np.float32))
    assert opened(tmp_path / "own.npz", settings=(*SAID[:2], axes_line(FULL))).about.dt == pytest.approx(0.01, rel=1e-2)


def test_files_that_differ_are_refused_with_both_names(tmp_path):
    np.save(tmp_path / "a.npy", numbers())
    np.save(tmp_path / "b.npy", numbers()[:, :4])
    with pytest.raises(SourceError, match=r"b.npy: frames 4, 5 was expected from .*a.npy"):
        opened(tmp_path / "a.npy", tmp_path / "b.npy", settings=(*SAID, axes_line(FULL)))
