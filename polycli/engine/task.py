"""What a family hands to the engine: a model, a data order and a validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from polycli.launch import World

__all__ = ["Batch", "MicroBatch", "Task", "World"]

Batch = dict[str, Tensor]


class MicroBatch(Protocol):
    """One forward pass of one rank, not yet read."""

    #: Names of the samples, for the log of bad numbers: `swe_128/0007@12`.
    samples: tuple[str, ...]
    #: This micro-batch's share of the rank's samples in the step; the shares of a step add up to one.
    weight: float

    def load(self) -> Batch:
        """Read it, on the CPU. Runs in a reader thread; must not depend on global state."""
        ...


class Task(Protocol):
    """Everything that the engine needs to know of a family.

    Two more methods may be there: `tokens_per_step()`, tokens of one step over all ranks, and
    `costliest_batches(world)`, the micro-batches that cost most memory (see `polycli.engine.memory`).

    `model(batch)` returns the mean loss over the batch's samples and named metrics: (samples,) or scalar tensors, whose
    mean over the samples is logged.
    """

    family: str
    verb: str
    model: nn.Module

    def micro_batches(self, step: int, world: World) -> Sequence[MicroBatch]:
        """This rank's part of the global batch of `step`, which is a pure function of (seed, step).

        All ranks return the same number of micro-batches, and micro-batches of equal place cost the same. The engine
        refuses a step of which that is not so, or whose samples are not the recipe's global batch in number.
        """
        ...

    def validate(self, forward: nn.Module, world: World) -> dict[str, float]:
        """Scores on the validation split, agreed on by all ranks; `validation/loss` selects the best checkpoint.

        `forward` is the engine's wrapped `model` in eval mode. All ranks call it equally often.
        """
        ...

    def exported(self) -> nn.Module:
        """The part of `model` whose state dict is shared as model.safetensors."""
        ...

    def description(self) -> dict[str, Any]:
        """What model.json says besides: the model section of the recipe, what it was trained on."""
        ...

    def flops_per_step(self) -> float:
        """Model floating-point operations of one optimizer step over all ranks (forward and backward), for MFU."""
        ...


def tokens_per_step(task: Task) -> float | None:
    """Tokens of one optimizer step over all ranks, for a task that has a method of that name; None for others."""
    count = getattr(task, "tokens_per_step", None)
    return None if count is None else float(count())
