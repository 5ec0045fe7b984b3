"""Which stores an evaluation works on, and where its scores go."""

import json
from pathlib import Path

import pytest

from polycli.errors import StoreError
from polycli.requests import EvalRequest
from polycli.store.manifest import read_manifest
from polycli.workflow.evaluated_stores import evaluated_stores, output_folder
from tests.mpp.conftest import make_store

MODEL = Path("model.safetensors")


def run_of(folder: Path, **stores: Path) -> Path:
    """A run folder that says that it was trained on `stores`."""
    known = {
        name: {"path": str(path), "store_hash": read_manifest(path).store_hash if path.exists() else "0"}
        for name, path in stores.items()
    }
    folder.mkdir()
    (folder / "data.json").write_text(json.dumps(known), encoding="utf-8")
    return folder


def test_without_data_the_stores_of_the_run_are_taken_by_name(tmp_path):
    waves, ripples = (make_store(tmp_path / "stores", name) for name in ("waves", "ripples"))
    run = run_of(tmp_path / "run", waves=waves, ripples=ripples)
    stores = evaluated_stores((), family="mpp", model_file=MODEL, run=run)
    assert [store.name for store in stores] == ["ripples", "waves"]


def test_named_stores_stand_in_place_of_the_runs(tmp_path):
    waves, ripples = (make_store(tmp_path / "stores", name) for name in ("waves", "ripples"))
    run = run_of(tmp_path / "run", waves=waves)
    assert [s.name for s in evaluated_stores([ripples], family="mpp", model_file=MODEL, run=run)] == ["ripples"]


def test_a_store_that_changed_since_training_is_pointed_out(tmp_path, capsys):
    run = run_of(tmp_path / "run", waves=make_store(tmp_path / "first", "waves"))
    other = make_store(tmp_path / "second", "waves", seed=1)
    evaluated_stores([other], family="mpp", model_file=MODEL, run=run)
    assert "not the store that the run was trained on" in " ".join(capsys.readouterr().err.split())


def test_no_data_and_a_lost_store_are_refused(tmp_path):
    with pytest.raises(StoreError, match="no data to evaluate on"):
        evaluated_stores((), family="mpp", model_file=MODEL, run=None)
    run = run_of(tmp_path / "run", waves=tmp_path / "gone.zarr")
    with pytest.raises(StoreError, match=r"gone\.zarr: the run was trained on this store"):
        evaluated_stores((), family="mpp", model_file=MODEL, run=run)


def test_scores_go_to_the_named_folder_or_into_the_run_or_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = EvalRequest(checkpoint=MODEL, split="validation")
    assert output_folder(request, tmp_path / "run") == tmp_path / "run" / "eval" / "validation"
    assert output_folder(request, None) == tmp_path / "eval"
    named = EvalRequest(checkpoint=MODEL, output=Path("scores"))
    assert output_folder(named, tmp_path / "run") == tmp_path / "scores"
