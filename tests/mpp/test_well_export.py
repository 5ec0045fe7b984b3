"""A store that goes to The Well's files and back is the same store; its statistics are those of its training rows."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from polycli import __main__ as entry
from polycli.mpp.data import well_export
from polycli.mpp.data.well_arrays import well_arrays
from polycli.mpp.data.well_export import export_well
from polycli.mpp.prepare import run
from polycli.requests import PrepareRequest
from polycli.store.reader import Store, open_store

FLOW = ("ns.velocity_x", "ns.velocity_y", "ns.pressure", "ns.D_xx", "ns.D_xy", "ns.D_yx", "ns.D_yy")


def prepared(folder: Path, output: Path) -> Store:
    (made,) = run(PrepareRequest(source="well", inputs=(folder,), output=output, workers=1))["stores"]
    return open_store(Path(made["path"]), family="mpp", verify="full")


def test_a_store_comes_back_bit_for_bit_and_in_its_splits(tmp_path, store_factory):
    splits = ("train", "test", "train", "validation", "train")
    path = store_factory("flow", physics="ns", fields=FLOW, splits=splits, grid=(6, 8), boundary="wall")
    store = open_store(path)
    document = export_well(path, tmp_path / "well")
    assert document["trajectories"] == {"train": 3, "valid": 1, "test": 1}
    again = prepared(tmp_path / "well", tmp_path / "again")
    assert again.name == "flow"
    assert again.manifest.row_splits == ("train", "train", "train", "validation", "test")
    order = [store.manifest.about["fields"].index(name) for name in again.manifest.about["fields"]]
    assert sorted(order) == list(range(len(FLOW)))
    rows = [0, 2, 4, 3, 1]
    np.testing.assert_array_equal(again.read_rows("fields", range(5)), store.read_rows("fields", rows)[:, :, order])
    np.testing.assert_allclose(again.read("time"), store.read("time"), atol=1e-6)
    for key in ("grid", "extent", "dt", "boundary_conditions", "physics"):
        assert again.manifest.about[key] == store.manifest.about[key], key
    parameters = [
        dict(zip(s.manifest.about["parameter_names"], s.read("params").T, strict=True)) for s in (store, again)
    ]
    np.testing.assert_array_equal(parameters[1]["number"], parameters[0]["number"][rows])


def test_the_six_statistics_are_those_of_the_training_rows(tmp_path, store_factory):
    path = store_factory("flow", fields=FLOW, splits=("train", "test", "train"))
    export_well(path, tmp_path / "well")
    statistics = yaml.safe_load((tmp_path / "well/stats.yaml").read_text())
    assert list(statistics) == ["mean", "std", "rms", "mean_delta", "std_delta", "rms_delta"]
    training = open_store(path).read_rows("fields", [0, 2]).astype(np.float64)
    changes = np.diff(training, axis=1)
    for values, twin in ((training, ""), (changes, "_delta")):
        expected = {
            "mean": values.mean(axis=(0, 1, 3, 4)),
            "std": values.std(axis=(0, 1, 3, 4)),
            "rms": np.sqrt(np.square(values).mean(axis=(0, 1, 3, 4))),
        }
        for name, by_field in expected.items():
            found = statistics[name + twin]
            np.testing.assert_allclose(found["velocity"], by_field[:2], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(found["pressure"], by_field[2], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(found["D"], by_field[3:].reshape(2, 2), rtol=1e-9, atol=1e-12)


def test_no_deviation_is_below_what_the_wells_own_statistics_allow(tmp_path, store_factory, monkeypatch):
    assert well_export.SMALLEST_STD == 1e-4
    monkeypatch.setattr(well_export, "SMALLEST_STD", 10.0)
    export_well(store_factory("flow"), tmp_path / "well")
    statistics = yaml.safe_load((tmp_path / "well/stats.yaml").read_text())
    assert statistics["std"]["height"] == statistics["std_delta"]["height"] == 10
    assert 0 < statistics["rms_delta"]["height"] < statistics["rms"]["height"] < 10


def test_files_have_all_that_the_wells_own_check_of_their_form_asks_for(tmp_path, store_factory):
    export_well(store_factory("flow", fields=FLOW, splits=("train", "test")), tmp_path / "well")
    with h5py.File(tmp_path / "well/data/train/flow.hdf5") as file:
        assert {"n_spatial_dims", "n_trajectories", "dataset_name", "grid_type", "simulation_parameters"} <= set(
            file.attrs
        )
        assert list(file["dimensions"].attrs["spatial_dims"]) == ["x", "y"]
        for node in (*file["dimensions"].values(), *file["boundary_conditions"].values(), *file["scalars"].values()):
            for flag in ("sample_varying", "time_varying"):
                assert isinstance(node.attrs[flag], np.bool_), (node.name, flag)
        for group in file["boundary_conditions"].values():
            assert group.attrs["bc_type"] == "PERIODIC"
            np.testing.assert_array_equal(group["mask"][[0, 1, -1]], [True, False, True])
            assert isinstance(group.attrs["associated_dims"], np.ndarray)
        assert [list(file[f"t{order}_fields"].attrs["field_names"]) for order in range(3)] == [
            ["pressure"],
            ["velocity"],
            ["D"],
        ]
        assert file["t2_fields/D"].shape == (1, 12, 16, 16, 2, 2)
        assert not file["t2_fields/D"].attrs["symmetric"]


def test_names_decide_what_is_a_vector_and_whole_names_tell_two_physics_apart():
    fields = ("a.u_x", "a.u_y", "a.u", "a.v_x", "b.w")
    arrays = well_arrays(fields, ("m", "m", "", "", "s"))
    # `u` is a scalar already, and `v` lacks its y.
    assert {array.name: array.order for array in arrays} == dict.fromkeys(("u_x", "u_y", "u", "v_x", "w"), 0)
    twice = well_arrays(("a.u_x", "a.u_y", "b.u_x"), ("m", "s", ""))
    assert [(array.name, array.order, array.unit) for array in twice] == [("b_u_x", 0, ""), ("a_u", 1, ("m", "s"))]


def test_the_command_says_what_it_wrote_and_replaces_nothing_unasked(tmp_path, store_factory, capsys):
    path = str(store_factory("flow", splits=("train", "test")))
    line = ["export", path, "--format", "well", "--output", str(tmp_path / "well")]
    assert entry.run([*line, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["trajectories"] == {"train": 1, "test": 1}
    assert "no trajectory is in valid" in captured.err
    assert entry.run(line) == 2
    assert "exists already" in capsys.readouterr().err
    assert entry.run([*line, "--force"]) == 0
    (tmp_path / "well/notes.txt").write_text("mine")
    assert entry.run([*line, "--force"]) == 2
    assert "also holds notes.txt" in capsys.readouterr().err
    assert (tmp_path / "well/notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--format", "wel", "--output", "out"], "--format wel: no format for stores of this family: mpp has well"),
        (["--format", "well"], "--output DIR names a new folder"),
    ],
)
def test_a_format_that_is_none_and_a_folder_that_is_not_said_are_refused(
    tmp_path, store_factory, capsys, monkeypatch, options, sentence
):
    monkeypatch.chdir(tmp_path)
    assert entry.run(["export", str(store_factory("flow")), *options]) == 2
    assert sentence in capsys.readouterr().err
