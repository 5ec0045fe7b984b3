"""A training that has not started, as far as only its family knows it: what a dry run is planned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from polycli.engine.task import Task
from polycli.json_records import JsonObject
from polycli.sections import Section, TrainingRecipe


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The way in which a global batch is shared out. Sizes and counts are by dataset where datasets differ."""

    global_batch_size: int
    samples_per_process: int
    micro_batch_size: int | Mapping[str, int]
    accumulation: int | Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words that only a family has for telling people about its training."""

    #: One sample, and several.
    sample: tuple[str, str] = ("sample", "samples")
    #: The sentence on batches, where the usual one does not do.
    batch: Callable[[Batches], str] | None = None
    #: What follows the number of parameters.
    parameters: str = ""
    #: Lines before all others, by their name.
    first: Mapping[str, str] = field(default_factory=dict)
    #: What is assumed in place of data.
    assumed: str | None = None
    #: By dataset, how much of it is used.
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """Facts that a family knows about a training that has not started."""

    #: As the run would save it.
    recipe: Section
    parameters: int
    flops_per_step: float
    #: Samples per forward pass; by dataset where datasets differ.
    micro_batch_size: int | Mapping[str, int]
    #: Equal parts of a global batch, each from one dataset.
    draws: int = 1
    #: Whether micro-batches hold samples of several draws.
    mixed: bool = False
    #: Bytes on one device that a forward pass keeps; None where nobody has counted them.
    activations: int | None = None
    #: Parameters that train and are not exported, such as the heads of an objective.
    unexported: int = 0
    #: Bytes on one device besides all these, by what they are for.
    more_memory: Mapping[str, int] = field(default_factory=dict)
    #: As data.json would say it: by dataset a record or a mapping; empty without data.
    data: Mapping[str, object] = field(default_factory=dict)
    #: What is assumed in place of data.
    assumed: JsonObject | None = None
    #: What the document says besides, and what its section `batch` says besides.
    more: JsonObject = field(default_factory=dict)
    more_of_batch: JsonObject = field(default_factory=dict)
    words: Words = field(default_factory=Words)


def sketch_of(task: Task) -> Sketch:
    """Sketch a training from its task, for families that have no quicker way."""
    return Sketch(
        recipe=task.recipe,
        parameters=sum(parameter.numel() for parameter in task.exported().parameters()),
        flops_per_step=task.flops_per_step(),
        micro_batch_size=cast("TrainingRecipe", task.recipe).train.micro_batch_size,
        data=task.data_summary(),
    )
