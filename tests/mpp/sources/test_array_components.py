"""Arrays of vectors beside arrays of scalars: each component is a field of its own."""

import h5py
import numpy as np
import pytest
import zarr

from polycli.errors import SourceError
from polycli.mpp.sources import array_files
from tests.mpp.sources.test_arrays import opened, pasted, rows, settled

BOUNDARY = "arrays.boundary={x: periodic, y: periodic}"


def arrays(seed=0):
    """A scalar and a vector over time as one would save them, (time, y, x), with times and coordinates."""
    generator = np.random.default_rng(seed)
    coordinates = {"t": 0.5 * np.arange(5), "x": np.arange(6.0), "y": np.arange(4.0)}
    return {"u": generator.normal(size=(5, 4, 6)), "velocity": generator.normal(size=(5, 4, 6, 2)), **coordinates}


def expected(*runs):
    """(trajectory, time, field, x, y)"""
    whole = [np.concatenate([run["u"][..., None], run["velocity"]], axis=-1) for run in runs]
    return np.stack(whole).transpose(0, 1, 4, 3, 2).astype(np.float32)


def test_the_line_that_is_proposed_takes_scalars_and_vectors_into_one_store(tmp_path):
    np.savez(tmp_path / "own.npz", **arrays())
    with pytest.raises(SourceError, match="which of the arrays 'u', 'velocity' to take") as caught:
        opened(tmp_path / "own.npz")
    dataset = opened(tmp_path / "own.npz", settings=settled(caught.value.hint, boundary="{x: wall, y: open}"))
    assert dataset.about.fields == ("my.u", "my.velocity_0", "my.velocity_1")
    np.testing.assert_array_equal(rows(dataset), expected(arrays()))


def test_groups_of_several_arrays_are_proposed_by_patterns(tmp_path):
    runs = [arrays(seed) for seed in range(3)]
    with h5py.File(tmp_path / "own.h5", "w") as file:
        for index, run in enumerate(runs):
            for name, values in run.items():
                file[f"run{index}/{name}"] = values
    with pytest.raises(SourceError, match="which of the arrays") as caught:
        opened(tmp_path / "own.h5")
    assert '{my.u: "*/u", my.velocity_0: "*/velocity:0", my.velocity_1: "*/velocity:1"}' in caught.value.hint
    dataset = opened(tmp_path / "own.h5", settings=settled(caught.value.hint, boundary="{x: wall, y: open}"))
    np.testing.assert_array_equal(rows(dataset), expected(*runs))


@pytest.mark.parametrize(
    ("fields", "axes", "sentence"),
    [
        ("{my.u: u, my.v: velocity}", "[time, y, x]", "is 4 axes, and arrays.axes names 3"),
        ("{my.u: u, my.v: velocity}", "[time, y, x, field]", "my.v is one field, and the array 'velocity' has 2"),
    ],
)
def test_a_vector_that_is_taken_for_one_field_is_refused_with_its_components(tmp_path, fields, axes, sentence):
    np.savez(tmp_path / "own.npz", **arrays())
    said = (f"arrays.fields={fields}", f"arrays.axes={axes}", BOUNDARY)
    with pytest.raises(SourceError, match=sentence) as caught:
        opened(tmp_path / "own.npz", settings=said)
    dataset = opened(tmp_path / "own.npz", settings=(*said, *pasted(caught.value.hint)))
    assert dataset.about.fields == ("my.u", "my.v_0", "my.v_1")
    np.testing.assert_array_equal(rows(dataset), expected(arrays()))


@pytest.mark.parametrize(
    ("field", "sentence"), [("velocity:2", "has 2 entries along its axis field"), ("u:0", "has no axis field")]
)
def test_a_component_that_does_not_exist_is_refused(tmp_path, field, sentence):
    np.savez(tmp_path / "own.npz", **arrays())
    said = (f"arrays.fields={{my.a: {field}}}", "arrays.axes=[time, y, x, field]", BOUNDARY)
    with pytest.raises(SourceError, match=sentence):
        opened(tmp_path / "own.npz", settings=said)


def test_each_array_of_an_npz_file_is_unpacked_once(tmp_path, monkeypatch):
    np.savez(tmp_path / "own.npz", a=arrays()["u"], b=arrays()["u"], c=arrays()["u"])
    read = []
    original = array_files.read_npz
    monkeypatch.setattr(array_files, "read_npz", lambda path, name: read.append(name) or original(path, name))
    monkeypatch.setattr("polycli.mpp.sources.array_read.BLOCK_BYTES", 1)
    said = ("arrays.fields={my.a: a, my.b: b, my.c: c}", "arrays.axes=[time, x, y]", "arrays.dt=1", BOUNDARY)
    assert rows(opened(tmp_path / "own.npz", settings=said)).shape == (1, 5, 3, 4, 6)
    assert sorted(read) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "open_file", [lambda path: h5py.File(path / "own.h5", "w"), lambda path: zarr.open(path / "own.zarr", mode="w")]
)
def test_attributes_of_groups_are_parameters(tmp_path, open_file):
    file = open_file(tmp_path)
    file.attrs["mu"] = 7
    for index in range(2):
        group = file.create_group(f"run{index}")
        group.attrs.update(nu=index / 10, who="me")
        group["u"] = index + arrays()["u"]
    if isinstance(file, h5py.File):
        file.close()
    said = ('arrays.fields={my.u: "*/u"}', "arrays.axes=[time, y, x]", "arrays.dt=1", BOUNDARY)
    (own,) = tmp_path.iterdir()
    dataset = opened(own, settings=(*said, 'arrays.parameters={nu: "*/@nu", mu: "@mu"}'))
    assert [parameters for job in dataset.jobs for parameters in job.parameters] == [(0.0, 7.0), (0.1, 7.0)]
    with pytest.raises(SourceError, match="attributes @mu, run0/@nu, run1/@nu"):
        opened(own, settings=(*said, 'arrays.parameters={nu: "*/nu"}'))
