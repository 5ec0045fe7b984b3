"""An average of the weights that forgets exponentially: it is validated and exported in place of the weights.

After each step that the optimizer took, average = decay * average + (1 - decay) * weights; the first one takes the
weights as they are, as `torch.optim.swa_utils.AveragedModel` does (Polyak and Juditsky 1992). It is kept in float32
where the weights are: whole on every rank at ZeRO 0 to 2, sharded as the parameters are at ZeRO 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from polycli.engine.checkpoints.export import exported_weights
from polycli.launch import World


class AveragedWeights:
    """The average of `module`'s trained parameters; buffers are not averaged. All ranks call every method together."""

    def __init__(self, engine: Any, module: nn.Module, decay: float, world: World) -> None:  # noqa: ANN401
        self.engine, self.module, self.decay, self.world = engine, module, decay, world
        self.parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.held = [_own_part(parameter).clone() for parameter in self.parameters.values()]

    @property
    def memory(self) -> float:
        """Steps after which a weight counts for a third."""
        return 1 / (1 - self.decay)

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Take in the weights after the optimizer has moved for the `steps`-th time."""
        weights = [_own_part(parameter) for parameter in self.parameters.values()]
        if steps == 1:
            torch._foreach_copy_(self.held, weights)
        else:
            torch._foreach_lerp_(self.held, weights, 1 - self.decay)

    @contextmanager
    def in_place_of_weights(self) -> Iterator[None]:
        """Inside, the model computes with the average; afterwards the weights are back, bit for bit."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def exported(self) -> dict[str, Tensor]:
        """The module's state dict with averaged parameters, as `exported_weights` gives it: whole, on rank 0 alone."""
        with self.in_place_of_weights():
            return exported_weights(self.module, self.world)

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Go on with an average that `exported` gave, on any number of ranks and at any ZeRO stage."""
        for held, (name, parameter) in zip(self.held, self.parameters.items(), strict=True):
            whole = weights[name]
            if hasattr(parameter, "ds_tensor"):
                start = self.world.rank * held.numel()
                part = whole.flatten()[start : start + held.numel()]
                held.zero_()  # the last shard may be longer than what is left for it
                held[: part.numel()].copy_(part)
            else:
                held.copy_(whole)

    @torch.no_grad()
    def _exchange(self) -> None:
        """Swap weights and average, one tensor at a time, so that memory for one more is enough."""
        sharded = any(hasattr(parameter, "ds_tensor") for parameter in self.parameters.values())
        if sharded:
            # Small parameters stay whole on every rank, and others may: from here on, shards alone are valid.
            self.engine.optimizer.checkpoint_event_prologue()
        for held, parameter in zip(self.held, self.parameters.values(), strict=True):
            weights = _own_part(parameter)
            kept = weights.clone()
            weights.copy_(held)
            held.copy_(kept)
        if sharded:
            self.engine.optimizer.checkpoint_event_epilogue()


def _own_part(parameter: nn.Parameter) -> Tensor:
    """Return this rank's part of a parameter: under ZeRO 3 its shard, flat and filled up, else all of it."""
    shard: Tensor | None = getattr(parameter, "ds_tensor", None)
    return parameter.detach() if shard is None else shard.detach()
