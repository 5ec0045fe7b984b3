"""Gives a network tensors that came from a file, after a look at every name, shape and value."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from polycli.errors import CheckpointError


def assign_tensors(file: Path, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Make these tensors the parameters and buffers of a network, which may be on the meta device.

    Raises:
        CheckpointError: tensors are missing or unknown, or one has another shape than the network's, is of integers
            where numbers were expected, or holds numbers that are not finite.
    """
    expected = model.state_dict()
    if missing := sorted(expected.keys() - tensors.keys()):
        raise CheckpointError(f"{file}: {len(missing)} tensors are missing, {missing[0]} among them")
    if unknown := sorted(tensors.keys() - expected.keys()):
        raise CheckpointError(f"{file}: {len(unknown)} tensors are unknown, {unknown[0]} among them")
    for name, value in tensors.items():
        if value.shape != expected[name].shape:
            raise CheckpointError(
                f"{file}: {name} is {tuple(value.shape)}, {tuple(expected[name].shape)} was expected from the sizes"
            )
        if expected[name].is_floating_point() and not (value.is_floating_point() and torch.isfinite(value).all()):
            raise CheckpointError(f"{file}: {name} holds values that are not finite numbers")
    model.load_state_dict(
        {name: value.to(expected[name].dtype, copy=True) for name, value in tensors.items()}, assign=True
    )
