"""Every network that `model.kind` can name, through pretrain, eval, predict, embed and finetune."""

import json

import numpy as np
import pyarrow.parquet as parquet
import pytest
import zarr

from polycli.errors import CheckpointError, RecipeError, UserError
from polycli.mpp import embed, finetune, load_model, predict, pretrain
from polycli.mpp import eval as evaluation
from polycli.recipes import load_recipe
from polycli.requests import EmbedRequest, EvalRequest, PredictRequest, TrainRequest

RECIPE = """
family: mpp
verb: pretrain
model: {MODEL, predicts: change, fields: [shallow_water.height]}
data: {history: 3, validation_windows: 4, workers: 1}
objective: {normalise_by: change}
optim: {learning_rate: 3.0e-3}
train: {steps: 6, global_batch_size: 4, micro_batch_size: 2, validate_every: 6, checkpoint_every: 6}
"""
FINETUNE = """
family: mpp
verb: finetune
data: {validation_windows: 4, workers: 1}
init: {unmatched: allow}
train: {steps: 3, global_batch_size: 2, micro_batch_size: 2, validate_every: 3, checkpoint_every: 3}
"""
MODELS = {
    "fno": "kind: fno, width: 6, modes: 4, blocks: 2",
    "vit": "kind: vit, embed_dim: 8, num_heads: 2, blocks: 2, decoder_dim: 6, decoder_heads: 3, decoder_blocks: 1, "
    "patch_size: 4, tubelet: 3",
    "unet": "kind: unet, width: 4, stages: 2, blocks_per_stage: 1, layer_scale: 0.1",
}


@pytest.fixture(params=MODELS)
def kind(request):
    return request.param


@pytest.fixture
def recipe(tmp_path, kind):
    path = tmp_path / f"{kind}.yaml"
    path.write_text(RECIPE.replace("MODEL", MODELS[kind]), encoding="utf-8")
    return str(path)


def test_a_network_of_each_kind_goes_through_every_verb(recipe, kind, store_factory, tmp_path):
    store, run = store_factory("swe", grid=(16, 12)), tmp_path / "run"
    train = TrainRequest(recipe=recipe, data=(store,), output=run)
    assert pretrain.run(train)["step"] == 6
    described = json.loads((run / "checkpoints" / "step-00000006" / "model.json").read_text())
    assert described["model"]["kind"] == kind
    if kind != "vit":
        assert described["model"]["history"] == 3, "the most that it can see is known without the recipe"
    assert pretrain.run(train)["step"] == 6, "the same line finds its run"

    scores = evaluation.run(EvalRequest(checkpoint=run, output=tmp_path / "eval", overrides=("report=false",)))
    assert scores["datasets"]["swe"]["one_step"]["vrmse"]["ratio"] < 2
    assert scores["history"] == 3

    made = tmp_path / "forecasts.zarr"
    predict.run(PredictRequest(checkpoint=run, data=(store,), output=made, split="test", overrides=("steps=2",)))
    array = zarr.open_group(made, mode="r")["fields"]
    assert array.shape == (1, 2, 1, 16, 12)
    assert np.isfinite(array[:]).all()

    vectors = tmp_path / "vectors.parquet"
    embed.run(EmbedRequest(checkpoint=run, data=(store,), output=vectors))
    table = parquet.read_table(vectors)
    assert len(table["pooled_embedding"][0]) == described["model"].get("width", described["model"].get("embed_dim"))

    other = store_factory("reaction", physics="diffusion_reaction", grid=(9, 15), boundary="wall", seed=1)
    tuning = tmp_path / "finetune.yaml"
    tuning.write_text(FINETUNE, encoding="utf-8")
    tuned = TrainRequest(recipe=str(tuning), checkpoint=run, data=(other,), output=tmp_path / "tuned")
    assert finetune.run(tuned)["step"] == 3
    again = evaluation.run(
        EvalRequest(checkpoint=tmp_path / "tuned", output=tmp_path / "eval2", overrides=("report=false",))
    )
    assert np.isfinite(again["datasets"]["reaction"]["one_step"]["nrmse"]["model"])


@pytest.mark.parametrize("kind", ["fno", "unet"])
def test_a_longer_context_than_it_has_weights_for_is_refused(recipe, store_factory, tmp_path):
    store, run = store_factory("swe"), tmp_path / "run"
    pretrain.run(TrainRequest(recipe=recipe, data=(store,), output=run, overrides=("train.steps=1",)))
    request = EvalRequest(checkpoint=run, output=tmp_path / "eval", overrides=("report=false", "data.history=4"))
    with pytest.raises(UserError, match=r"data.history is a context of 4 frames; this network has weights for 3"):
        evaluation.run(request)
    shorter = EvalRequest(checkpoint=run, output=tmp_path / "eval", overrides=("report=false", "data.history=2"))
    assert evaluation.run(shorter)["history"] == 2


def test_recipes_of_other_kinds_are_refused_by_name(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(RECIPE.replace("MODEL", "kind: fno, modus: 3, patch_size: 4"), encoding="utf-8")
    with pytest.raises(RecipeError) as refused:
        load_recipe(str(path), family="mpp", verb="pretrain")
    assert "unknown key `model.modus`; did you mean `model.modes`?" in refused.value.message
    assert "`model.patch_size` is of another kind than `kind: fno`" in refused.value.message
    path.write_text(RECIPE.replace("MODEL", "kind: resnet"), encoding="utf-8")
    with pytest.raises(RecipeError, match=r"kind should be one of avit, fno, unet, vit"):
        load_recipe(str(path), family="mpp", verb="pretrain")
    path.write_text(RECIPE.replace("MODEL", "kind: fno, history: 2"), encoding="utf-8")
    with pytest.raises(RecipeError, match=r"data.history is a context of 3 frames; this network has weights for 2"):
        load_recipe(str(path), family="mpp", verb="pretrain")


def test_masked_tubes_are_pretrained_and_finetuned_to_a_forecaster_of_new_fields(store_factory, tmp_path):
    store = store_factory("swe", grid=(16, 12))
    path = tmp_path / "tubes.yaml"
    text = RECIPE.replace("MODEL", MODELS["vit"]).replace("{normalise_by: change}", "{kind: tubes, mask_ratio: 0.75}")
    path.write_text(text, encoding="utf-8")
    run = tmp_path / "tubes"
    done = pretrain.run(TrainRequest(recipe=str(path), data=(store,), output=run))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (validated,) = [line for line in lines if line["kind"] == "validation"]
    assert validated["validation/loss"] == validated["validation/swe/masked_error"] > 0
    assert done["step"] == 6

    for call in (
        lambda: evaluation.run(EvalRequest(checkpoint=run, output=tmp_path / "eval")),
        lambda: predict.run(PredictRequest(checkpoint=run, data=(store,), output=tmp_path / "f.zarr", split="test")),
    ):
        with pytest.raises(CheckpointError, match=r"pretrained to fill in hidden tubes, and forecasts nothing yet"):
            call()
    embed.run(EmbedRequest(checkpoint=run, data=(store,), output=tmp_path / "vectors.parquet"))
    assert len(parquet.read_table(tmp_path / "vectors.parquet")["pooled_embedding"][0]) == 8

    tuning = tmp_path / "finetune.yaml"
    tuning.write_text(FINETUNE, encoding="utf-8")
    other = store_factory("new", fields=["shallow_water.height", "swe.tracer"], grid=(9, 15), boundary="wall", seed=1)
    tuned = TrainRequest(recipe=str(tuning), checkpoint=run, data=(other,), output=tmp_path / "tuned")
    assert finetune.run(tuned)["step"] == 3
    before, after = (dict(load_model(place).named_parameters()) for place in (run, tmp_path / "tuned"))
    still = [name for name, value in after.items() if before[name].shape == value.shape and before[name].equal(value)]
    assert still == []
    scores = evaluation.run(
        EvalRequest(checkpoint=tmp_path / "tuned", output=tmp_path / "eval", overrides=("report=false",))
    )
    assert np.isfinite(scores["datasets"]["new"]["one_step"]["nrmse"]["model"])
