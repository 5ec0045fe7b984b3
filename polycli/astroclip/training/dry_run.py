"""What a training would be, without starting it: `--dry-run`. Nothing is allocated and nothing is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.astroclip import parameter_count
from polycli.astroclip.model.flops import image_flops, spectrum_flops
from polycli.astroclip.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.astroclip.training.batches import ObjectBatches
from polycli.astroclip.training.stages import check_templates, needs_of, training_flops
from polycli.console import result
from polycli.engine.batch_plan import check_division, memory_per_device
from polycli.engine.schedule import warmup_steps
from polycli.launch import environment
from polycli.recipes import dump_recipe
from polycli.requests import JsonDocument

#: What is assumed of spectra where no store is given: DESI's.
ASSUMED_PIXELS = 7781


def plan(
    recipe: PretrainRecipe | FinetuneRecipe, stores: Sequence[ObjectStore], *, output: Path, processes: int
) -> JsonDocument:
    """What training `recipe` on `stores`, which may be none, with so many processes would be.

    Raises:
        RecipeError: the global batch cannot be shared out, or optimizer and ZeRO stage exclude each other.
        StoreError: recipe and stores do not fit each other.
    """
    size, micro = recipe.train.global_batch_size, recipe.train.micro_batch_size
    check_division(size, 1, processes, [micro])
    pixels, data = ASSUMED_PIXELS, {}
    if stores:
        batches = ObjectBatches(stores, recipe.data, recipe.train, needs_of(recipe))
        check_templates(recipe.model, batches)
        pixels = pixels if batches.spectrum is None else batches.spectrum.pixels
        data = batches.summary()
    parameters = parameter_count(recipe.model)
    memory = memory_per_device(parameters, recipe.optim, recipe.engine, processes)
    flops = size * _flops(recipe, pixels)
    return {
        "recipe": recipe.model_dump(mode="json"),
        "output": str(output),
        "parameters": parameters,
        "processes": processes,
        "batch": {
            "global_batch_size": size,
            "samples_per_process": size // processes,
            "micro_batch_size": micro,
            "accumulation": size // processes // micro,
        },
        "memory_per_device": {
            **memory,
            "total": sum(bytes_ for name, bytes_ in memory.items() if name != "offloaded_to_cpu"),
        },
        "steps": recipe.train.steps,
        "warmup_steps": warmup_steps(recipe.schedule, recipe.train.steps),
        "samples": recipe.train.steps * size,
        "flops_per_step": flops,
        "flops": flops * recipe.train.steps,
        "assumed": None if stores else {"pixels": ASSUMED_PIXELS},
        "data": data,
    }


def say(document: JsonDocument, recipe: PretrainRecipe | FinetuneRecipe) -> None:
    """Print a plan for people."""
    memory, batch = document["memory_per_device"], document["batch"]
    what = recipe.stage if isinstance(recipe, PretrainRecipe) else "finetune"
    rows = [
        ("stage", what),
        ("output", document["output"]),
        ("parameters", f"{document['parameters']:,}"),
        ("processes", f"{document['processes']}, ZeRO stage {recipe.engine.zero_stage}, {recipe.engine.precision}"),
        ("batch", _batch_sentence(batch)),
        ("steps", f"{document['steps']:,} ({document['warmup_steps']:,} to warm up), {document['samples']:,} samples"),
        ("FLOPs", f"{document['flops_per_step']:.3g} per step, {document['flops']:.3g} in all"),
        ("memory", f"{memory['total'] / 2**20:,.1f} MiB per device for training state; activations come on top"),
    ]
    rows += [(f"data {name}", _data_sentence(found)) for name, found in document["data"].items()]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name.ljust(width)}  {text}" for name, text in rows]
    result("\n".join(["# the resolved recipe", dump_recipe(recipe).rstrip(), "", "# the plan", *lines]))


def processes_of_environment() -> int:
    """How many processes this command line would have been, under torchrun or srun; 1 in plain Python."""
    return int(environment(os.environ)["WORLD_SIZE"])


def _flops(recipe: PretrainRecipe | FinetuneRecipe, pixels: int) -> float:
    if isinstance(recipe, PretrainRecipe):
        return training_flops(recipe, pixels)
    if recipe.freeze:
        return 0.0  # the head alone: nothing beside what embedding all objects once costs
    model = recipe.model
    image = 0.0 if model.image is None else image_flops(model.image)
    return 3 * (image + (0.0 if model.spectrum is None else spectrum_flops(model.spectrum, pixels)))


def _batch_sentence(batch: dict[str, int]) -> str:
    return (
        f"{batch['global_batch_size']} objects, {batch['samples_per_process']} on each process, "
        f"{batch['micro_batch_size']} at a time"
    )


def _data_sentence(found: dict[str, Any]) -> str:
    return f"{found['training']:,} objects to train on, {found['validation']:,} held back for validation"
