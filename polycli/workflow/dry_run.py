"""Plans a training without starting it, for `--dry-run` of all families.

A family gives a `Sketch` of the training. Batches, memory, lengths and the sentences around them follow from that and
from the recipe.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from polycli.console import counted
from polycli.engine.batches.plan import check_division, memory_per_device
from polycli.engine.schedule import warmup_steps
from polycli.engine.standing import Standing
from polycli.json_records import to_json
from polycli.launch import environment
from polycli.recipes import dump_recipe
from polycli.requests import JsonDocument
from polycli.sections import TrainingRecipe
from polycli.workflow.sketch import Batches, Sketch


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """The plan of a training that was not started."""

    sketch: Sketch
    output: Path
    processes: int
    batches: Batches
    #: Bytes by what they are for; `total` leaves out what is offloaded to the CPU.
    memory_per_device: Mapping[str, int]
    steps: int
    warmup_steps: int
    samples: int
    #: What lies in `output` already; None where nobody has looked.
    standing: Standing | None = None

    @property
    def flops(self) -> float:
        """Floating-point operations of the whole training."""
        return self.sketch.flops_per_step * self.steps

    def document(self) -> JsonDocument:
        """Returns what `--json` prints."""
        sketch, batches = self.sketch, self.batches
        return {
            "recipe": sketch.recipe.model_dump(mode="json"),
            "output": str(self.output),
            "run": None if self.standing is None else self.standing.document(),
            "parameters": sketch.parameters,
            **sketch.more,
            "processes": self.processes,
            "batch": {
                "global_batch_size": batches.global_batch_size,
                "samples_per_process": batches.samples_per_process,
                "micro_batch_size": _plain(batches.micro_batch_size),
                "accumulation": _plain(batches.accumulation),
                **sketch.more_of_batch,
            },
            "memory_per_device": dict(self.memory_per_device),
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "samples": self.samples,
            "flops_per_step": sketch.flops_per_step,
            "flops": self.flops,
            "assumed": None if sketch.assumed is None else dict(sketch.assumed),
            "data": to_json(sketch.data),
        }

    def text(self) -> str:
        """Tell people: the resolved recipe, and the plan line by line."""
        sketch, words = self.sketch, self.sketch.words
        engine = cast("TrainingRecipe", sketch.recipe).engine
        rows = [
            *words.first.items(),
            ("output", str(self.output)),
            *([] if self.standing is None else [("run", self.standing.sentence)]),
            ("parameters", f"{sketch.parameters:,}{words.parameters}"),
            ("processes", f"{self.processes}, ZeRO stage {engine.zero_stage}, {engine.precision}"),
            ("batch", self._usual_batch_sentence() if words.batch is None else words.batch(self.batches)),
            ("steps", f"{self.steps:,} ({self.warmup_steps:,} to warm up), {counted(self.samples, *words.sample)}"),
            ("FLOPs", f"{sketch.flops_per_step:.3g} per step, {self.flops:.3g} in all"),
            ("memory", self._memory_sentence()),
        ]
        if words.assumed is not None:
            rows.append(("data", words.assumed))
        rows += [(f"data {name}", sentence) for name, sentence in words.data.items()]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name.ljust(width)}  {sentence}" for name, sentence in rows]
        return "\n".join(["# the resolved recipe", dump_recipe(sketch.recipe).rstrip(), "", "# the plan", *lines])

    def _usual_batch_sentence(self) -> str:
        batches = self.batches
        return (
            f"{counted(batches.global_batch_size, *self.sketch.words.sample)}, {batches.samples_per_process} on "
            f"{'the' if self.processes == 1 else 'each'} process, {batches.micro_batch_size} at a time"
        )

    def _memory_sentence(self) -> str:
        memory = self.memory_per_device
        parts = [f"{_gib(size)} {name.replace('_', ' ')}" for name, size in memory.items() if size and name != "total"]
        rest = "; activations come on top" if self.sketch.activations is None else ""
        return f"{_gib(memory['total'])} per device: {', '.join(parts)}{rest}"


def plan(sketch: Sketch, *, output: Path, processes: int, standing: Standing | None = None) -> DryRun:
    """Plan a training with so many processes; `standing` is the run that lies in `output` already.

    Raises:
        RecipeError: the global batch cannot be shared out to them.
    """
    recipe = cast("TrainingRecipe", sketch.recipe)
    size, given = recipe.train.global_batch_size, sketch.micro_batch_size
    sizes = [given] if isinstance(given, int) else [*given.values()]
    check_division(size, sketch.draws, processes, sizes, draws_key="data.draws_per_step", mixed=sketch.mixed)
    share = size // processes
    memory = memory_per_device(sketch.parameters + sketch.unexported, recipe.optim, recipe.engine, processes)
    memory = {**memory, **sketch.more_memory}
    if sketch.activations is not None:
        memory = {**memory, "activations": sketch.activations}
    total = sum(bytes_ for name, bytes_ in memory.items() if name != "offloaded_to_cpu")
    return DryRun(
        sketch=sketch,
        output=output,
        processes=processes,
        batches=Batches(
            global_batch_size=size,
            samples_per_process=share,
            micro_batch_size=given,
            accumulation=share // given if isinstance(given, int) else {name: share // n for name, n in given.items()},
        ),
        memory_per_device={**memory, "total": total},
        steps=recipe.train.steps,
        warmup_steps=warmup_steps(recipe.schedule, recipe.train.steps),
        samples=recipe.train.steps * size,
        standing=standing,
    )


def processes_of_environment() -> int:
    """Returns how many processes torchrun or srun would have made of this command line; 1 in plain Python."""
    return int(environment(os.environ)["WORLD_SIZE"])


def _plain(values: int | Mapping[str, int]) -> int | dict[str, int]:
    return values if isinstance(values, int) else dict(values)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**28 else f"{size / 2**20:.1f} MiB"
