"""Layer-wise learning rates: which part of the rate each layer takes, and that a training steps by it."""

import signal

import pytest
import torch
from safetensors.torch import load_file

from polycli.engine.layers import depths_in_order, rate_factors
from polycli.errors import PreemptedError, RecipeError


@pytest.fixture
def layered(toy):
    class LayeredTask(toy.ToyTask):
        """The toy network as a chain: first layer, norm as its one block, last layer."""

        def depths(self):
            return depths_in_order(self.model, [self.model.norm])

    return LayeredTask


def weights(outcome):
    return load_file(outcome.checkpoint / "model.safetensors")


def test_a_factor_is_the_decay_to_the_power_of_the_layers_above(layered):
    factors = rate_factors(layered().depths(), 0.5)
    assert factors == {
        "first.weight": 0.25,
        "first.bias": 0.25,
        "norm.weight": 0.5,
        "norm.bias": 0.5,
        "last.weight": 1.0,
        "last.bias": 1.0,
    }


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_the_first_step_of_adam_moves_each_layer_by_its_rate(layered, toy, world, tmp_path, stage):
    # With betas (0, 0) and no epsilon to speak of, Adam steps by the sign of the gradient times the rate.
    settings = {"optim__betas": (0.0, 0.0), "optim__epsilon": 1e-30, "optim__weight_decay": 0.0}
    settings |= {"optim__learning_rate": 1e-2, "optim__clip_norm": None, "schedule__name": "constant"}
    settings |= {"engine__zero_stage": stage, "train__steps": 1}
    before = {name: value.clone() for name, value in layered().model.state_dict().items()}
    after = weights(toy.train_toy(tmp_path / "run", layered(), world, optim__layer_decay=0.5, **settings))
    for name, factor in rate_factors(layered().depths(), 0.5).items():
        moved = (after[name] - before[name]).abs()
        assert torch.allclose(moved, torch.full_like(moved, 1e-2 * factor), rtol=1e-3), name


@pytest.mark.parametrize("name", ["adamw", "adan"])
def test_a_resumed_run_with_layer_wise_rates_equals_one_that_was_never_stopped(
    layered, toy, world, tmp_path, metrics_of, name
):
    def run(folder, stop_after=None):
        task = layered(dropout=0.3)
        if stop_after is not None:
            toy.send_signal_in_step(task, stop_after, signal.SIGTERM)
        settings = {"optim__layer_decay": 0.7, "optim__name": name, "engine__zero_stage": 2, "train__steps": 6}
        return toy.train_toy(tmp_path / folder, task, world, schedule__warmup_steps=2, **settings)

    whole = weights(run("whole"))
    with pytest.raises(PreemptedError):
        run("cut", stop_after=3)
    cut = weights(run("cut"))
    assert metrics_of(tmp_path / "cut") == metrics_of(tmp_path / "whole")
    assert all(torch.equal(cut[name], whole[name]) for name in whole)


def test_a_decay_of_one_is_the_training_without(layered, toy, world, tmp_path):
    plain = weights(toy.train_toy(tmp_path / "plain", layered(), world, train__steps=3))
    layers = weights(toy.train_toy(tmp_path / "layers", layered(), world, train__steps=3, optim__layer_decay=1.0))
    assert all(torch.equal(plain[name], layers[name]) for name in plain)


def test_a_model_without_an_order_of_layers_is_refused(toy, world, tmp_path):
    with pytest.raises(RecipeError, match=r"layer_decay 0.7: pretrain toy with this recipe has no layers in one order"):
        toy.train_toy(tmp_path / "run", toy.ToyTask(), world, optim__layer_decay=0.7)


def test_d_adaptation_which_has_one_step_size_is_refused(layered, toy, world, tmp_path):
    with pytest.raises(RecipeError, match=r"layer_decay with optim.name dadapt_adan"):
        toy.train_toy(tmp_path / "run", layered(), world, optim__layer_decay=0.7, optim__name="dadapt_adan")
