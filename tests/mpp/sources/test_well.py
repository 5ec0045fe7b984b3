"""Files in The Well's schema are read exactly, in their splits, and refused by name where they are something else."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from polycli.errors import SourceError
from polycli.mpp.data.source import Dataset
from polycli.mpp.prepare import run
from polycli.mpp.recipe.training import PrepareRecipe
from polycli.mpp.sources.hdf5_read import Column
from polycli.mpp.sources.well import WellSource
from polycli.requests import PrepareRequest
from polycli.store.reader import open_store
from polycli.workflow.sources import find_source
from tests.mpp.well_files import add_boundary, write_well


def survey(*inputs: Path, limit: int | None = None, **sections: object) -> list[Dataset]:
    return WellSource().open(inputs, PrepareRecipe(family="mpp", verb="prepare", **sections), limit)


def only(*inputs: Path, limit: int | None = None, **sections: object) -> Dataset:
    (dataset,) = survey(*inputs, limit=limit, **sections)
    return dataset


def read(dataset: Dataset) -> np.ndarray:
    """(trajectory, time, field, x, y)"""
    jobs = dataset.jobs
    return np.stack([np.concatenate(list(t.blocks)) for job in jobs for t in job.trajectories(job.ids)])


FIELDS = ("density", "sound", "velocity_x", "velocity_y", "D_xx", "D_xy", "D_yx", "D_yy")


def as_fields(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """What `write_well` wrote as (trajectory, time, field, x, y), component by component."""
    rows, frames, *grid = arrays["density"].shape
    tensor, vector = arrays["D"], arrays["velocity"]
    sound = np.broadcast_to(arrays["sound"][:, None, :, None], (rows, frames, *grid))
    parts = [arrays["density"], sound, vector[..., 0], vector[..., 1]]
    return np.stack([*parts, *(tensor[..., i, j] for i in range(2) for j in range(2))], axis=2)


def test_scalars_vectors_and_tensors_become_fields_by_component(tmp_path, capsys):
    arrays = write_well(tmp_path / "a.hdf5")
    dataset = only(tmp_path / "a.hdf5")
    assert dataset.name == "waves"
    assert dataset.about.fields == tuple(f"waves.{name}" for name in FIELDS)
    np.testing.assert_array_equal(read(dataset), as_fields(arrays))
    assert dataset.about.boundary_conditions == {"x": "periodic", "y": "wall"}
    assert dataset.about.extent == ((0, 1), (0, 1))
    assert dataset.about.dt == 0.5
    assert dataset.about.parameter_names == ("viscosity", "force")
    assert [p for job in dataset.jobs for p in job.parameters] == [(0.01, 0.0), (0.01, 1.0)]
    said = capsys.readouterr().err
    assert "constant in time, repeated in every frame: sound" in said
    assert "clock varies in time, so it is no parameter" in said


def test_strides_and_a_constant_field_left_out_take_part_of_the_numbers(tmp_path):
    arrays = write_well(tmp_path / "a.hdf5", frames=7)
    selection = {"first_frame": 1, "time_stride": 2, "space_stride": 2}
    dataset = only(tmp_path / "a.hdf5", select=selection, well={"constant_fields": "leave_out"})
    kept = [place for place, name in enumerate(FIELDS) if name != "sound"]
    np.testing.assert_array_equal(read(dataset), as_fields(arrays)[:, 1::2, kept, ::2, ::2])
    np.testing.assert_allclose(dataset.time, [0.5, 1.5, 2.5])


def test_chunks_that_hold_several_trajectories_are_read_once(tmp_path, monkeypatch):
    arrays = write_well(tmp_path / "a.hdf5", rows=3)
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        attributes = dict(file["t0_fields/density"].attrs)
        del file["t0_fields/density"]
        packed = {"chunks": (3, 1, 8, 6), "compression": "gzip"}
        file["t0_fields"].create_dataset("density", data=arrays["density"], **packed).attrs.update(attributes)
    reads = []
    plain = Column.read
    monkeypatch.setattr(Column, "read", lambda column, *rest: reads.append(column.name) or plain(column, *rest))
    np.testing.assert_array_equal(read(only(tmp_path / "a.hdf5")), as_fields(arrays))
    assert reads == ["t0_fields/density", "t0_fields/sound", "t1_fields/velocity", "t2_fields/D"]


def test_an_order_of_y_before_x_is_turned_round(tmp_path):
    arrays = write_well(tmp_path / "a.hdf5", dims=("y", "x"), boundary=("PERIODIC", "WALL"))
    dataset = only(tmp_path / "a.hdf5")
    assert dataset.about.grid == (6, 8)
    assert dataset.about.boundary_conditions == {"x": "wall", "y": "periodic"}
    assert dataset.about.fields[2:4] == ("waves.velocity_y", "waves.velocity_x")
    np.testing.assert_array_equal(read(dataset), as_fields(arrays).swapaxes(-1, -2))


def test_folders_are_the_splits_and_a_limit_takes_of_each(tmp_path):
    for folder, rows in (("train", 8), ("valid", 2), ("test", 2)):
        write_well(tmp_path / f"data/{folder}/waves.hdf5", rows=rows, seed=10 * rows + len(folder))
    dataset = only(tmp_path)
    assert list(dataset.splits.values()) == ["train"] * 8 + ["validation"] * 2 + ["test"] * 2
    assert list(only(tmp_path, limit=6).splits.values()) == ["train"] * 4 + ["validation", "test"]
    assert list(only(tmp_path, limit=1).splits.values()) == ["train"]
    assert only(tmp_path, well={"split": "hash"}).splits is None
    request = PrepareRequest(source="well", inputs=(tmp_path,), output=tmp_path / "stores", workers=1)
    (entry,) = run(request)["stores"]
    store = open_store(Path(entry["path"]), family="mpp", verify="full")
    assert store.manifest.splits == {"train": 8, "validation": 2, "test": 2}
    assert store.manifest.split_rule == "as the files give it"


def test_parameters_of_files_are_those_of_their_rows_and_one_that_a_file_lacks_is_unknown(tmp_path):
    write_well(tmp_path / "a.hdf5", parameters={"Re": 100.0})
    write_well(tmp_path / "b.hdf5", parameters={"Re": 200.0, "direction": [1.0, 2.0]}, seed=5)
    dataset = only(tmp_path)
    assert dataset.about.parameter_names == ("Re", "force", "direction_0", "direction_1")
    rows = np.array([p for job in dataset.jobs for p in job.parameters])
    np.testing.assert_array_equal(rows[:, 0], [100, 100, 200, 200])
    np.testing.assert_array_equal(rows[2], [200, 5, 1, 2])
    assert np.isnan(rows[:2, 2:]).all()


def test_grids_and_time_steps_become_stores_of_their_own(tmp_path):
    write_well(tmp_path / "a.hdf5")
    write_well(tmp_path / "b.hdf5", grid=(4, 6))
    assert [dataset.name for dataset in survey(tmp_path)] == ["waves_4x6", "waves_8x6"]


def test_a_mask_that_covers_nothing_goes_before_the_type_and_is_said(tmp_path, capsys):
    write_well(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        del file["boundary_conditions/x_periodic"], file["dimensions/time"].attrs["time_varying"]
        # As the writer of dummy data in The Well's package has it: no mask, and a text where a list belongs.
        add_boundary(file, "x", "PERIODIC", np.zeros(8, bool), dims="x")
    assert only(tmp_path / "a.hdf5").about.boundary_conditions == {"x": "open", "y": "wall"}
    said = capsys.readouterr().err
    assert "bc_type says PERIODIC along x, and its mask does not cover its ends: open is taken" in said
    assert "--set 'well.boundary={x: periodic}'" in said
    given = only(tmp_path / "a.hdf5", well={"boundary": {"x": "periodic"}})
    assert given.about.boundary_conditions == {"x": "periodic", "y": "wall"}
    assert "bc_type" not in capsys.readouterr().err


def test_an_obstacle_inside_the_domain_says_nothing_of_its_ends(tmp_path, capsys):
    write_well(tmp_path / "a.hdf5", boundary=("OPEN", "OPEN"))
    mask = np.zeros((8, 6), bool)
    mask[2:4, :] = True
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        add_boundary(file, "obstacle", "WALL", mask, dims=["x", "y"])
    assert only(tmp_path / "a.hdf5").about.boundary_conditions == {"x": "open", "y": "open"}
    assert "bc_type" not in capsys.readouterr().err


def test_texts_and_empty_lists_are_read_in_each_form_that_hdf5_has(tmp_path):
    write_well(tmp_path / "a.hdf5", parameters={})
    expected = read(only(tmp_path / "a.hdf5"))
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        file.attrs["dataset_name"] = np.bytes_("waves")
        file.attrs["simulation_parameters"] = h5py.Empty("f")
        file["dimensions"].attrs["spatial_dims"] = np.array([b"x", b"y"])
    dataset = only(tmp_path / "a.hdf5")
    np.testing.assert_array_equal(read(dataset), expected)
    assert (dataset.name, dataset.about.parameter_names) == ("waves", ("force",))


def test_names_can_be_those_that_a_model_knows(tmp_path):
    write_well(tmp_path / "a.hdf5")
    dataset = only(tmp_path / "a.hdf5", well={"fields": {"density": "compressible_ns.density"}})
    assert dataset.about.fields[:2] == ("compressible_ns.density", "waves.sound")


def broken(change: str, file: h5py.File) -> None:
    if change == "3-D":
        file.attrs["n_spatial_dims"] = 3
        file["dimensions"].attrs["spatial_dims"] = ["x", "y", "z"]
    elif change == "spherical":
        file.attrs["grid_type"] = "spherical"
    elif change == "attribute":
        del file["t1_fields/velocity"].attrs["time_varying"]
    elif change == "grids":
        attributes = dict(file["t0_fields/density"].attrs)
        del file["t0_fields/density"]
        file.create_dataset("t0_fields/density", data=np.zeros((2, 5, 8, 7))).attrs.update(attributes)
    elif change == "uneven":
        file["dimensions/time"][-1] = 9.0
    elif change == "falling":
        file["dimensions/time"][...] = -np.arange(5)
    elif change == "ends":
        file["boundary_conditions/x_periodic/mask"][-1] = False
    elif change == "type":
        file["boundary_conditions/x_periodic"].attrs["bc_type"] = "DIRICHLET"
    elif change == "mask":
        del file["boundary_conditions/y_wall/mask"]
    elif change == "scalars":
        del file["scalars/force"]
    elif change == "count":
        file.attrs["n_trajectories"] = 10**15
        for name in ("t0_fields/density", "t0_fields/sound", "t1_fields/velocity", "t2_fields/D", "scalars/force"):
            values, attributes = file[name][0], dict(file[name].attrs, sample_varying=False)
            del file[name]
            file.create_dataset(name, data=values).attrs.update(attributes)
    elif change in {"nan", "negative"}:
        file.attrs["n_trajectories"] = float("nan") if change == "nan" else -1
    elif change == "still":
        for group in ("t0_fields", "t1_fields", "t2_fields"):
            file[group].attrs["field_names"] = ["sound"] if group == "t0_fields" else []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            "3-D",
            r"3 spatial dimensions \(x, y, z\) on a cartesian grid; two spatial dimensions on a cartesian grid are",
        ),
        ("spherical", "on a spherical grid; two spatial dimensions on a cartesian grid are supported"),
        ("attribute", "t1_fields/velocity has no attribute 'time_varying', which The Well's files have"),
        (
            "grids",
            r"t0_fields/density is \(2, 5, 8, 7\), \(2, 5, 8, 6\) was expected .* fields of one grid are supported",
        ),
        ("uneven", "the times 'dimensions/time' are uneven: steps of 0.5 to 7.5"),
        ("falling", "the times 'dimensions/time' do not increase after frame 0"),
        ("ends", "the boundary along x is periodic at the low end and open at the high end"),
        ("type", "boundary_conditions/x_periodic is of type DIRICHLET along x; PERIODIC, WALL, OPEN along x or y were"),
        ("mask", "boundary_conditions/y_wall has no mask"),
        ("scalars", "there is no array 'scalars/force'"),
        ("count", "n_trajectories is 1000000000000000, and no field has an axis of trajectories"),
        ("nan", "the attribute 'n_trajectories' is nan, a whole number was expected"),
        ("negative", "the attribute 'n_trajectories' is -1, a whole number was expected"),
        ("still", "none of its fields varies in time"),
    ],
)
def test_what_is_not_supported_is_refused_in_a_sentence_that_names_it(tmp_path, change, sentence):
    write_well(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        broken(change, file)
    assert find_source("mpp", [tmp_path / "a.hdf5"]) == "well"
    with pytest.raises(SourceError, match=sentence) as raised:
        survey(tmp_path / "a.hdf5")
    assert str(tmp_path / "a.hdf5") in raised.value.message
    assert raised.value.hint is not None


def test_one_field_in_two_units_and_files_of_other_fields_are_refused(tmp_path):
    write_well(tmp_path / "a.hdf5")
    write_well(tmp_path / "b.hdf5")
    with h5py.File(tmp_path / "b.hdf5", "r+") as file:
        file["t0_fields/density"].attrs["units"] = "kg/m3"
    with pytest.raises(SourceError, match=r"b.hdf5: waves.density is in kg/m3, no unit was expected"):
        survey(tmp_path)
    with h5py.File(tmp_path / "b.hdf5", "r+") as file:
        file["t2_fields"].attrs["field_names"] = []
    with pytest.raises(SourceError, match=r"b.hdf5: fields .*velocity_y; .*D_yy were expected"):
        survey(tmp_path)


def test_a_file_outside_the_split_folders_beside_others_inside_is_refused(tmp_path):
    write_well(tmp_path / "data/train/a.hdf5")
    write_well(tmp_path / "b.hdf5")
    with pytest.raises(SourceError, match=r"b.hdf5: says nothing of its split, and .*a.hdf5 is in train"):
        survey(tmp_path)
