"""Defines what a family hands to the engine: a model, a data order and a validation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn

from polycli.launch import World
from polycli.sections import Section

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


class Task(ABC):
    """A training, as the engine sees it. A family's tasks subclass this; what is not abstract has a default that works.

    `model(batch)` returns the mean loss over the batch's samples and named metrics: (samples,) or scalar tensors, whose
    mean over the samples is logged.
    """

    family: str
    verb: str
    #: As the run saves it, with everything in it that the command line and checkpoints say.
    recipe: Section
    model: nn.Module
    #: Whether inputs differ in length from batch to batch, so that compiled code must take any.
    lengths_vary: bool = False

    @abstractmethod
    def micro_batches(self, step: int, world: World) -> Sequence[MicroBatch]:
        """Return this rank's part of the global batch of `step`, which is a pure function of (seed, step).

        All ranks return the same number of micro-batches, and micro-batches of equal place cost the same. The engine
        refuses a step of which that is not so, or whose samples are not the recipe's global batch in number.
        """

    @abstractmethod
    def validate(self, forward: nn.Module, world: World) -> dict[str, float]:
        """Score the validation split, agreed on by all ranks; `validation/loss` selects the best checkpoint.

        `forward` is the engine's wrapped `model` in eval mode. All ranks call it equally often.
        """

    @abstractmethod
    def exported(self) -> nn.Module:
        """Return the part of `model` whose state dict is shared as model.safetensors."""

    @abstractmethod
    def description(self) -> object:
        """Return what model.json says besides, a record or a mapping: the model section of the recipe, `trained_on`."""

    @abstractmethod
    def flops_per_step(self) -> float:
        """Count the model's floating-point operations in one optimizer step over all ranks, both passes, for MFU."""

    def tokens_per_step(self) -> float | None:
        """Count the tokens of one optimizer step over all ranks; None where samples are not made of tokens."""
        return None

    def blocks(self) -> Sequence[nn.Module]:
        """Return the parts of `model` that repeat, each of which is recomputed and compiled by itself."""
        return ()

    def depths(self) -> Mapping[str, int] | None:
        """Return how deep each parameter of `model` lies, by name, for `optim.layer_decay`; the deepest ones learn at
        the whole rate. None, the default, for models whose layers do not follow each other in one order.
        """
        return None

    def costliest_batches(self, world: World) -> Sequence[MicroBatch] | None:  # noqa: ARG002  # Some tasks need it.
        """Return the micro-batches that need most memory, as many on every rank, for the rehearsal before a training.

        One of every shape that training can meet, or the largest ones. None, the default, has the engine take one of
        each shape that the first step has.
        """
        return None

    def begin(self, world: World) -> None:  # noqa: B027  # Most tasks need nothing.
        """Do what all ranks must do together before the first step, such as embedding the data once."""

    def data_summary(self) -> Mapping[str, object]:
        """Return what data.json says: by dataset a record or a mapping of its `path` and `store_hash`, and of how much
        of it is used.
        """
        return {}

    def remarks(self) -> Sequence[str]:
        """Return sentences about the data that the user may want to read before the training starts."""
        return ()
