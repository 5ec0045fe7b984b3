"""Counts a model's floating-point operations: what model FLOP utilisation divides by, and what a dry run says.

Torch counts them itself, as products of matrices and convolutions run on tensors that have shapes but no memory. A
multiplication and an addition are two operations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from polycli.nn.skeleton import uninitialised

Number = TypeVar("Number", int, float)
#: A step has three times the operations of its forward pass: the backward pass makes two products for each one of it.
#: What activation checkpointing computes again is not counted, as is usual for model FLOPs.
PASSES = 3


def forward_flops(build: Callable[[], Callable[[], object]]) -> int:
    """Count the operations of one forward pass.

    Args:
        build: makes a model and its input, and returns the forward pass as a function; nothing is allocated in it.

    >>> def build():
    ...     layer, x = torch.nn.Linear(3, 5, bias=False), torch.empty(7, 3)
    ...     return lambda: layer(x)
    >>> forward_flops(build) == 2 * 7 * 3 * 5
    True
    """
    counter = FlopCounterMode(display=False)
    with FakeTensorMode(), torch.no_grad():
        with uninitialised():
            forward = build()
        # The counter knows no fused attention of CPUs.
        with sdpa_kernel(SDPBackend.MATH), counter:
            forward()
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
