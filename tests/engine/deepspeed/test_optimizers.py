"""The optimizers of recipes."""

import pytest
import torch
from torch import nn

from polycli.engine.deepspeed.optimizers import STATES, build_optimizer
from polycli.sections import OptimSection


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 2))


@pytest.mark.parametrize("name", ["adamw", "adan", "dadapt_adan"])
def test_only_weights_of_two_or_more_dimensions_decay(name):
    optimizer = build_optimizer(OptimSection(name=name, weight_decay=0.1), model())
    decay = {parameter.ndim: group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]}
    assert decay == {2: 0.1, 1: 0.0}


def test_parameters_that_are_not_trained_are_left_out():
    frozen = model()
    frozen[0].requires_grad_(False)
    optimizer = build_optimizer(OptimSection(), frozen)
    assert sum(parameter.numel() for group in optimizer.param_groups for parameter in group["params"]) == 10 + 10 + 2


@pytest.mark.parametrize("name", ["adamw", "adan", "dadapt_adan"])
def test_settings_of_the_recipe_reach_the_optimizer_and_a_step_lowers_the_loss(name):
    network = model()
    rate = 1.0 if name == "dadapt_adan" else 1e-3
    optimizer = build_optimizer(OptimSection(name=name, learning_rate=rate, epsilon=1e-7, weight_decay=0), network)
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["eps"]) == (rate, 1e-7)
    x, losses = torch.ones(4, 3), []
    for _ in range(3):
        optimizer.zero_grad()
        loss = network(x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[0]


@pytest.mark.parametrize("name", sorted(STATES))
def test_the_plan_of_memory_counts_the_state_that_an_optimizer_keeps(name):
    network = nn.Linear(100, 100, bias=False)
    optimizer = build_optimizer(OptimSection(name=name), network)
    network(torch.ones(1, 100)).sum().backward()
    optimizer.step()
    tensors = [value for value in optimizer.state[network.weight].values() if torch.is_tensor(value)]
    assert sum(tensor.numel() for tensor in tensors if tensor.numel() > 1) == STATES[name] * network.weight.numel()
