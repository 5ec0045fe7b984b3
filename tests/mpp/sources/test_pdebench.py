"""PDEBench's layouts are known by their content, read exactly, and refused by name where they are wrong."""

from pathlib import Path

import h5py
import numpy as np
import pytest

import polycli.mpp.sources.pdebench_read as pdebench_read
from polycli.errors import SourceError
from polycli.mpp.data.source import Dataset
from polycli.mpp.recipe.training import PrepareRecipe
from polycli.mpp.sources.pdebench import PdebenchSource

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared"


def survey(*inputs: Path, limit: int | None = None, **select: int) -> list[Dataset]:
    recipe = PrepareRecipe(family="mpp", verb="prepare", select=select)
    return PdebenchSource().open(inputs, recipe, limit)


def only(*inputs: Path, limit: int | None = None, **select: int) -> Dataset:
    (dataset,) = survey(*inputs, limit=limit, **select)
    return dataset


def read(dataset: Dataset) -> dict[str, np.ndarray]:
    """Every trajectory as (time, field, x, y), by source and id."""
    return {
        f"{job.source} {trajectory.id}": np.concatenate(list(trajectory.blocks))
        for job in dataset.jobs
        for trajectory in job.trajectories(job.ids)
    }


def test_shallow_water_is_read_as_it_lies_with_its_dam_radius(tmp_path, pdebench):
    data = pdebench.shallow_water(tmp_path / "a.h5")
    dataset = only(tmp_path / "a.h5")
    assert dataset.name == "swe_8x6"
    assert dataset.about.fields == ("shallow_water.height",)
    assert dataset.about.boundary_conditions == {"x": "open", "y": "open"}
    assert dataset.about.extent == ((-2.5, 2.5), (-2.5, 2.5))
    assert dataset.about.dt == 0.1
    assert dataset.about.constants == {"gravity": 1.0}
    assert dataset.about.parameter_names == ("dam_radius",)
    np.testing.assert_allclose([p for job in dataset.jobs for p in job.parameters], [[0.3], [0.4], [0.5]])
    np.testing.assert_allclose(dataset.time, np.linspace(0, 1, 11), atol=1e-7)
    trajectories = read(dataset)
    assert list(trajectories) == ["a.h5 0000", "a.h5 0001", "a.h5 0002"]
    for expected, found in zip(data, trajectories.values(), strict=True):
        np.testing.assert_array_equal(found, expected.transpose(0, 3, 1, 2))


def test_diffusion_reaction_keeps_activator_before_inhibitor_and_its_constants(tmp_path, pdebench):
    data = pdebench.diffusion_reaction(tmp_path / "a.h5")
    dataset = only(tmp_path / "a.h5")
    assert dataset.name == "diffre2d_8x6"
    assert dataset.about.fields == ("diffusion_reaction.activator", "diffusion_reaction.inhibitor")
    assert dataset.about.boundary_conditions == {"x": "wall", "y": "wall"}
    # 1e-3 is text to YAML 1.1 and a number to whoever wrote it.
    assert dataset.about.constants == {"Du": 0.001, "Dv": 0.005, "k": 0.005}
    assert dataset.about.extent == ((-1, 1), (-1, 1))
    for expected, found in zip(data, read(dataset).values(), strict=True):
        np.testing.assert_array_equal(found[:, 0], expected[..., 0])
        np.testing.assert_array_equal(found[:, 1], expected[..., 1])


def test_incompressible_flow_has_velocities_then_tracer_of_each_trajectory_of_the_file(tmp_path, pdebench):
    velocity, particles = pdebench.incompressible(tmp_path / "a.h5")
    dataset = only(tmp_path / "a.h5")
    assert dataset.name == "incompNS_8x6"
    assert dataset.about.fields == tuple(f"incompressible_ns.{name}" for name in ("velocity_x", "velocity_y", "tracer"))
    assert dataset.about.constants == {"viscosity": 0.01}
    assert dataset.about.dt == 0.005
    np.testing.assert_allclose(dataset.time, 0.005 * np.arange(1, 11), rtol=1e-6)
    found = np.stack(list(read(dataset).values()))
    expected = np.concatenate([velocity, particles], axis=-1).transpose(0, 1, 4, 2, 3)
    np.testing.assert_array_equal(found, expected)


def test_compressible_flow_has_its_four_fields_in_order_and_as_many_times_as_frames(tmp_path, pdebench):
    fields = pdebench.compressible(tmp_path / "2D_CFD_Rand_M0.1_Eta0.01_Zeta0.01_periodic_8_Train.hdf5")
    dataset = only(tmp_path)
    assert dataset.name == "compNS_rand_M0.1_eta0.01_zeta0.01_8x6"
    assert dataset.about.fields == tuple(
        f"compressible_ns.{name}" for name in ("velocity_x", "velocity_y", "density", "pressure")
    )
    assert dataset.about.boundary_conditions == {"x": "periodic", "y": "periodic"}
    assert dataset.about.boundary_flags == (1, 1)
    assert dataset.about.constants == {"M": 0.1, "eta": 0.01, "zeta": 0.01, "gamma": pytest.approx(5 / 3)}
    np.testing.assert_allclose(dataset.time, 0.05 * np.arange(5), atol=1e-7)
    found = np.stack(list(read(dataset).values()))
    np.testing.assert_array_equal(found, np.stack(list(fields.values()), axis=2))


def test_files_are_known_by_content_whatever_their_names_and_folders_are(tmp_path, pdebench):
    pdebench.shallow_water(tmp_path / "CFD/2D_CFD_Turb_M1.0_Eta0.1_Zeta0.1_periodic_8_Train.hdf5")
    pdebench.diffusion_reaction(tmp_path / "shallow-water/2D_rdb_NA_NA.h5")
    pdebench.compressible(tmp_path / "NS_incom/x.h5", mach=1.0, viscosity=1e-8)
    pdebench.incompressible(tmp_path / "deep/er/2D_diff-react_NA_NA.HDF5")
    pdebench.compressible(
        tmp_path / "2D_CFD_Turb_M1.0_Eta1e-08_Zeta1e-08_periodic_8_Train.hdf5", mach=1.0, viscosity=1e-8
    )
    names = {dataset.name: dataset.file_names for dataset in survey(tmp_path)}
    assert names == {
        "swe_8x6": ("CFD/2D_CFD_Turb_M1.0_Eta0.1_Zeta0.1_periodic_8_Train.hdf5",),
        "diffre2d_8x6": ("shallow-water/2D_rdb_NA_NA.h5",),
        "compNS_M1.0_eta1e-08_zeta1e-08_8x6": ("NS_incom/x.h5",),
        "incompNS_8x6": ("deep/er/2D_diff-react_NA_NA.HDF5",),
        "compNS_turb_M1.0_eta1e-08_zeta1e-08_8x6": ("2D_CFD_Turb_M1.0_Eta1e-08_Zeta1e-08_periodic_8_Train.hdf5",),
    }


def test_what_differs_in_physics_grid_or_time_step_becomes_different_datasets(tmp_path, pdebench):
    pdebench.shallow_water(tmp_path / "a.h5")
    pdebench.shallow_water(tmp_path / "b.h5", frames=21, seed=7)
    pdebench.shallow_water(tmp_path / "c.h5", grid=(16, 16), seed=8)
    pdebench.shallow_water(tmp_path / "d.h5", seed=9)
    found = {dataset.name: dataset.file_names for dataset in survey(tmp_path)}
    assert found == {
        "swe_16": ("c.h5",),
        "swe_8x6_dt0.05_21frames": ("b.h5",),
        "swe_8x6_dt0.1_11frames": ("a.h5", "d.h5"),
    }


@pytest.mark.parametrize("block_bytes", [1, 3000, 10**9])
@pytest.mark.parametrize(("first", "step", "space"), [(0, 1, 1), (2, 3, 2), (1, 4, 3), (5, 1, 1)])
@pytest.mark.parametrize("kind", ["shallow_water", "diffusion_reaction", "incompressible", "compressible"])
def test_strides_and_first_frame_select_as_slices_do_whatever_the_block(
    tmp_path, pdebench, monkeypatch, kind, first, step, space, block_bytes
):
    monkeypatch.setattr(pdebench_read, "BLOCK_BYTES", block_bytes)
    getattr(pdebench, kind)(tmp_path / "a.h5", frames=13)
    whole, thinned = only(tmp_path), only(tmp_path, first_frame=first, time_stride=step, space_stride=space)
    expected, found = read(whole), read(thinned)
    assert expected.keys() == found.keys()
    for key, values in expected.items():
        np.testing.assert_array_equal(found[key], values[first::step, :, ::space, ::space])
    np.testing.assert_array_equal(thinned.time, whole.time[first::step])
    assert thinned.about.dt == pytest.approx(whole.about.dt * step, rel=1e-5)
    assert thinned.about.grid == next(iter(found.values())).shape[2:]


def test_the_extent_after_a_stride_has_the_kept_points_in_the_middles_of_its_cells(tmp_path, pdebench):
    """It stayed that of all points, and the coordinates of forecasts were shifted."""
    pdebench.compressible(tmp_path / "a.hdf5", grid=(8, 9))
    about = only(tmp_path / "a.hdf5", space_stride=3).about
    for points, whole, (low, high) in zip(about.grid, (8, 9), about.extent, strict=True):
        kept = ((np.arange(whole) + 0.5) / whole)[::3]
        np.testing.assert_allclose(low + (np.arange(points) + 0.5) * (high - low) / points, kept, atol=1e-6)


def test_a_limit_keeps_the_first_trajectories_of_each_dataset(tmp_path, pdebench):
    pdebench.shallow_water(tmp_path / "a.h5")
    pdebench.shallow_water(tmp_path / "b.h5", seed=50)
    pdebench.compressible(tmp_path / "c.h5")
    compressible, shallow = survey(tmp_path, limit=4)
    assert list(read(compressible)) == ["c.h5 0000", "c.h5 0001", "c.h5 0002"]
    assert list(read(shallow)) == ["a.h5 0000", "a.h5 0001", "a.h5 0002", "b.h5 0000"]
    assert only(tmp_path / "a.h5", tmp_path / "b.h5", limit=2).file_names == ("a.h5",)


def test_only_wanted_trajectories_are_read_and_in_order(tmp_path, pdebench):
    data = pdebench.shallow_water(tmp_path / "a.h5", trajectories=5)
    (job,) = only(tmp_path).jobs
    found = [(t.id, np.concatenate(list(t.blocks))) for t in job.trajectories(["0003", "0001"])]
    assert [name for name, _ in found] == ["0001", "0003"]
    np.testing.assert_array_equal(found[1][1][:, 0], data[3][..., 0])


def test_an_input_named_twice_is_read_once_and_equal_names_of_two_folders_stay_apart(tmp_path, pdebench):
    pdebench.shallow_water(tmp_path / "a/x.h5")
    pdebench.shallow_water(tmp_path / "b/x.h5", seed=20)
    dataset = only(tmp_path / "a", tmp_path / "a/x.h5", tmp_path / "b")
    assert len(dataset.files) == len(set(dataset.file_names)) == 2
    assert len(read(dataset)) == 6


def test_missing_constants_are_taken_from_the_name_with_a_warning(tmp_path, pdebench, capsys):
    path = tmp_path / "2D_CFD_Rand_M1.0_Eta0.1_Zeta0.1_periodic_8_Train.hdf5"
    pdebench.compressible(path, mach=0.3)
    with h5py.File(path, "r+") as file:
        del file.attrs["eta"], file.attrs["zeta"]
    # The attribute that is there counts more than the name.
    assert only(path).name == "compNS_rand_M0.3_eta0.1_zeta0.1_8x6"
    assert "eta, zeta are missing" in capsys.readouterr().err


def test_a_trajectory_that_does_not_fit_its_grid_is_left_out_and_named(tmp_path, pdebench):
    path = tmp_path / "a.h5"
    pdebench.shallow_water(path, trajectories=4)
    with h5py.File(path, "r+") as file:
        del file["0001/data"], file["0002/grid/t"]
        file["0001/data"] = np.zeros((11, 8, 5, 1), np.float32)
    dataset = only(path)
    assert list(read(dataset)) == ["a.h5 0000", "a.h5 0003"]
    first, second = dataset.rejected
    assert (first.source, first.id) == ("a.h5", "0001")
    assert "'data' has shape (11, 8, 5, 1), expected (11, 8, 6, 1)" in first.reason
    assert (second.id, second.reason) == (
        "0002",
        "key 'grid/t' is missing; found 'data', 'grid'",
    )


def test_an_unfinished_incompressible_trajectory_is_left_out(tmp_path, pdebench):
    pdebench.incompressible(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["t"][2, 6:] = 0
    dataset = only(tmp_path)
    assert [name.split()[1] for name in read(dataset)] == ["0000", "0001", "0003"]
    (left,) = dataset.rejected
    assert left.id == "0002"
    assert "time does not increase after frame 5" in left.reason


def test_an_uneven_time_step_is_flagged_and_kept(tmp_path, pdebench):
    pdebench.shallow_water(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["0001/grid/t"][5] += 0.03
    dataset = only(tmp_path)
    assert len(read(dataset)) == 3
    (flag,) = dataset.flagged
    assert flag.id == "0001"
    assert flag.reason == "uneven time step: 0.07 to 0.13"


def test_other_hdf5_files_in_a_folder_are_left_out_aloud_and_refused_when_named(tmp_path, pdebench, capsys):
    pdebench.shallow_water(tmp_path / "a.h5")
    with h5py.File(tmp_path / "weather.h5", "w") as file:
        file["tensor"] = np.zeros((2, 3))
    assert only(tmp_path).file_names == ("a.h5",)
    assert "weather.h5: not in a layout of PDEBench: keys found: 'tensor'" in capsys.readouterr().err
    with pytest.raises(SourceError, match="'tensor'"):
        survey(tmp_path / "weather.h5")
    (tmp_path / "a.h5").unlink()
    with pytest.raises(SourceError, match="no file that can be read as PDEBench's among 1"):
        survey(tmp_path)


@pytest.mark.parametrize("kind", ["shallow_water", "diffusion_reaction", "incompressible", "compressible"])
@pytest.mark.parametrize("keep", [0.0, 0.002, 0.3, 0.97])
def test_a_file_that_was_cut_off_is_refused_by_name(tmp_path, pdebench, kind, keep):
    path = tmp_path / "cut.h5"
    getattr(pdebench, kind)(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    for inputs in (path, tmp_path):
        with pytest.raises(SourceError, match=r"cut\.h5: .*(truncated or damaged|not an HDF5 file|is empty)") as caught:
            survey(inputs)
        assert caught.value.exit_code == 2
        assert caught.value.hint


def test_missing_and_foreign_inputs_are_refused(tmp_path):
    with pytest.raises(SourceError, match=r"gone.h5: no such file or folder"):
        survey(tmp_path / "gone.h5")
    with pytest.raises(SourceError, match=r"no file with the ending .h5 or .hdf5"):
        survey(tmp_path)
    (tmp_path / "page.h5").write_text("<html>503 Service Unavailable</html>")
    with pytest.raises(SourceError, match=r"page\.h5: not an HDF5 file"):
        survey(tmp_path)
    with pytest.raises(SourceError, match="--input") as caught:
        survey()
    assert caught.value.exit_code == 2


def damage(path: Path, key: str, values: np.ndarray | None) -> None:
    """Replace a key of a file, or take it away."""
    with h5py.File(path, "r+") as file:
        del file[key]
        if values is not None:
            file[key] = values


@pytest.mark.parametrize(
    ("kind", "key", "values", "message"),
    [
        ("compressible", "Vy", None, r"key 'Vy' is missing; found .*'Vx'"),
        ("compressible", "t-coordinate", None, r"key 't-coordinate' is missing"),
        ("compressible", "Vx", np.zeros((3, 5, 8)), r"'Vx' has shape \(3, 5, 8\), expected \(trajectory, time, 8, 6\)"),
        (
            "compressible",
            "pressure",
            np.zeros((3, 5, 8, 7)),
            r"'pressure' has shape \(3, 5, 8, 7\), expected \(3, 5, 8, 6\)",
        ),
        ("compressible", "t-coordinate", np.arange(9.0), r"'t-coordinate' has shape \(9,\), expected \(6,\) or \(5,\)"),
        ("compressible", "density", np.full((3, 5, 8, 6), b"x"), r"'density' holds \|S1, numbers were expected"),
        ("incompressible", "particles", None, r"key 'particles' is missing; found 'force', 't', 'velocity'"),
        (
            "incompressible",
            "velocity",
            np.zeros((4, 10, 8, 6, 3)),
            r"'velocity' has shape \(4, 10, 8, 6, 3\), expected",
        ),
        ("incompressible", "particles", np.zeros((4, 10, 8, 6)), r"shape \(4, 10, 8, 6\), expected \(4, 10, 8, 6, 1\)"),
        ("incompressible", "t", np.zeros((4, 9)), r"key 't' has shape \(4, 9\), expected \(4, 10\)"),
        ("shallow_water", "0000/data", None, r"key 'data' is missing; found 'grid'"),
        (
            "shallow_water",
            "0000/data",
            np.zeros((11, 8, 6)),
            r"'data' has shape \(11, 8, 6\), expected \(11, 8, 6, 1\)",
        ),
        ("shallow_water", "0000/data", np.zeros((11, 8, 6, 3)), r"'data' has shape \(11, 8, 6, 3\), expected"),
        (
            "diffusion_reaction",
            "0000/grid/x",
            np.zeros(9),
            r"'data' has shape \(11, 8, 6, 2\), expected \(11, 9, 6, 1\)",
        ),
        ("diffusion_reaction", "0000/grid/t", np.zeros(11), r"'grid/t': time does not increase after frame 0"),
    ],
)
def test_a_wrong_key_or_shape_is_named_with_what_was_expected_and_found(tmp_path, pdebench, kind, key, values, message):
    path = tmp_path / "bad.h5"
    getattr(pdebench, kind)(path, trajectories=4 if kind == "incompressible" else 3 if kind == "compressible" else 1)
    damage(path, key, values)
    with pytest.raises(SourceError, match=rf"bad\.h5: .*{message}") as caught:
        survey(tmp_path)
    assert caught.value.exit_code == 2


def test_a_selection_that_leaves_nothing_is_refused(tmp_path, pdebench):
    pdebench.shallow_water(tmp_path / "a.h5")
    with pytest.raises(SourceError, match=r"11 frames, of which select.first_frame 10 .* leave 1"):
        survey(tmp_path, first_frame=10)
    with pytest.raises(SourceError, match=r"select.space_stride 5"):
        survey(tmp_path, space_stride=5)


@pytest.mark.skipif(not (SHARED / "data/pdebench").is_dir(), reason="../shared/data/pdebench is absent")
def test_real_files_are_recognised():
    found = {dataset.name: dataset for dataset in survey(SHARED / "data/pdebench/2D")}
    assert list(found) == ["compNS_rand_M1.0_eta1e-08_zeta1e-08_128", "diffre2d_128", "swe_128"]
    assert [dataset.about.dt for dataset in found.values()] == [0.05, 0.05, 0.01]
    assert found["swe_128"].about.extent == ((-2.5, 2.5), (-2.5, 2.5))
    with h5py.File(next((SHARED / "data/pdebench/2D/shallow-water").glob("*.h5"))) as file:
        expected = file["0002/data"][..., 0]
    job = next(job for job in found["swe_128"].jobs if "0002" in job.ids)
    (trajectory,) = job.trajectories(["0002"])
    np.testing.assert_array_equal(np.concatenate(list(trajectory.blocks))[:, 0], expected)
