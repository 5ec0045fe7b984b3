"""What a training would be, without starting it: `--dry-run`.

Nothing is allocated and nothing is written. Parameters are counted on the meta device, activations by running the
forward pass on tensors that have shapes but no memory.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from polycli.console import result
from polycli.engine.batch_plan import check_division, memory_per_device
from polycli.engine.blocks import recompute_blocks
from polycli.engine.schedule import warmup_steps
from polycli.launch import environment
from polycli.recipes import dump_recipe
from polycli.requests import JsonDocument
from polycli.xval.data.store import RecordStore
from polycli.xval.data.tokenization import tokenization_for
from polycli.xval.model.numformer import Numformer, parameter_count
from polycli.xval.recipe.model import ModelSection
from polycli.xval.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.xval.training.batches import RecordBatches, fill_in_batches
from polycli.xval.training.fill_in import step_flops

#: What is assumed of the data where none is given: planets in the paper's form.
ASSUMED_TOKENS, ASSUMED_LENGTH = 300, 532


def plan(recipe: PretrainRecipe, stores: list[RecordStore], *, output: Path, processes: int) -> JsonDocument:
    """What pretraining `recipe` on `stores`, which may be none, with so many processes would be.

    Raises:
        RecipeError: the global batch cannot be shared out, or optimizer and ZeRO stage exclude each other.
        StoreError: recipe and stores do not fit each other.
    """
    check_division(recipe.train.global_batch_size, 1, processes, [recipe.train.micro_batch_size])
    batches = None
    if stores:
        tokenization = tokenization_for(recipe.model, recipe.scaling, stores)
        batches = fill_in_batches(
            stores, tokenization, data=recipe.data, objective=recipe.objective, train=recipe.train
        )
    return plan_of(recipe, recipe.model, batches, output=output, processes=processes)


def plan_of(
    recipe: PretrainRecipe | FinetuneRecipe,
    model: ModelSection,
    batches: RecordBatches | None,
    *,
    output: Path,
    processes: int,
) -> JsonDocument:
    """What training this network on these batches, or on assumed ones, would be."""
    train, predicted = recipe.train, 1.0 if model.causal else recipe.objective.mask_probability
    tokens = ASSUMED_TOKENS if batches is None else batches.tokenization.tokens
    length = float(min(ASSUMED_LENGTH, model.context)) if batches is None else batches.mean_length()
    parameters = parameter_count(model, tokens)
    flops = step_flops(model, recipe.objective, tokens=tokens, length=length, records=train.global_batch_size)
    memory = memory_per_device(parameters, recipe.optim, recipe.engine, processes)
    activations = activation_bytes(
        model, train.micro_batch_size, tokens, predicted, recompute=recipe.engine.activation_checkpointing
    )
    samples = train.global_batch_size // processes
    return {
        "recipe": recipe.model_dump(mode="json"),
        "output": str(output),
        "parameters": parameters,
        "vocabulary": tokens,
        "processes": processes,
        "batch": {
            "global_batch_size": train.global_batch_size,
            "samples_per_process": samples,
            "micro_batch_size": train.micro_batch_size,
            "accumulation": samples // train.micro_batch_size,
            "tokens_per_record": length,
            "padding_share": None if batches is None else batches.padding_share(),
        },
        "memory_per_device": {
            **memory,
            "activations": activations,
            "total": activations + sum(size for name, size in memory.items() if name != "offloaded_to_cpu"),
        },
        "steps": train.steps,
        "warmup_steps": warmup_steps(recipe.schedule, train.steps),
        "samples": train.steps * train.global_batch_size,
        "flops_per_step": flops,
        "flops": flops * train.steps,
        "assumed": {"tokens_per_record": ASSUMED_LENGTH, "vocabulary": ASSUMED_TOKENS} if batches is None else None,
        "data": {} if batches is None else batches.summary(),
    }


def say(document: JsonDocument, recipe: PretrainRecipe | FinetuneRecipe) -> None:
    """Print a plan for people."""
    memory, batch = document["memory_per_device"], document["batch"]
    rows = [
        ("output", document["output"]),
        ("parameters", f"{document['parameters']:,}, for {document['vocabulary']:,} tokens"),
        ("processes", f"{document['processes']}, ZeRO stage {recipe.engine.zero_stage}, {recipe.engine.precision}"),
        ("batch", _batch_sentence(batch)),
        ("steps", f"{document['steps']:,} ({document['warmup_steps']:,} to warm up), {document['samples']:,} records"),
        ("FLOPs", f"{document['flops_per_step']:.3g} per step, {document['flops']:.3g} in all"),
        ("memory", _memory_sentence(memory)),
    ]
    if document["assumed"]:
        rows.append(("data", f"none given; {ASSUMED_TOKENS} tokens in records of {ASSUMED_LENGTH} assumed"))
    rows += [(f"data {name}", _data_sentence(found)) for name, found in document["data"].items()]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name.ljust(width)}  {text}" for name, text in rows]
    result("\n".join(["# the resolved recipe", dump_recipe(recipe).rstrip(), "", "# the plan", *lines]))


def processes_of_environment() -> int:
    """How many processes this command line would have been, under torchrun or srun; 1 in plain Python."""
    return int(environment(os.environ)["WORLD_SIZE"])


def activation_bytes(model: ModelSection, batch: int, tokens: int, predicted: float, *, recompute: bool) -> int:
    """What the forward pass of a micro-batch of full context keeps for its backward pass, heads included.

    `predicted` is the part of the positions at which the heads answer.
    """
    blocks = model.blocks
    if blocks <= 3:
        kept = _kept_bytes(model, batch, blocks=blocks, recompute=recompute)
    else:
        # All layers keep the same, so two and three of them tell of any number.
        two, three = (_kept_bytes(model, batch, blocks=count, recompute=recompute) for count in (2, 3))
        kept = two + (blocks - 2) * (three - two)
    # The heads keep their input, two hidden vectors each, before and after GELU, and the logits with their softmax.
    heads = (4 if model.continuous else 2) * model.feed_forward + model.embed_dim + 2 * tokens
    return kept + 4 * int(batch * model.context * predicted) * heads


def _kept_bytes(section: ModelSection, batch: int, *, blocks: int, recompute: bool) -> int:
    kept: dict[int, tuple[int, torch.Tensor]] = {}
    with FakeTensorMode():
        model = Numformer(section.model_copy(update={"blocks": blocks}), 32)
        if recompute:
            recompute_blocks(model.encoder_stack.layers)
        own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}  # noqa: SLF001  # Its identity.

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:  # noqa: SLF001
                kept[storage._cdata] = (storage.nbytes(), tensor)  # noqa: SLF001  # Held, so that no identity is reused.
            return tensor

        embedded = torch.empty(batch, section.context, section.embed_dim, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model.encoder_stack(embedded, None)
    return sum(size for size, _ in kept.values())


def _batch_sentence(batch: dict[str, Any]) -> str:
    padding = "" if batch["padding_share"] is None else f", {batch['padding_share']:.1%} of a batch is padding"
    return (
        f"{batch['global_batch_size']} records of {batch['tokens_per_record']:.0f} tokens on average{padding}; "
        f"{batch['accumulation']} x {batch['micro_batch_size']} on each process"
    )


def _data_sentence(found: dict[str, Any]) -> str:
    training, validation = found["training"], found["validation"]
    return (
        f"{training['records']:,} records, {training['tokens']:,} tokens, {training['numbers']:,} numbers; "
        f"validates on {validation['records']:,} records"
    )


def _memory_sentence(memory: dict[str, int]) -> str:
    parts = [f"{_gib(size)} {name.replace('_', ' ')}" for name, size in memory.items() if size and name != "total"]
    return f"{_gib(memory['total'])} per device: {', '.join(parts)}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**28 else f"{size / 2**20:.1f} MiB"
