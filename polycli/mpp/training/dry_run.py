"""What a training would be, without starting it: `--dry-run`.

Nothing is allocated and nothing is written. Parameters are counted on the meta device, activations by running the
forward pass on tensors that have shapes but no memory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from polycli.console import counted, result
from polycli.engine.batch_plan import check_division, memory_per_device
from polycli.engine.blocks import recompute_blocks
from polycli.engine.schedule import warmup_steps
from polycli.launch import environment
from polycli.mpp.model.avit import AViT, parameter_count
from polycli.mpp.recipe.training import PretrainRecipe
from polycli.mpp.training.batches import MixtureBatches
from polycli.mpp.training.task import step_flops
from polycli.nn.skeleton import uninitialised
from polycli.recipes import dump_recipe
from polycli.requests import JsonDocument
from polycli.store.reader import Store

#: What is assumed of the data where none is given: PDEBench's compressible flow.
ASSUMED_CHANNELS, ASSUMED_GRID = 4, (128, 128)


@dataclass(frozen=True)
class _Case:
    """The sizes of one dataset, or those that are assumed, as far as cost depends on them."""

    name: str
    channels: int
    grid: tuple[int, int]
    micro_batch_size: int
    share: float


def plan(recipe: PretrainRecipe, stores: list[Store], *, output: Path, processes: int) -> JsonDocument:
    """What training `recipe` on `stores`, which may be none, with so many processes would be.

    Raises:
        RecipeError: the global batch cannot be shared out, or optimizer and ZeRO stage exclude each other.
        StoreError: recipe and stores do not fit each other.
    """
    cases, data = _cases(recipe, stores)
    micro_batch_sizes = [case.micro_batch_size for case in cases]
    check_division(
        recipe.train.global_batch_size,
        recipe.data.draws_per_step,
        processes,
        micro_batch_sizes,
        draws_key="data.draws_per_step",
    )
    parameters = parameter_count(recipe.model)
    flops = step_flops(recipe, [(case.share, case.channels, case.grid) for case in cases])
    memory = memory_per_device(parameters, recipe.optim, recipe.engine, processes)
    activations = max(
        activation_bytes(recipe, case.channels, case.grid, case.micro_batch_size) for case in _costliest(cases)
    )
    return {
        "recipe": recipe.model_dump(mode="json"),
        "output": str(output),
        "parameters": parameters,
        "processes": processes,
        "batch": {
            "global_batch_size": recipe.train.global_batch_size,
            "draws_per_step": recipe.data.draws_per_step,
            "samples_per_process": recipe.train.global_batch_size // processes,
            "micro_batch_size": {case.name: case.micro_batch_size for case in cases},
            "accumulation": {
                case.name: recipe.train.global_batch_size // processes // case.micro_batch_size for case in cases
            },
        },
        "memory_per_device": {
            **memory,
            "activations": activations,
            "total": activations + sum(size for name, size in memory.items() if name != "offloaded_to_cpu"),
        },
        "steps": recipe.train.steps,
        "warmup_steps": warmup_steps(recipe.schedule, recipe.train.steps),
        "samples": recipe.train.steps * recipe.train.global_batch_size,
        "flops_per_step": flops,
        "flops": flops * recipe.train.steps,
        "assumed": None if stores else {"channels": ASSUMED_CHANNELS, "grid": list(ASSUMED_GRID)},
        "data": data,
    }


def say(document: JsonDocument, recipe: PretrainRecipe) -> None:
    """Print a plan for people."""
    memory, batch = document["memory_per_device"], document["batch"]
    samples = counted(document["samples"], "sample", "samples")
    rows = [
        ("output", document["output"]),
        ("parameters", f"{document['parameters']:,}"),
        ("processes", f"{document['processes']}, ZeRO stage {recipe.engine.zero_stage}, {recipe.engine.precision}"),
        ("batch", _batch_sentence(batch, document["processes"])),
        ("steps", f"{document['steps']:,} ({document['warmup_steps']:,} to warm up), {samples}"),
        ("FLOPs", f"{document['flops_per_step']:.3g} per step, {document['flops']:.3g} in all"),
        ("memory", _memory_sentence(memory)),
    ]
    if document["assumed"]:
        rows.append(("data", f"none given; {ASSUMED_CHANNELS} fields of {ASSUMED_GRID[0]} x {ASSUMED_GRID[1]} assumed"))
    rows += [(f"data {name}", _data_sentence(found)) for name, found in document["data"].items()]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name.ljust(width)}  {text}" for name, text in rows]
    result("\n".join(["# the resolved recipe", dump_recipe(recipe).rstrip(), "", "# the plan", *lines]))


def processes_of_environment() -> int:
    """How many processes this command line would have been, under torchrun or srun; 1 in plain Python."""
    return int(environment(os.environ)["WORLD_SIZE"])


def activation_bytes(recipe: PretrainRecipe, channels: int, grid: tuple[int, int], batch: int) -> int:
    """What one forward pass keeps for its backward pass, uncompiled; passing allocations come on top."""
    blocks = recipe.model.blocks
    if blocks <= 3:
        return _kept_bytes(recipe, channels, grid, batch, blocks=blocks)
    # All blocks between the first and the last keep the same, so two and three blocks tell of any number.
    two, three = (_kept_bytes(recipe, channels, grid, batch, blocks=count) for count in (2, 3))
    return two + (blocks - 2) * (three - two)


def _costliest(cases: list[_Case]) -> list[_Case]:
    """Those that no other case reaches in every size: a forward pass that costs less need not be run to know it."""
    sizes = {(case.channels, *case.grid, case.micro_batch_size): case for case in cases}
    return [
        case
        for size, case in sizes.items()
        if not any(
            other != size and all(more >= less for more, less in zip(other, size, strict=True)) for other in sizes
        )
    ]


def _kept_bytes(recipe: PretrainRecipe, channels: int, grid: tuple[int, int], batch: int, *, blocks: int) -> int:
    kept: dict[int, tuple[int, torch.Tensor]] = {}
    with FakeTensorMode():
        with uninitialised():
            model = AViT(recipe.model.model_copy(update={"blocks": blocks}))
        if recipe.engine.activation_checkpointing:
            recompute_blocks(model.blocks)
        own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}  # noqa: SLF001  # Its identity.

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:  # noqa: SLF001
                kept[storage._cdata] = (storage.nbytes(), tensor)  # noqa: SLF001  # Held, so that no identity is reused.
            return tensor

        fields = torch.empty(batch, recipe.data.history, channels, *grid)
        labels, boundaries = torch.zeros(channels, dtype=torch.long), torch.zeros(batch, 2, dtype=torch.long)
        lower = torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.engine.precision == "bfloat16")
        with lower, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(fields, labels, boundaries)
    return sum(size for size, _ in kept.values())


def _cases(recipe: PretrainRecipe, stores: list[Store]) -> tuple[list[_Case], dict[str, Any]]:
    if not stores:
        return [_Case("any", ASSUMED_CHANNELS, ASSUMED_GRID, recipe.train.micro_batch_size, 1.0)], {}
    batches = MixtureBatches(stores, recipe)
    cases = [
        _Case(name, len(windows.labels), windows.grid, batches.micro_batch_size(name), batches.shares[name])
        for name, windows in batches.training.items()
    ]
    return cases, batches.summary()


def _batch_sentence(batch: dict[str, Any], processes: int) -> str:
    parts = ", ".join(
        f"{batch['accumulation'][name]} x {size}" + ("" if name == "any" else f" ({name})")
        for name, size in batch["micro_batch_size"].items()
    )
    return (
        f"{counted(batch['global_batch_size'], 'sample', 'samples')} of "
        f"{counted(batch['draws_per_step'], 'draw', 'draws')}, {batch['samples_per_process']} on "
        f"{'the' if processes == 1 else 'each'} process, as micro-batches {parts}"
    )


def _data_sentence(found: dict[str, Any]) -> str:
    training, validation = found["training"], found["validation"]
    return (
        f"{_windows(training)}, {found['share']:.0%} of draws; validates on {_windows(validation)} "
        f"({validation['split']}); {counted(len(found['fields']), 'field', 'fields')} of "
        f"{found['grid'][0]} x {found['grid'][1]}"
    )


def _windows(part: dict[str, Any]) -> str:
    trajectories = counted(part["trajectories"], "trajectory", "trajectories")
    return f"{counted(part['windows'], 'window', 'windows')} of {trajectories}"


def _memory_sentence(memory: dict[str, int]) -> str:
    parts = [f"{_gib(size)} {name.replace('_', ' ')}" for name, size in memory.items() if size and name != "total"]
    return f"{_gib(memory['total'])} per device: {', '.join(parts)}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**28 else f"{size / 2**20:.1f} MiB"
