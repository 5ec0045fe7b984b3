"""Counts a model's floating-point operations: what model FLOP utilisation divides by, and what a dry run says.

Torch counts them itself, as products of matrices and convolutions run on tensors that have shapes but no memory. A
multiplication and an addition are two operations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from polycli.nn.skeleton import fake_model

Model = TypeVar("Model", bound=nn.Module)
Number = TypeVar("Number", int, float)
#: A step has three times the operations of its forward pass: the backward pass makes two products for each one of it.
#: What activation checkpointing computes again is not counted, as is usual for model FLOPs.
PASSES = 3


def forward_flops(make: Callable[[], Model], forward: Callable[[Model], object]) -> int:
    """Count the operations of one forward pass. Nothing is allocated or computed.

    Args:
        make: makes the model.
        forward: makes an input and runs the model on it.

    >>> forward_flops(lambda: torch.nn.Linear(3, 5), lambda layer: layer(torch.empty(7, 3))) == 2 * 7 * 3 * 5
    True
    """
    counter = FlopCounterMode(display=False)
    # The counter knows no fused attention of CPUs.
    with fake_model(make) as model, torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        forward(model)
    return counter.get_total_flops()


def over_blocks(blocks: int, cost: Callable[[int], Number]) -> Number:
    """Give `cost(blocks)` for a model whose blocks between the first and the last all cost the same.

    Two and three blocks then tell of any number, and deep models are as quickly counted as shallow ones.

    >>> over_blocks(12, lambda blocks: 100 + 7 * blocks)
    184
    """
    if blocks <= 3:
        return cost(blocks)
    two, three = cost(2), cost(3)
    return two + (blocks - 2) * (three - two)
