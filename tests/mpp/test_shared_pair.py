"""The pair model.safetensors and model.json, or the weights alone, is all that eval, predict and load_model need."""

import shutil
from pathlib import Path

import pytest
import torch

from polycli.errors import CheckpointError
from polycli.mpp import eval as evaluation
from polycli.mpp import load_model, predict, pretrain
from polycli.requests import EvalRequest, PredictRequest, TrainRequest
from tests.earlier import as_schema_1

RECIPE = """
family: mpp
verb: pretrain
model: {embed_dim: 16, num_heads: 2, blocks: 2, patch_size: 4, predicts: change}
data: {history: 3, draws_per_step: 1, validation_windows: 2}
train: {steps: 2, global_batch_size: 4, micro_batch_size: 2}
"""


@pytest.fixture
def store(store_factory) -> Path:
    return store_factory("swe", physics="shallow_water", splits=("train",) * 3 + ("validation", "test"))


@pytest.fixture
def run(store, tmp_path) -> Path:
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    pretrain.run(TrainRequest(recipe=str(tmp_path / "tiny.yaml"), data=(store,), output=tmp_path / "run"))
    return tmp_path / "run"


def test_eval_predict_and_load_model_do_without_the_training_state(run, store, tmp_path):
    def scores(output: str) -> dict:
        request = EvalRequest(
            checkpoint=run, data=(store,), output=tmp_path / output, overrides=("bootstrap_samples=50", "report=false")
        )
        return evaluation.run(request)["datasets"]

    before, weights = scores("before"), load_model(run).state_dict()
    checkpoint = run / "checkpoints/step-00000002"
    (checkpoint / "trainer.json").unlink()
    for file in (checkpoint / "optimizer").iterdir():
        file.unlink()
    (checkpoint / "optimizer").rmdir()

    assert scores("after") == before
    after = load_model(run).state_dict()
    assert all(torch.equal(after[name], weights[name]) for name in weights)
    predict.run(PredictRequest(checkpoint=run, data=(store,), output=tmp_path / "forecasts.zarr", split="test"))
    assert (tmp_path / "forecasts.zarr").exists()


def test_weights_alone_still_predict_the_change_to_the_state(run, store, tmp_path):
    """Taken for a model that predicts states, as published ones do, it would be worse than persistence."""

    def ratio(checkpoint: Path, *overrides: str) -> float:
        given = ("bootstrap_samples=50", "report=false", *overrides)
        request = EvalRequest(checkpoint=checkpoint, data=(store,), output=tmp_path / "out", overrides=given)
        return evaluation.run(request)["datasets"]["swe"]["one_step"]["nrmse"]["ratio"]

    pair = run / "checkpoints/step-00000002"
    alone = tmp_path / "alone" / "any.safetensors"
    alone.parent.mkdir()
    shutil.copy(pair / "model.safetensors", alone)
    assert ratio(alone) == ratio(run) < 1.5
    assert load_model(alone).section == load_model(run).section

    earlier = as_schema_1(pair)
    assert ratio(run) == ratio(alone), "a run of before is evaluated as it was"
    shutil.copy(earlier / "model.safetensors", alone)
    with pytest.raises(CheckpointError, match="whether they predict the next state or the change") as refusal:
        ratio(alone)
    assert "--set model.predicts=change" in str(refusal.value.hint)
    given = ("data.history=3",)
    assert ratio(alone, "model.predicts=change", *given) == ratio(run)
    assert ratio(alone, "model.predicts=state", *given) > 2 * ratio(run)
    with pytest.raises(CheckpointError, match="predict the next state"):
        load_model(alone)
    assert load_model(alone, predicts="change").section.predicts == "change"
