"""Source files become stores: nothing is lost, nothing is left out silently, and any number of processes agree."""

import json
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from polycli.errors import PolycliError, SourceError, UserError
from polycli.mpp.prepare import run
from polycli.requests import PrepareRequest
from polycli.store.reader import Store, open_store

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared"


def ask(folder: Path, output: Path, **options: object) -> PrepareRequest:
    return PrepareRequest(**{"source": "pdebench", "inputs": (folder,), "output": output, "workers": 1, **options})


def prepared(inputs: Path, output: Path, **options: object) -> Store:
    """The only store that is made of the inputs, hashes verified."""
    (entry,) = run(ask(inputs, output, **options))["stores"]
    return open_store(Path(entry["path"]), family="mpp", verify="full")


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit(path: Path, key: str, index: object, values: object) -> None:
    with h5py.File(path, "r+") as file:
        file[key][index] = values


def left_out(entries: object) -> list[tuple[str, str]]:
    return [(entry.id, entry.reason) for entry in entries]


def test_a_store_holds_what_the_file_held(tmp_path, pdebench):
    data = pdebench.shallow_water(tmp_path / "in/a.h5", trajectories=12)
    store = prepared(tmp_path / "in", tmp_path / "out")
    manifest = store.manifest
    assert store.path == tmp_path / "out/swe_8x6.zarr"
    assert manifest.row_ids == tuple(f"{index:04d}" for index in range(12))
    for row, expected in enumerate(data):
        np.testing.assert_array_equal(store.read_rows("fields", [row])[0], expected.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(store.read("params"), 0.3 + 0.1 * np.arange(12)[:, None])
    np.testing.assert_allclose(store.read("time"), np.linspace(0, 1, 11), atol=1e-7)
    assert manifest.arrays["fields"].dims == ("trajectory", "time", "field", "x", "y")
    assert manifest.about["physics"] == "shallow_water"
    (source,) = manifest.sources
    assert (source.name, source.size) == ("a.h5", (tmp_path / "in/a.h5").stat().st_size)
    assert not manifest.rejected
    assert not manifest.flagged
    assert sum(manifest.splits.values()) == 12
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"swe_8x6.zarr"}


def test_statistics_are_those_of_the_training_rows_alone(tmp_path, pdebench):
    data = pdebench.diffusion_reaction(tmp_path / "in/a.h5", trajectories=6)
    manifest = prepared(tmp_path / "in", tmp_path / "out").manifest
    train = np.stack([row for row, split in zip(data, manifest.row_splits, strict=True) if split == "train"])
    assert 0 < len(train) < 6
    train = train.astype(np.float64)
    for channel, name in enumerate(("activator", "inhibitor")):
        values = train[..., channel]
        changes = np.diff(values, axis=1)
        expected = {
            "mean": values.mean(),
            "std": values.std(),
            "rms": np.sqrt(np.square(values).mean()),
            "min": values.min(),
            "max": values.max(),
            "mean_change": changes.mean(),
            "std_change": changes.std(),
            "rms_change": np.sqrt(np.square(changes).mean()),
            "count": values.size,
        }
        assert manifest.statistics["fields"][f"diffusion_reaction.{name}"] == pytest.approx(expected, rel=1e-10)


def test_trajectories_with_bad_numbers_are_rejected_and_listed(tmp_path, pdebench, capsys):
    path = tmp_path / "in/a.h5"
    pdebench.diffusion_reaction(path, trajectories=5)
    edit(path, "0001/data", (7, 2, 3, 1), np.nan)
    edit(path, "0003/data", (0, 0, 0, 0), np.inf)
    store = prepared(tmp_path / "in", tmp_path / "out")
    assert store.manifest.row_ids == ("0000", "0002", "0004")
    assert left_out(store.manifest.rejected) == [
        ("0001", "non-finite value in diffusion_reaction.inhibitor, first in frame 7"),
        ("0003", "non-finite value in diffusion_reaction.activator, first in frame 0"),
    ]
    said = capsys.readouterr().err
    assert "rejected 2" in said
    assert "0001" in said


def test_of_equal_trajectories_the_first_is_kept_and_the_others_name_it(tmp_path, pdebench, capsys):
    """PDEBench itself ships 24 pairs of equal incompressible files."""
    pdebench.incompressible(tmp_path / "in/131.h5")
    (tmp_path / "in/132.h5").write_bytes((tmp_path / "in/131.h5").read_bytes())
    pdebench.incompressible(tmp_path / "in/133.h5", seed=900)
    store = prepared(tmp_path / "in", tmp_path / "out")
    assert store.manifest.row_ids == tuple(f"{name}.h5/{place:04d}" for name in (131, 133) for place in range(4))
    assert [(left.source, left.id, left.reason) for left in store.manifest.rejected] == [
        ("132.h5", f"{place:04d}", f"duplicate of 131.h5 {place:04d}: equal content") for place in range(4)
    ]
    assert "rejected 4 (duplicate)" in capsys.readouterr().err


def test_constant_fields_and_uneven_time_are_flagged_and_kept(tmp_path, pdebench, capsys):
    path = tmp_path / "in/a.h5"
    pdebench.diffusion_reaction(path)
    edit(path, "0001/data", (..., 1), 2.5)
    with h5py.File(path, "r+") as file:
        file["0002/grid/t"][4] += 0.2
    store = prepared(tmp_path / "in", tmp_path / "out")
    assert store.manifest.rows == 3
    assert sorted(left_out(store.manifest.flagged)) == [
        ("0001", "constant field: diffusion_reaction.inhibitor is 2.5 everywhere"),
        ("0002", "uneven time step: 0.3 to 0.7"),
    ]
    assert "flagged 1 (constant field)" in capsys.readouterr().err


def test_a_trajectory_of_a_wrong_shape_is_rejected_with_key_and_shapes(tmp_path, pdebench):
    path = tmp_path / "in/a.h5"
    pdebench.shallow_water(path)
    with h5py.File(path, "r+") as file:
        del file["0001/data"]
        file["0001/data"] = np.zeros((11, 8, 7, 1))
    store = prepared(tmp_path / "in", tmp_path / "out")
    ((name, reason),) = left_out(store.manifest.rejected)
    assert name == "0001"
    assert "'data' has shape (11, 8, 7, 1), expected (11, 8, 6, 1)" in reason


def test_a_dataset_with_nothing_to_keep_is_an_error_and_the_others_are_made(tmp_path, pdebench):
    pdebench.diffusion_reaction(tmp_path / "in/a.h5", trajectories=2)
    edit(tmp_path / "in/a.h5", "0000/data", (3, 1, 1, 0), np.nan)
    edit(tmp_path / "in/a.h5", "0001/data", (5, 1, 1, 0), np.nan)
    pdebench.shallow_water(tmp_path / "in/b.h5")
    with pytest.raises(SourceError, match="diffre2d_8x6: all 2 trajectories were rejected: non-finite value in"):
        run(ask(tmp_path / "in", tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["swe_8x6.zarr"]


def test_a_single_trajectory_trains_with_a_warning(tmp_path, pdebench, capsys):
    pdebench.shallow_water(tmp_path / "in/a.h5", trajectories=1)
    store = prepared(tmp_path / "in", tmp_path / "out")
    assert store.manifest.row_splits == ("train",)
    assert "a single trajectory" in capsys.readouterr().err


def test_limit_and_strides_of_the_recipe_reach_the_store(tmp_path, pdebench):
    data = pdebench.shallow_water(tmp_path / "in/a.h5", trajectories=5)
    store = prepared(
        tmp_path / "in",
        tmp_path / "out",
        limit=2,
        overrides=("select.time_stride=3", "select.space_stride=2", "select.first_frame=1"),
    )
    assert store.name == "swe_4x3"
    assert store.manifest.options["select"] == {"time_stride": 3, "space_stride": 2, "first_frame": 1}
    assert store.manifest.options["limit"] == 2
    assert store.manifest.about["dt"] == pytest.approx(0.3)
    assert store.manifest.rows == 2
    for row in range(2):
        np.testing.assert_array_equal(store.read_rows("fields", [row])[0][:, 0], data[row][1::3, ::2, ::2, 0])


def mixed_input(folder: Path, pdebench: object) -> Path:
    """Four datasets, with a duplicate and a bad trajectory among them."""
    pdebench.shallow_water(folder / "swe.h5", trajectories=6)
    edit(folder / "swe.h5", "0003/data", (2, 2, 2, 0), np.nan)
    pdebench.diffusion_reaction(folder / "dr.h5")
    pdebench.compressible(folder / "cns.h5", trajectories=5)
    for name in ("ins-1.h5", "ins-2.h5"):
        pdebench.incompressible(folder / name)
    return folder


def test_two_processes_write_the_same_bytes_as_one(tmp_path, pdebench, monkeypatch):
    folder = mixed_input(tmp_path / "in", pdebench)
    monkeypatch.setattr("polycli.mpp.sources.frames._JOB_BYTES", 1)
    run(ask(folder, tmp_path / "one", workers=1))
    run(ask(folder, tmp_path / "two", workers=2))
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    assert len([name for name in one if name.endswith("MANIFEST.json")]) == 4
    assert one == two


@pytest.mark.slow
def test_simulations_are_prepared_alike_by_one_process_and_two(tmp_path):
    overrides = ("simulate.swe_16={system: shallow_water, trajectories: 20, frames: 3, grid: 16}",)
    request = {"source": "simulate", "inputs": (), "overrides": overrides}
    run(ask(tmp_path, tmp_path / "one", **request, workers=1))
    run(ask(tmp_path, tmp_path / "two", **request, workers=2))
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["swe_16.zarr"]
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_how_the_work_is_cut_does_not_show_in_the_store(tmp_path, pdebench, monkeypatch):
    folder = mixed_input(tmp_path / "in", pdebench)
    run(ask(folder, tmp_path / "one"))
    monkeypatch.setattr("polycli.mpp.sources.frames._JOB_BYTES", 1)
    run(ask(folder, tmp_path / "two"))
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_second_prepare_of_the_same_input_leaves_the_store_alone(tmp_path, pdebench, capsys):
    pdebench.shallow_water(tmp_path / "in/a.h5")
    first = run(ask(tmp_path / "in", tmp_path / "out"))
    before = content(tmp_path / "out")
    # A copy elsewhere, touched: content counts, not place or time.
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/a.h5").write_bytes((tmp_path / "in/a.h5").read_bytes())
    second = run(ask(tmp_path / "copy", tmp_path / "out"))
    assert content(tmp_path / "out") == before
    assert (first["stores"][0]["new"], second["stores"][0]["new"]) == (True, False)
    assert first["stores"][0]["store_hash"] == second["stores"][0]["store_hash"]
    assert "already there" in capsys.readouterr().err


def test_another_store_in_the_place_is_refused_before_anything_is_written(tmp_path, pdebench):
    pdebench.shallow_water(tmp_path / "in/z.h5")
    run(ask(tmp_path / "in", tmp_path / "out"))
    before = content(tmp_path / "out")
    edit(tmp_path / "in/z.h5", "0000/data", (0, 0, 0, 0), 9.0)
    pdebench.compressible(tmp_path / "in/a.h5")
    with pytest.raises(PolycliError, match=r"swe_8x6\.zarr: already exists") as caught:
        run(ask(tmp_path / "in", tmp_path / "out"))
    assert caught.value.exit_code == 2
    assert "another output" in caught.value.hint
    assert content(tmp_path / "out") == before


def test_a_dry_run_counts_and_writes_nothing(tmp_path, pdebench, capsys):
    folder = mixed_input(tmp_path / "in", pdebench)
    document = run(ask(folder, tmp_path / "out", dry_run=True, json=True))
    assert not (tmp_path / "out").exists()
    assert capsys.readouterr().out == ""
    assert document["trajectories"] == 6 + 3 + 5 + 8
    shallow = next(entry for entry in document["stores"] if entry["name"] == "swe_8x6")
    assert (shallow["trajectories"], shallow["frames"], shallow["files"]) == (6, 11, 1)
    assert shallow["bytes"] == 6 * 11 * 8 * 6 * 4
    assert document["minutes"] > 0
    json.dumps(document)
    run(ask(folder, tmp_path / "out", dry_run=True))
    assert "swe_8x6" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "pdebench2"}, "--source pdebench2: mpp has no such source"),
        ({"overrides": ("select.stride=2",)}, "stride"),
        ({"inputs": ()}, "--input"),
    ],
)
def test_what_cannot_be_is_refused_with_exit_2_and_nothing_written(tmp_path, pdebench, options, message):
    pdebench.shallow_water(tmp_path / "in/a.h5")
    with pytest.raises(UserError, match=message) as caught:
        run(ask(tmp_path / "in", tmp_path / "out", **options))
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_bad_file_among_good_ones_is_refused_before_anything_is_written(tmp_path, pdebench):
    folder = mixed_input(tmp_path / "in", pdebench)
    whole = (folder / "dr.h5").read_bytes()
    (folder / "dr.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"dr\.h5: the HDF5 file is truncated") as caught:
        run(ask(folder, tmp_path / "out"))
    assert caught.value.hint == "fetch or copy it again; where it cannot be had, move it out of the input"
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not (SHARED / "data/pdebench").is_dir(), reason="../shared/data/pdebench is absent")
def test_the_real_files_become_stores_in_seconds(tmp_path):
    started = time.monotonic()
    document = run(ask(SHARED / "data/pdebench/2D", tmp_path / "out", workers=2))
    assert time.monotonic() - started < 60
    counts = {entry["name"]: entry["trajectories"] for entry in document["stores"]}
    assert counts == {"compNS_rand_M1.0_eta1e-08_zeta1e-08_128": 2, "diffre2d_128": 3, "swe_128": 4}
    manifest = open_store(tmp_path / "out/swe_128.zarr", family="mpp", verify="full").manifest
    statistics = manifest.statistics["fields"]["shallow_water.height"]
    # A dam of height 2 breaks into water of height 1: the mean stays near 1 and nothing exceeds the dam.
    assert 1.0 < statistics["mean"] < 1.2
    assert statistics["max"] <= 2.0 + 1e-3
