"""Recomputes and compiles a model block by block: a `Task` names the blocks, and models need not know of either."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

#: By class of block, the subclass that recomputes.
_RECOMPUTED: dict[type[nn.Module], type[nn.Module]] = {}


def recompute_blocks(blocks: Iterable[nn.Module]) -> None:
    """Have each block keep its input alone while it trains, and compute the rest again in the backward pass.

    Names of parameters, values and random numbers stay what they are.
    """
    for block in blocks:
        kind = type(block)
        # Once for each class: blocks of different classes would not share their compiled code.
        block.__class__ = _RECOMPUTED.setdefault(kind, _recomputed(kind))


def compile_blocks(blocks: Iterable[nn.Module], *, dynamic: bool = False, backend: str = "inductor") -> None:
    """Compile each block by itself, in place: alike blocks share their code, so that depth costs no time to compile.

    `torch.compile(model)` makes one graph instead, which takes minutes for twelve blocks and runs no faster. `dynamic`
    makes one code for inputs of any length, where lengths differ from batch to batch.
    """
    from torch._functorch import config

    # By default a compiled backward pass runs under the forward pass's autocast: it would multiply in bfloat16 what
    # `polycli.nn.products` multiplies in float32 on purpose. Uncompiled it does not, and neither shall it here.
    config.backward_pass_autocast = "off"  # noqa: S105  # not a password
    for block in blocks:
        # Where lengths vary, a block that meets more shapes than torch keeps code for runs uncompiled, and goes on.
        block.compile(backend=backend, fullgraph=not dynamic, dynamic=dynamic)


def _recomputed(kind: type[nn.Module]) -> type[nn.Module]:
    """Return a subclass of a module's class whose calls recompute; hooks, such as those of ZeRO 3, stay inside."""

    def call(self: nn.Module, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401  # Whatever the block takes.
        ordinary = functools.partial(kind.__call__, self)
        if self.training and torch.is_grad_enabled():
            return checkpoint(ordinary, *arguments, use_reentrant=False, **named)
        return ordinary(*arguments, **named)

    return type(kind.__name__, (kind,), {"__module__": kind.__module__, "__call__": call})
