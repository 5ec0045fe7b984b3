"""Stores, runs and checkpoints say what they are in about ten lines."""

import json

import numpy as np
import pytest
import zarr

from polycli import __main__ as entry
from polycli.checkpoints.manifest import checkpoint_name, write_manifest
from polycli.errors import CheckpointError, PolycliError
from polycli.inspection import inspect_path
from tests.mpp.conftest import make_store


@pytest.fixture
def run(tmp_path):
    """A run with two checkpoints, the first the better one."""
    folder = tmp_path / "run"
    for step, loss in ((10, 0.5), (20, 0.7)):
        checkpoint = folder / "checkpoints" / checkpoint_name(step)
        checkpoint.mkdir(parents=True)
        (checkpoint / "model.safetensors").write_bytes(b"0" * 100)
        write_manifest(
            checkpoint,
            step=step,
            family="mpp",
            verb="pretrain",
            world_size=2,
            zero_stage=2,
            optimizer="adan",
            metric=("validation/loss", loss),
        )
    (folder / "status.json").write_text(json.dumps({"state": "preempted", "step": 20, "message": "SIGTERM"}))
    (folder / "metrics.jsonl").write_text('{"kind": "train", "step": 20, "loss": 0.25}\n')
    (folder / "data.json").write_text('{"swe_128": {}}')
    return folder


def test_a_run_tells_its_state_and_its_best_checkpoint(run):
    finding = inspect_path(run)
    text = "\n".join(finding.lines)
    assert "a run of `pretrain mpp`" in text
    assert "preempted" in text
    assert "step-00000010, validation/loss 0.5" in text
    assert "swe_128" in text
    assert "step 20: loss 0.25" in text
    assert len(finding.lines) <= 12
    assert finding.document["best"] == "step-00000010"


def test_verify_names_the_damaged_file_of_a_checkpoint(run):
    assert any("every checkpoint" in line for line in inspect_path(run, verify=True).lines)
    checkpoint = run / "checkpoints" / checkpoint_name(20)
    (checkpoint / "model.safetensors").write_bytes(b"0" * 99 + b"1")
    inspect_path(checkpoint)
    for path in (run, checkpoint):
        with pytest.raises(CheckpointError, match=r"model.safetensors: damaged"):
            inspect_path(path, verify=True)


def test_a_checkpoint_tells_its_step_and_score(run):
    text = "\n".join(inspect_path(run / "checkpoints" / checkpoint_name(10)).lines)
    assert "a checkpoint of `pretrain mpp`" in text
    assert "2 ranks at ZeRO stage 2" in text
    assert "can be resumed with adan on any number of processes" in text


def test_a_zarr_group_of_somebody_else_is_no_store(tmp_path):
    group = zarr.open_group(tmp_path / "other.zarr", mode="w")
    group.create_array("inner/values", shape=(3, 2), dtype="f4")
    text = "\n".join(inspect_path(tmp_path / "other.zarr").lines)
    assert "a zarr group" in text
    assert "inner/values 3 x 2 float32" in text
    assert "not a store of polycli" in text


def test_forecasts_in_zarr_say_of_what_and_by_which_checkpoint(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    about = {"format": "polycli-forecast", "dataset": "swe_128", "physics": "shallow_water"}
    group.create_group("swe_128", attributes={**about, "checkpoint": "small.safetensors", "selected_by": "as given"})
    text = "\n".join(inspect_path(tmp_path / "a.zarr").lines)
    assert "forecasts, a zarr group" in text
    assert "swe_128 (shallow_water)" in text
    assert "small.safetensors (as given)" in text
    assert "no store" not in text


def test_an_evaluation_tells_its_scores(tmp_path):
    entry = {"model": 0.25, "ratio": 0.5}
    scores = {
        "split": "test",
        "checkpoint": "m.safetensors",
        "selected_by": "as given",
        "datasets": {"swe": {"one_step": {"vrmse": entry}}, "diverged": {"one_step": {"vrmse": {"model": None}}}},
    }
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    text = "\n".join(inspect_path(tmp_path).lines)
    assert "an evaluation" in text
    assert "swe VRMSE 0.25, 0.5 of persistence" in text


def test_the_checkpoints_of_a_run_are_a_folder_of_checkpoints(run):
    assert "a folder of checkpoints" in inspect_path(run / "checkpoints").lines[0]


def test_a_plain_folder_lists_what_it_holds(tmp_path, run):
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / "a.zarr.partial-1234").mkdir()
    assert "unfinished" in "\n".join(inspect_path(tmp_path / "stores").lines)
    assert inspect_path(tmp_path).document["runs"] == ["run"]


def test_verify_of_a_folder_of_stores_looks_into_each_and_of_scores_promises_nothing(tmp_path):
    """It exited 0 without a look at any."""
    stores = tmp_path / "stores"
    for name in ("calm", "waves"):
        make_store(stores, name)
    assert "2 of 2 entries, which agree with their hashes" in "\n".join(inspect_path(stores, verify=True).lines)
    chunk = next(path for path in sorted((stores / "waves.zarr/fields/c").rglob("*")) if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    with pytest.raises(PolycliError, match=r"waves\.zarr"):
        inspect_path(stores, verify=True)
    (tmp_path / "report").mkdir()
    (tmp_path / "report/scores.json").write_text("{}")
    assert "nothing: no hashes" in "\n".join(inspect_path(tmp_path / "report", verify=True).lines)


def test_a_damaged_manifest_is_refused_with_exit_code_two(tmp_path, capsys):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "MANIFEST.json").write_text('{"format": "polycli-store", "rows": 3}')
    assert entry.run(["inspect", str(tmp_path / "a.zarr")]) == 2
    assert "a.zarr" in capsys.readouterr().err


def test_a_store_is_described_and_its_json_is_the_manifest(tmp_path, pdebench, capsys):
    from polycli.mpp.prepare import run as prepare
    from polycli.requests import PrepareRequest

    pdebench.shallow_water(tmp_path / "2D_rdb_NA_NA.h5", frames=12, grid=(16, 16))
    prepare(
        PrepareRequest(source="pdebench", inputs=(tmp_path / "2D_rdb_NA_NA.h5",), output=tmp_path / "stores", workers=1)
    )
    (store,) = (tmp_path / "stores").glob("*.zarr")
    capsys.readouterr()
    assert entry.run(["inspect", str(store), "--verify"]) == 0
    text = capsys.readouterr().out
    assert "a store for mpp" in text
    assert "3 x 12 x 1 x 16 x 16 float32" in text
    assert "every file has the hash" in text
    assert entry.run(["inspect", str(store), "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["format"] == "polycli-store"
    assert sum(manifest["splits"].values()) == manifest["rows"] == 3
    assert isinstance(manifest["rejected"], list)
    data = np.frombuffer(next(store.rglob("c/0/*/*/*/*")).read_bytes(), np.uint8).copy()
    data[len(data) // 2] ^= 1
    next(store.rglob("c/0/*/*/*/*")).write_bytes(data.tobytes())
    assert entry.run(["inspect", str(store)]) == 0
    assert entry.run(["inspect", str(store), "--verify"]) == 2
