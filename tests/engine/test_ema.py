"""The average of the weights: torch's own, at every ZeRO stage, in validation, in the export and after a resume."""

import json
import signal

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from polycli.engine.deepspeed import config
from polycli.errors import PreemptedError

DECAY = 0.8
VARYING = ((4, 4), (8,), (2, 6))


@pytest.fixture(autouse=True)
def shards(monkeypatch):
    """ZeRO 3 shards the weights of a small network too, but not all of them."""
    monkeypatch.setattr(config, "WHOLE_ELEMENTS", 64)


def averaged_by_torch(path, toy, world, steps: int, **settings) -> AveragedModel:
    """The weights of every step, from the checkpoints of a run without an average, averaged by torch."""
    averages = AveragedModel(toy.ToyTask().model, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    task = toy.ToyTask(micro=VARYING)
    toy.train_toy(path, task, world, train__steps=steps, train__checkpoint_every=1, train__keep_last=99, **settings)
    for step in range(1, steps + 1):
        model = toy.ToyTask().model
        model.load_state_dict(load_file(path / f"checkpoints/step-{step:08d}/model.safetensors"))
        averages.update_parameters(model)
    return averages


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_the_exported_and_validated_model_is_torchs_average(toy, world, tmp_path, metrics_of, stage):
    settings = {"engine__zero_stage": stage, "train__steps": 6}
    expected = averaged_by_torch(tmp_path / "plain", toy, world, 6, engine__zero_stage=stage).module
    task = toy.ToyTask(micro=VARYING)
    outcome = toy.train_toy(tmp_path / "run", task, world, optim__ema_decay=DECAY, **settings)
    found = load_file(outcome.checkpoint / "model.safetensors")
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-7)
    with torch.no_grad():
        loss = float(task.validate(expected, world)["validation/loss"])
    assert outcome.validation["validation/loss"] == pytest.approx(loss, rel=1e-5)
    assert json.loads((outcome.checkpoint / "model.json").read_text())["ema"] == DECAY
    # The training itself is what it is without an average.
    training = [[line for line in metrics_of(tmp_path / run) if line["kind"] == "train"] for run in ("run", "plain")]
    assert training[0] == training[1]


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_a_resumed_run_has_the_same_average_bit_for_bit(toy, world, tmp_path, metrics_of, stage):
    def run(name, stop_after=None):
        task = toy.ToyTask(micro=VARYING, dropout=0.3)
        if stop_after is not None:
            toy.send_signal_in_step(task, stop_after, signal.SIGTERM)
        settings = {"engine__zero_stage": stage, "train__steps": 9, "train__validate_every": 2}
        return toy.train_toy(tmp_path / name, task, world, optim__ema_decay=DECAY, **settings)

    whole = run("whole")
    with pytest.raises(PreemptedError):
        run("cut", stop_after=4)
    cut = run("cut")
    assert metrics_of(tmp_path / "cut") == metrics_of(tmp_path / "whole")
    for file in ("model.safetensors", "weights.safetensors"):
        assert (cut.checkpoint / file).read_bytes() == (whole.checkpoint / file).read_bytes()


def test_a_step_that_the_optimizer_did_not_take_does_not_count(toy, world, tmp_path):
    """A bad first step leaves the initial weights in the average; the second step is then the first to count."""
    poisoned = toy.ToyTask(poison={0: 0})
    outcome = toy.train_toy(tmp_path / "run", poisoned, world, optim__ema_decay=DECAY, train__steps=2)
    weights, averages = (load_file(outcome.checkpoint / f"{name}.safetensors") for name in ("weights", "model"))
    assert outcome.bad_steps == 1
    assert all(torch.equal(averages[name], weights[name]) for name in averages)


def test_an_average_that_looks_back_further_than_the_run_is_long_is_warned_of(toy, world, tmp_path, capsys):
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world, optim__ema_decay=0.999, train__steps=2)
    assert "looks back 1,000 steps and the run has 2" in capsys.readouterr().err


def test_an_average_that_is_switched_on_later_starts_from_the_weights(toy, world, tmp_path):
    task = toy.ToyTask()
    toy.send_signal_in_step(task, 3, signal.SIGTERM)
    with pytest.raises(PreemptedError):
        toy.train_toy(tmp_path / "run", task, world)
    before = load_file(tmp_path / "run/checkpoints/step-00000003/model.safetensors")
    outcome = toy.train_toy(tmp_path / "run", toy.ToyTask(), world, train__steps=4, optim__ema_decay=DECAY)
    after, averages = (load_file(outcome.checkpoint / f"{name}.safetensors") for name in ("weights", "model"))
    for name, tensor in averages.items():
        torch.testing.assert_close(tensor, DECAY * before[name] + (1 - DECAY) * after[name], rtol=1e-5, atol=1e-7)
