"""Runs and stores as earlier versions wrote them open, are evaluated and go on; what they do not say is said once."""

import json

import pytest

from polycli.mpp import eval as evaluation
from polycli.mpp import prepare, pretrain
from polycli.requests import EvalRequest, PrepareRequest, TrainRequest
from polycli.store.manifest import read_manifest
from polycli.store.reader import open_store
from tests.earlier import as_schema_1, store_as_schema_1

RECIPE = """
family: mpp
verb: pretrain
model: {embed_dim: 16, num_heads: 2, blocks: 1, patch_size: 4, predicts: change}
data: {history: 2, validation_windows: 2, workers: 0}
train: {steps: 2, global_batch_size: 4, micro_batch_size: 2}
"""


@pytest.fixture
def store(tmp_path, pdebench):
    pdebench.shallow_water(tmp_path / "swe.h5", trajectories=8, frames=6, grid=(16, 16))
    request = PrepareRequest(
        source="pdebench", inputs=(tmp_path / "swe.h5",), output=tmp_path / "stores", workers=1, json=True
    )
    (found,) = prepare.run(request)["stores"]
    return store_as_schema_1(tmp_path / found["path"])


def test_a_run_of_before_is_evaluated_and_resumed_and_its_silence_is_said_once(tmp_path, store, capsys):
    assert read_manifest(store).schema_version == 1
    assert open_store(store, verify="full").manifest.row_ids_given is False
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    recipe, run = str(tmp_path / "tiny.yaml"), tmp_path / "run"
    pretrain.run(TrainRequest(recipe=recipe, data=(store,), output=run))

    def scores():
        given = ("bootstrap_samples=10", "report=false")
        return evaluation.run(EvalRequest(checkpoint=run, output=tmp_path / "out", overrides=given, json=True))

    now = scores()
    as_schema_1(run / "checkpoints" / "step-00000002")
    capsys.readouterr()
    before = scores()
    said = " ".join(capsys.readouterr().err.split())
    assert before["datasets"] == now["datasets"]
    assert before["overlap"] == now["overlap"] == {"checked": True, "trajectories": 0, "allowed": False}
    assert said.count("of an earlier version, which keeps hashes of whole rows alone") == 1
    assert "whether data are like those is not compared" not in said, "the run's stores say what it was trained on"

    pretrain.run(TrainRequest(recipe=recipe, data=(store,), output=run, overrides=("train.steps=4",), resume="must"))
    described = json.loads((run / "checkpoints" / "step-00000004" / "model.json").read_text())
    assert described["schema_version"] == 2
    assert described["trained"]["swe_16"]["fields"] == ["shallow_water.height"]
