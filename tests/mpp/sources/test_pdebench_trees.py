"""Folders of PDEBench files as people have them: other files, links, swept constants, names and grids of all kinds."""

import h5py
import numpy as np
import pytest

from polycli.errors import SourceError
from polycli.mpp.prepare import run
from polycli.mpp.recipe.training import PrepareRecipe
from polycli.mpp.sources.pdebench import PdebenchSource
from polycli.mpp.sources.pdebench_read import PdebenchJob
from polycli.requests import PrepareRequest
from polycli.store.reader import open_store


def survey(*inputs, **sections):
    return PdebenchSource().open(inputs, PrepareRecipe(family="mpp", verb="prepare", **sections), None)


def one_dimensional(path):
    with h5py.File(path, "w") as file:
        for key in ("Vx", "density", "pressure"):
            file[key] = np.ones((2, 5, 16), np.float32)
        file["x-coordinate"], file["t-coordinate"] = np.arange(16.0), np.arange(6.0)


def test_outgoing_boundaries_are_those_of_the_name_and_part_of_what_makes_a_store(tmp_path, pdebench, capsys):
    """They were stored as periodic, together with periodic trajectories."""
    for kind, seed in (("periodic", 0), ("trans", 1)):
        pdebench.compressible(tmp_path / f"2D_CFD_Rand_Eta0.1_Zeta0.1_M1.0_{kind}_Train.hdf5", seed=seed)
    found = {dataset.name: dataset.about.boundary_conditions for dataset in survey(tmp_path)}
    (still, gone) = sorted(found)
    assert "open" in gone
    assert found == {still: {"x": "periodic", "y": "periodic"}, gone: {"x": "open", "y": "open"}}
    assert "trans_Train.hdf5: boundaries are open, as its name says" in capsys.readouterr().err
    (dataset,) = survey(tmp_path, pdebench={"boundary": "wall"})
    assert dataset.about.boundary_conditions == {"x": "wall", "y": "wall"}


@pytest.mark.parametrize("name", ["one dimension", "no HDF5", "no layout", "one trajectory with three axes"])
def test_a_file_in_a_folder_that_cannot_be_used_is_left_out_with_its_reason(tmp_path, pdebench, capsys, name):
    pdebench.shallow_water(tmp_path / "a.h5")
    foreign = tmp_path / "foreign.h5"
    if name == "one dimension":
        one_dimensional(foreign)
    elif name == "no HDF5":
        foreign.write_bytes(b"\x00\x05\x16\x07")
    elif name == "no layout":
        with h5py.File(foreign, "w") as file:
            file["tensor"] = np.ones(3)
    else:
        with h5py.File(foreign, "w") as file:
            for key in ("Vx", "Vy", "density", "pressure"):
                file[key] = np.ones((5, 8, 8))
            for axis in "xyt":
                file[f"{axis}-coordinate"] = np.arange(8.0)
    assert [dataset.file_names for dataset in survey(tmp_path)] == [("a.h5",)]
    assert "left out: " in (said := capsys.readouterr().err)
    assert "foreign.h5: " in said
    with pytest.raises(SourceError, match=r"foreign\.h5"):
        survey(tmp_path / "a.h5", foreign)


def test_a_swept_constant_is_a_parameter_of_the_rows(tmp_path, pdebench):
    """Eight values of one constant made eight stores of one trajectory."""
    pdebench.shallow_water(tmp_path / "a.h5", trajectories=4)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        for index, group in enumerate(file.values()):
            group.attrs["config"] = f"sim:\n  gravity: {1 + index / 4}\n  dam_radius: 0.5\n  inner_height: 2.0\n"
    (dataset,) = survey(tmp_path)
    assert dataset.about.parameter_names == ("dam_radius", "gravity")
    assert dataset.about.constants == {"inner_height": 2.0}
    values = [parameters for job in dataset.jobs for parameters in job.parameters]
    assert values == [(0.5, 1.0), (0.5, 1.25), (0.5, 1.5), (0.5, 1.75)]


def test_links_to_folders_are_followed_once(tmp_path, pdebench):
    pdebench.shallow_water(tmp_path / "elsewhere/a.h5")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/swe").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/round").symlink_to(tmp_path / "in")
    (dataset,) = survey(tmp_path / "in")
    assert len(dataset.files) == 1


@pytest.mark.parametrize("stem", ["M0.3_Eta0.01_Zeta0.02", "Eta1.e-2_Zeta2.e-2_M0.3", "Eta0.01_Zeta0.02_M0.3"])
def test_constants_stand_in_a_name_in_any_order(tmp_path, pdebench, stem):
    path = tmp_path / f"2D_CFD_Rand_{stem}_periodic_Train.hdf5"
    pdebench.compressible(path)
    with h5py.File(path, "r+") as file:
        for key in ("M", "eta", "zeta"):
            del file.attrs[key]
    (dataset,) = survey(path)
    assert dataset.about.constants == pytest.approx({"M": 0.3, "eta": 0.01, "zeta": 0.02, "gamma": 5 / 3})


def test_falling_coordinates_are_refused_and_stretched_ones_flagged(tmp_path, pdebench):
    path = tmp_path / "a.hdf5"
    pdebench.compressible(path)
    with h5py.File(path, "r+") as file:
        points = len(file["x-coordinate"])
        file["x-coordinate"][...] = np.logspace(-2, 0, points)
    (dataset,) = survey(path)
    assert {flag.reason.split(":")[0] for flag in dataset.flagged} == {"stretched grid"}
    with h5py.File(path, "r+") as file:
        file["y-coordinate"][...] = file["y-coordinate"][:][::-1]
    with pytest.raises(SourceError, match="the coordinates 'y-coordinate' fall"):
        survey(path)


@pytest.mark.parametrize("selected", [{}, {"time_stride": 2, "first_frame": 1, "space_stride": 2}])
def test_a_chunk_that_holds_several_trajectories_is_unpacked_once(tmp_path, pdebench, monkeypatch, selected):
    """It was unpacked for each of them: eight times."""
    monkeypatch.setattr("polycli.mpp.sources.frames._JOB_BYTES", 1)
    monkeypatch.setattr("polycli.mpp.sources.pdebench_read.BLOCK_BYTES", 1)
    fields = pdebench.compressible(tmp_path / "a.hdf5", trajectories=6)
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        for key, values in fields.items():
            del file[key]
            file.create_dataset(key, data=values, chunks=(4, 1, *values.shape[2:]), compression="gzip")
    reads = []
    read = PdebenchJob._read
    monkeypatch.setattr(PdebenchJob, "_read", lambda *a: reads.append(a[2][0]) or read(*a))
    (dataset,) = survey(tmp_path / "a.hdf5", select=selected)
    found = [np.concatenate(list(row.blocks)) for job in dataset.jobs for row in job.trajectories(job.ids)]
    expected = np.stack([fields[key] for key in ("Vx", "Vy", "density", "pressure")], axis=2)
    kept = expected[:, 1::2, :, ::2, ::2] if selected else expected
    np.testing.assert_array_equal(np.stack(found), kept)
    assert [(rows.start, rows.stop) for rows in reads] == [(0, 4), (4, 6)]


def ask(folder, output, *settings):
    return PrepareRequest(source="pdebench", inputs=(folder,), output=output, overrides=settings, workers=1)


def test_a_store_of_pdebench_can_be_named_and_several_cannot_share_a_name(tmp_path, pdebench):
    pdebench.shallow_water(tmp_path / "in/a.h5")
    (entry,) = run(ask(tmp_path / "in", tmp_path / "out", "dataset.name=dam"))["stores"]
    assert entry["name"] == "dam"
    assert (tmp_path / "out/dam.zarr").is_dir()
    pdebench.diffusion_reaction(tmp_path / "in/b.h5")
    with pytest.raises(SourceError, match="hold 2 datasets, and one name cannot name them: diffre2d_8x6, swe_8x6"):
        run(ask(tmp_path / "in", tmp_path / "out", "dataset.name=both"))


def test_frames_of_zeros_and_densities_of_zero_and_less_are_flagged(tmp_path, pdebench, capsys):
    pdebench.compressible(tmp_path / "a.hdf5", trajectories=4)
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        for key in ("Vx", "Vy", "density", "pressure"):
            file[key][...] = 1 + np.abs(file[key][:])
            file[key][1, -2:] = 0
        file["density"][2, 3, 0, 0] = -0.5
    (entry,) = run(ask(tmp_path / "a.hdf5", tmp_path / "out"))["stores"]
    flagged = open_store(tmp_path / "out" / f"{entry['name']}.zarr").manifest.flagged
    frames = h5py.File(tmp_path / "a.hdf5")["Vx"].shape[1]
    reasons = {(flag.id, flag.reason) for flag in flagged}
    assert ("0001", f"zero frames: 2, first frame {frames - 2}") in reasons
    assert ("0002", "density not above zero: compressible_ns.density falls to -0.5") in reasons
    assert {flag.id for flag in flagged} == {"0001", "0002"}
    assert "flagged 1 (zero frames)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("factor", "said"), [(1.0, None), (1e-6, "multiplied by 1e+0"), (1e20, "overflow when squared")]
)
def test_units_in_which_errors_are_not_measured_are_warned_of_with_the_factor(tmp_path, pdebench, capsys, factor, said):
    pdebench.shallow_water(tmp_path / "a.h5", trajectories=4)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        for group in file.values():
            group["data"][...] = group["data"][:] * factor
    run(ask(tmp_path / "a.h5", tmp_path / "out"))
    errors = capsys.readouterr().err
    assert ("shallow_water.height varies by" in errors) == (said is not None)
    assert said is None or said in errors
