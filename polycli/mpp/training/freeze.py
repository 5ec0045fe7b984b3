"""Chooses the parameters that a finetuning trains, by the names of the modes in the MPP paper's configurations."""

from __future__ import annotations

from typing import Literal

from torch import nn

from polycli.mpp.model.network import Network

#: `none`: everything trains. `processor` ("less frozen"): the blocks are kept. `middle` ("frozen"): only the columns of
#: the field projection and the kernel and bias that give the fields train. `all`: nothing of the network does.
Freeze = Literal["none", "processor", "middle", "all"]


def freeze(model: Network, mode: Freeze) -> None:
    """Mark what does not train. Parameters that nothing reads stay as they are.

    Args:
        model: changed in place; call this before the optimizer is built.
        mode: see `Freeze`.
    """
    if mode == "none":
        return
    kept: list[nn.Module] = [model.blocks]
    if mode == "middle":
        kept += [*model.shared_ends]
    elif mode == "all":
        kept = [model]
    for module in kept:
        module.requires_grad_(requires_grad=False)
