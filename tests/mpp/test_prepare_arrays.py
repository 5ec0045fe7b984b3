"""One's own arrays become stores: bit for bit, with the splits and parameters that the files give."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from polycli.errors import SourceError
from polycli.mpp.prepare import run
from polycli.requests import PrepareRequest
from polycli.store.reader import Store, open_store

SAID = (
    "arrays.axes=[x, trajectory, y, field, time]",
    "arrays.fields=[my.height, my.speed]",
    "arrays.boundary={x: periodic, y: wall}",
    "arrays.dt=0.1",
)


def prepared(file: Path, output: Path, *settings: str, **options) -> Store:
    request = PrepareRequest(
        source="arrays", inputs=(file,), output=output, overrides=(*SAID, *settings), workers=1, **options
    )
    (entry,) = run(request)["stores"]
    return open_store(Path(entry["path"]), family="mpp", verify="full")


def numbers(rows: int = 6) -> np.ndarray:
    """(trajectory, time, field, x, y) in float64."""
    return np.random.default_rng(0).normal(size=(rows, 5, 2, 7, 4))


def mixed(values: np.ndarray) -> np.ndarray:
    return values.transpose(3, 0, 4, 2, 1)


def test_a_store_holds_float32_of_what_the_array_held_in_the_order_of_stores(tmp_path):
    np.save(tmp_path / "my waves.npy", mixed(numbers()))
    store = prepared(tmp_path / "my waves.npy", tmp_path / "out")
    assert store.path == tmp_path / "out/my_waves.zarr"
    np.testing.assert_array_equal(store.read_rows("fields", range(6)), numbers().astype(np.float32))
    assert store.manifest.about["fields"] == ["my.height", "my.speed"]
    assert store.manifest.about["boundary_conditions"] == {"x": "periodic", "y": "wall"}
    np.testing.assert_allclose(store.read("time"), 0.1 * np.arange(5))
    assert [source.name for source in store.manifest.sources] == ["my waves.npy"]


def test_given_splits_and_parameters_are_those_of_the_rows(tmp_path):
    parts = ["test", "train", "valid", "train", "train", "test"]
    np.savez(tmp_path / "own.npz", data=mixed(numbers()), part=parts, nu=np.arange(6) / 10)
    settings = ("arrays.array=data", "arrays.split=part", "arrays.parameters={viscosity: nu}", "dataset.name=mine")
    store = prepared(tmp_path / "own.npz", tmp_path / "out", *settings)
    assert store.path.name == "mine.zarr"
    assert store.manifest.row_splits == ("test", "train", "validation", "train", "train", "test")
    assert store.manifest.split_rule == "as the files give it"
    np.testing.assert_allclose(store.read("params")[:, 0], np.arange(6) / 10)
    training = numbers()[[1, 3, 4], :, 0]
    assert store.manifest.statistics["fields"]["my.height"]["mean"] == pytest.approx(training.mean(), rel=1e-6)
    # The same numbers, divided otherwise, are another store.
    np.savez(tmp_path / "own.npz", data=mixed(numbers()), part=["test", *["train"] * 5], nu=np.arange(6) / 10)
    assert prepared(tmp_path / "own.npz", tmp_path / "other", *settings).manifest.splits["train"] == 5


def test_splits_that_leave_nothing_to_train_on_are_refused(tmp_path):
    np.savez(tmp_path / "own.npz", data=mixed(numbers()), part=["test"] * 6)
    with pytest.raises(SourceError, match="of 6 trajectories none is given to train"):
        prepared(tmp_path / "own.npz", tmp_path / "out", "arrays.array=data", "arrays.split=part")
    assert not (tmp_path / "out").exists()


def test_a_zarr_folder_is_read_and_all_its_files_are_hashed(tmp_path):
    zarr.open_group(tmp_path / "own.zarr", mode="w").create_array("data", data=mixed(numbers()))
    store = prepared(tmp_path / "own.zarr", tmp_path / "out")
    np.testing.assert_array_equal(store.read_rows("fields", range(6)), numbers().astype(np.float32))
    names = {source.name for source in store.manifest.sources}
    assert {"own.zarr/zarr.json", "own.zarr/data/zarr.json"} <= names


def test_a_number_beyond_float32_and_one_that_is_none_reject_their_trajectory(tmp_path):
    values = numbers()
    values[1, 2, 0, 3, 3] = 1e300
    values[4, 0, 1, 0, 0] = np.nan
    np.save(tmp_path / "own.npy", mixed(values))
    store = prepared(tmp_path / "own.npy", tmp_path / "out")
    assert [(entry.id, entry.reason) for entry in store.manifest.rejected] == [
        ("0001", "non-finite value in my.height, first in frame 2"),
        ("0004", "non-finite value in my.speed, first in frame 0"),
    ]


def test_parts_and_processes_give_the_same_store_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr("polycli.mpp.sources.frames._JOB_BYTES", 1)
    np.save(tmp_path / "own.npy", mixed(numbers()))
    whole = prepared(tmp_path / "own.npy", tmp_path / "a")
    for part in ((0, 2), (1, 2)):
        request = PrepareRequest(
            source="arrays",
            inputs=(tmp_path / "own.npy",),
            output=tmp_path / "b",
            overrides=SAID,
            workers=1,
            part=part,
        )
        run(request)
    assert (
        prepared(tmp_path / "own.npy", tmp_path / "b", finalize=True).manifest.store_hash == whole.manifest.store_hash
    )
