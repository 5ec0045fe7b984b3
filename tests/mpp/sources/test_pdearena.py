"""PDEArena's smoke in a box is read as its own files have it: float64, a group for the split, buoyancy by row."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from polycli.errors import SourceError
from polycli.mpp.recipe.training import PrepareRecipe
from polycli.mpp.sources.pdearena import PdearenaSource
from polycli.workflow.sources import find_source

RECIPE = PrepareRecipe(family="mpp", verb="prepare")


def write_pdearena(path: Path, mode: str, *, rows: int = 2, frames: int = 14, buoyancy: float = 0.5, seed: int = 0):
    """As PDEArena's generator writes: times from 18 to 102 s, though its frames are `dt` apart."""
    values = np.random.default_rng(seed).normal(size=(3, rows, frames, 8, 6))
    with h5py.File(path, "w") as file:
        group = file.create_group(mode)
        for name, field in zip(("u", "vx", "vy"), values, strict=True):
            group[name] = field
        group["t"] = np.tile(np.linspace(18, 102, frames), (rows, 1))
        group["dt"] = np.full(rows, 1.5 * 56 / frames)
        group["x"] = np.tile(np.linspace(0, 32, 8), (rows, 1))
        group["y"] = np.tile(np.linspace(0, 32, 6), (rows, 1))
        group["dx"], group["dy"] = np.full(rows, 32 / 8), np.full(rows, 32 / 6)
        group["buo_y"] = np.full(rows, buoyancy)
    return values


def test_fields_splits_and_buoyancy_are_those_of_the_files(tmp_path):
    values = write_pdearena(tmp_path / "NavierStokes2D_train_1_0.50000.h5", "train")
    write_pdearena(tmp_path / "NavierStokes2D_test_2_0.30000.h5", "test", buoyancy=0.3, seed=1)
    assert find_source("mpp", [tmp_path]) == "pdearena"
    (dataset,) = PdearenaSource().open([tmp_path], RECIPE, None)
    assert dataset.about.fields == tuple(f"incompressible_ns.{name}" for name in ("velocity_x", "velocity_y", "tracer"))
    assert dataset.about.boundary_conditions == {"x": "wall", "y": "wall"}
    assert dataset.about.extent == ((0, 32), (0, 32))
    assert dataset.about.parameter_names == ("buoyancy",)
    assert [p for job in dataset.jobs for p in job.parameters] == [(0.5,), (0.5,), (0.3,), (0.3,)]
    assert list(dataset.splits.values()) == ["train", "train", "test", "test"]
    first = next(dataset.jobs[0].trajectories(["0000"]))
    found = np.concatenate(list(first.blocks))
    np.testing.assert_array_equal(found, values[[1, 2, 0], 0].swapaxes(0, 1).astype(np.float32))


def test_the_solvers_step_goes_before_times_that_are_spread_too_wide(tmp_path, capsys):
    write_pdearena(tmp_path / "NavierStokes2D_valid_1_0.50000.h5", "valid")
    (dataset,) = PdearenaSource().open([tmp_path], RECIPE, None)
    assert dataset.about.dt == 6.0
    np.testing.assert_allclose(dataset.time, 18 + 6.0 * np.arange(14))
    assert "its times t are 6.462 apart and dt says 6: dt, the solver's, is taken" in capsys.readouterr().err


def test_standard_and_conditioned_files_become_two_stores(tmp_path):
    write_pdearena(tmp_path / "NavierStokes2D_train_1_0.50000.h5", "train")
    write_pdearena(tmp_path / "NavierStokes2D_train_2_0.40000_128.h5", "train", frames=56)
    names = [dataset.name for dataset in PdearenaSource().open([tmp_path], RECIPE, None)]
    assert names == ["smoke_14frames_dt6", "smoke_56frames_dt1.5"]


def test_a_file_of_another_layout_and_one_without_times_are_refused_by_name(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["u"] = np.zeros(3)
    with pytest.raises(SourceError, match=r"a.h5: no file of PDEArena"):
        PdearenaSource().open([tmp_path / "a.h5"], RECIPE, None)
    write_pdearena(tmp_path / "b.h5", "train")
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        del file["train/t"]
    with pytest.raises(SourceError, match=r"b.h5: there is no array of numbers 'train/t'"):
        PdearenaSource().open([tmp_path / "b.h5"], RECIPE, None)
