"""Counts the bytes of activations that a forward pass keeps for its backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from polycli.nn.skeleton import uninitialised


def kept_bytes(build: Callable[[], tuple[nn.Module, Callable[[], object]]]) -> int:
    """Count what one forward pass keeps, uncompiled; what it needs for a moment comes on top.

    Args:
        build: makes a model, whose parameters are not counted, and its forward pass as a function; nothing is allocated
            in it.
    """
    kept: dict[int, tuple[int, torch.Tensor]] = {}
    with FakeTensorMode():
        with uninitialised():
            model, forward = build()
        own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}  # noqa: SLF001  # Its identity.

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:  # noqa: SLF001
                kept[storage._cdata] = (storage.nbytes(), tensor)  # noqa: SLF001  # Held, so that no identity is reused.
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            forward()
    return sum(size for size, _ in kept.values())
