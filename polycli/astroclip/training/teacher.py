"""Networks that follow a trained one slowly: momentum encoders and teachers, as buffers that no optimizer touches."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from polycli.astroclip.training.contrastive import gather_in_rank_order
from polycli.engine.task import Batch

Network = TypeVar("Network", bound=nn.Module)


def frozen_copy(network: Network) -> Network:
    """A copy with buffers in place of parameters, under the same names: saved and restored, and never stepped."""
    copied = copy.deepcopy(network)
    for module in copied.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach().clone())
    return copied


@torch.no_grad()
def follow(follower: nn.Module, trained: nn.Module, momentum: float) -> None:
    """Move a frozen copy towards the network that it follows, of whose weights it takes one minus `momentum`."""
    for name, parameter in trained.named_parameters():
        follower.get_buffer(name).lerp_(_whole(parameter), 1 - momentum)


def first_and_last(batch: Batch) -> tuple[bool, bool]:
    """Whether a micro-batch is the first, and whether it is the last, of this rank's step."""
    index, count = batch["place"].tolist()
    return index == 0, index == count - 1


def _whole(parameter: nn.Parameter) -> Tensor:
    """A parameter's values, also where ZeRO 3 has sharded it.

    DeepSpeed's own way to gather is not used: in a forward pass it may be fetching the same parameter ahead.
    """
    shard: Tensor | None = getattr(parameter, "ds_tensor", None)
    if shard is None:
        return parameter.detach()
    shape = getattr(parameter, "ds_shape", parameter.shape)
    return gather_in_rank_order(shard.detach().flatten())[: shape.numel()].view(shape)
