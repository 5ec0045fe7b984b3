"""A network is told the time between frames and parameters: it learns from them, and answers as before until it has."""

import json

import numpy as np
import pytest
import torch
import zarr

from polycli.errors import RecipeError
from polycli.mpp import eval as evaluation
from polycli.mpp import finetune, load_model, predict, pretrain
from polycli.mpp.recipe.training import PretrainRecipe
from polycli.mpp.training.batches import MixtureBatches
from polycli.mpp.training.conditions import told_also
from polycli.requests import EvalRequest, PredictRequest, TrainRequest
from polycli.store.reader import open_store

SPLITS = ("train",) * 24 + ("validation",) * 8 + ("test",) * 8
# One frame does not show how fast a wave moves.
RECIPE = """
family: mpp
verb: pretrain
model: {fields: [wave.height], embed_dim: 16, num_heads: 2, blocks: 2, patch_size: 4, layer_scale: 0.1, drop_path: 0.0,
  predicts: change, conditions: [dt, parameters]}
data: {history: 1, validation_windows: 32, workers: 0}
optim: {learning_rate: 5.0e-3}
train: {steps: 2, global_batch_size: 8, micro_batch_size: 8, validate_every: 100, checkpoint_every: 100}
"""


@pytest.fixture
def train(tmp_path):
    (tmp_path / "told.yaml").write_text(RECIPE, encoding="utf-8")

    def run(*stores, output="run", overrides=()):
        request = TrainRequest(
            recipe=str(tmp_path / "told.yaml"), data=stores, output=tmp_path / output, overrides=overrides
        )
        return pretrain.run(request)

    return run


def scores_of(run, store, **options):
    settings = ("report=false", "bootstrap_samples=10", *options.pop("overrides", ()))
    return evaluation.run(EvalRequest(checkpoint=run, data=(store,), overrides=settings, json=True, **options))


def test_a_model_that_is_told_the_speed_forecasts_from_one_frame_what_another_cannot(tmp_path, train, wave_store):
    store = wave_store("waves", SPLITS)
    told = train(store, output="told", overrides=("train.steps=250",))
    untold = train(store, output="untold", overrides=("train.steps=250", "model.conditions=[]"))
    errors = [found["validation"]["validation/waves/nrmse"] for found in (told, untold)]
    assert errors[0] < 0.7 * errors[1]
    model = load_model(tmp_path / "told")
    assert model.section.told == ("dt", "speed")
    speeds = open_store(store).read("params")[open_store(store).rows("train"), 0]
    assert model.conditioning.low.tolist() == pytest.approx([0.1, speeds.min()])
    assert model.conditioning.high.tolist() == pytest.approx([0.1, speeds.max()])
    assert model.conditioning.centre[1].item() == pytest.approx(speeds.mean())


def test_eval_and_predict_tell_the_same_and_what_is_unknown_or_beyond_is_said(tmp_path, train, wave_store, capsys):
    store = wave_store("waves", SPLITS)
    train(store, overrides=("train.steps=30",))
    scores_of(tmp_path / "run", store, output=tmp_path / "e", overrides=("save_rollouts=true",))
    predict.run(
        PredictRequest(
            checkpoint=tmp_path / "run",
            data=(store,),
            output=tmp_path / "p.zarr",
            split="test",
            overrides=("from_frame=0", "steps=7"),
            json=True,
        )
    )
    frames = [
        zarr.open_group(str(path), mode="r")["fields"][:]
        for path in (tmp_path / "p.zarr", tmp_path / "e" / "rollouts" / "waves.zarr")
    ]
    np.testing.assert_array_equal(*frames)
    model, opened = load_model(tmp_path / "run"), open_store(store)
    context = torch.from_numpy(opened.read_rows("fields", opened.rows("test")[:1]))[:, :1]
    speed = opened.read("params")[opened.rows("test")[0], 0]
    periodic = torch.ones(1, 2, dtype=torch.long)
    with torch.inference_mode():
        by_hand = model(context, torch.tensor([0]), periodic, told=torch.tensor([[0.1, speed]], dtype=torch.float32))
        unknown = model(context, torch.tensor([0]), periodic)
    np.testing.assert_allclose(frames[0][0, 0], by_hand[0].numpy(), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(by_hand, unknown)
    # A file whose parameters are arrays is told as a store is.
    np.savez(tmp_path / "own.npz", h=opened.read("fields")[:, :, 0], v=opened.read("params")[:, 0])
    predict.run(
        PredictRequest(
            checkpoint=tmp_path / "run",
            data=(tmp_path / "own.npz",),
            output=tmp_path / "q.zarr",
            overrides=(
                *("from_frame=0", "steps=1", "arrays.axes=[trajectory, time, x, y]", "arrays.dt=0.1"),
                *("arrays.fields={wave.height: h}", "arrays.boundary={x: periodic, y: periodic}"),
                "arrays.parameters={speed: v}",
            ),
            json=True,
        )
    )
    of_file = zarr.open_group(str(tmp_path / "q.zarr"), mode="r")["fields"][:]
    np.testing.assert_array_equal(of_file[opened.rows("test"), 0], frames[0][:, 0])
    capsys.readouterr()
    strange = wave_store("strange", SPLITS, seed=3, unknown=(32,))
    scores_of(tmp_path / "run", strange, output=tmp_path / "f")
    assert "speed is not known of 1 of 8 trajectories, and the model is told so" in capsys.readouterr().err
    # Every second frame: the model is told so, and was trained on no such time.
    scores_of(tmp_path / "run", store, output=tmp_path / "g", overrides=("data.time_stride=2",))
    said = capsys.readouterr().err
    assert "dt is between 0.2 and 0.2, in training it was between 0.1 and 0.1: for 8 of 8 trajectories the" in said


def test_a_pretrained_model_answers_bit_for_bit_as_before_whatever_it_is_told(tmp_path, wave_checkpoint, wave_store):
    store = open_store(wave_store("waves", SPLITS))
    before, model = load_model(wave_checkpoint), load_model(wave_checkpoint)
    recipe = PretrainRecipe(
        family="mpp",
        verb="pretrain",
        model=model.section,
        train={"steps": 1, "global_batch_size": 1, "micro_batch_size": 1},
    )
    told = told_also(model, ("dt", "parameters"), [store], recipe.data).eval()
    assert told.section.told == ("dt", "speed")
    frames = torch.from_numpy(store.read("fields")[:4, :2])
    labels, periodic = torch.tensor([0]), torch.ones(4, 2, dtype=torch.long)
    for values in (None, torch.rand(4, 2), torch.full((4, 2), torch.nan)):
        with torch.inference_mode():
            assert torch.equal(told(frames, labels, periodic, told=values), before(frames, labels, periodic))


def test_a_finetuning_tells_a_checkpoint_more_and_every_part_of_it_learns(tmp_path, wave_checkpoint, wave_store):
    store = wave_store("waves", SPLITS, names=("speed", "viscosity"))
    text = RECIPE.replace("pretrain", "finetune").replace("model: {fields: [wave.height], embed_dim: 16", "x: {a: b")
    text = "\n".join(line for line in text.splitlines() if not line.startswith(("model", "x:", "  predicts", "data")))
    (tmp_path / "tune.yaml").write_text(text + "\ndata: {validation_windows: 4, workers: 0}\n", encoding="utf-8")

    def tune(start, output, *overrides):
        request = TrainRequest(
            recipe=str(tmp_path / "tune.yaml"),
            checkpoint=start,
            data=(store,),
            output=tmp_path / output,
            overrides=("train.steps=4", *overrides),
        )
        finetune.run(request)
        return load_model(tmp_path / output)

    first = tune(wave_checkpoint, "first", "init.conditions=[dt]")
    assert first.section.told == ("dt",)
    second = tune(tmp_path / "first", "second", "init.conditions=[parameters]")
    assert second.section.told == ("dt", "speed", "viscosity")
    assert second.conditioning.logarithm.tolist() == [1, 0, 1]
    # It goes on from what it has learnt of dt.
    torch.testing.assert_close(second.conditioning.low[0], first.conditioning.low[0])
    assert not torch.equal(second.conditioning.absent, torch.zeros(3))
    assert not torch.equal(second.conditioning.inner.weight[:, [1, 2]], torch.zeros(16, 2))
    assert tune(tmp_path / "second", "third").section.told == ("dt", "speed", "viscosity")


def test_random_strides_are_a_function_of_the_step_and_the_network_is_told_the_time(tmp_path, wave_store):
    store = open_store(wave_store("waves", SPLITS))
    recipe = PretrainRecipe(
        family="mpp",
        verb="pretrain",
        model={"fields": ["wave.height"], "embed_dim": 16, "num_heads": 2, "blocks": 1, "conditions": ["dt"]},
        data={"history": 2, "largest_time_stride": 3},
        train={"steps": 1, "global_batch_size": 4, "micro_batch_size": 4},
    )
    batches = MixtureBatches([store], recipe)
    drawn = [batches.draws(step)[0] for step in range(60)]
    assert {windows.stride for windows, _ in drawn} == {1, 2, 3}
    again = MixtureBatches([store], recipe)
    for step in (0, 7, 59):
        windows, numbers = again.draws(step)[0]
        assert (windows.stride, numbers.tolist()) == (drawn[step][0].stride, drawn[step][1].tolist())
    windows, numbers = next(found for found in drawn if found[0].stride == 3)
    assert windows.told[0, 0] == pytest.approx(0.3)
    window = windows.window(int(numbers[0]))
    assert (window.length, window.stride) == (3, 3)
    # Validation keeps the stride of the recipe.
    assert batches.held_back["waves"].stride == 1


def test_what_cannot_be_told_is_refused_and_a_run_says_what_it_was_told(tmp_path, train, wave_store):
    with pytest.raises(RecipeError, match=r"model\.conditions names parameters, and no store has any"):
        train(wave_store("plain", SPLITS, names=()))
    train(wave_store("waves", SPLITS))
    described = json.loads(next((tmp_path / "run" / "checkpoints").glob("*/model.json")).read_text(encoding="utf-8"))
    assert described["model"]["conditions"] == ["dt", "parameters"]
    assert described["model"]["parameters"] == ["speed"]
