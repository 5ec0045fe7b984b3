"""The pair model.safetensors and model.json is all that eval, predict and load_model need of a run."""

from pathlib import Path

import pytest
import torch

from polycli.mpp import eval as evaluation
from polycli.mpp import load_model, predict, pretrain
from polycli.requests import EvalRequest, PredictRequest, TrainRequest

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
