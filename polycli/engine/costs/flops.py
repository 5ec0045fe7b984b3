"""Counts a model's floating-point operations: what model FLOP utilisation divides by, and what a dry run says.

Torch counts them itself, as products of matrices and convolutions run on tensors that have shapes but no memory. A
multiplication and an addition are two operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
    counter = flop_counter()
    # The counter knows no fused attention of CPUs.
    with fake_model(make) as model, torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        forward(model)
    return counter.get_total_flops()


def flop_counter() -> FlopCounterMode:
    """Returns torch's counter, which is taught what Fourier transforms cost."""
    names = ("_fft_r2c", "_fft_c2r")  # Their only names; a counter is told of operators by what they are.
    return FlopCounterMode(
        display=False, custom_mapping={getattr(torch.ops.aten, name): _of_real_fft for name in names}
    )


def _of_real_fft(before: Sequence[int], axes: Sequence[int], *_: object, out_shape: Sequence[int], **__: object) -> int:
    """A transform of N real numbers is half of a complex one: 2.5 N log2 N operations, either way."""
    shape = [max(one, other) for one, other in zip(before, out_shape, strict=True)]
    points = math.prod(shape[axis] for axis in axes)
    return round(math.prod(shape) * 2.5 * math.log2(max(points, 1)))


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
