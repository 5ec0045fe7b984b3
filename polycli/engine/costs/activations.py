"""Counts the bytes of activations that a forward pass keeps for its backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from polycli.nn.skeleton import fake_model

Model = TypeVar("Model", bound=nn.Module)


def kept_bytes(make: Callable[[], Model], forward: Callable[[Model], object]) -> int:
    """Count what one forward pass keeps, uncompiled; what it needs for a moment comes on top. Nothing is allocated.

    Args:
        make: makes the model, whose parameters are not counted.
        forward: makes an input and runs the model on it.
    """
    kept: dict[int, tuple[int, torch.Tensor]] = {}
    with fake_model(make) as model:
        own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}  # noqa: SLF001  # Its identity.

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:  # noqa: SLF001
                kept[storage._cdata] = (storage.nbytes(), tensor)  # noqa: SLF001  # Held, so that no identity is reused.
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            forward(model)
    return sum(size for size, _ in kept.values())
