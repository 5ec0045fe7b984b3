"""A training of xVal before it starts, for `--dry-run`: on records of their mean length, or of an assumed one."""

from __future__ import annotations

from collections.abc import Sequence

from polycli.console import counted
from polycli.workflow.sketch import Batches, Sketch, Words
from polycli.xval.data.store import RecordStore
from polycli.xval.data.tokenization import section_for, tokenization_for
from polycli.xval.model.numformer import parameter_count
from polycli.xval.recipe.model import ModelSection
from polycli.xval.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.xval.training.batches import RecordBatches, fill_in_batches
from polycli.xval.training.costs import activation_bytes, step_flops
from polycli.xval.training.described import StoreUse

#: What is assumed of the data where none is given: planets in the paper's form.
ASSUMED_TOKENS, ASSUMED_LENGTH = 300, 532


def pretraining_sketch(recipe: PretrainRecipe, stores: Sequence[RecordStore]) -> Sketch:
    """Sketch a pretraining on stores, or on assumed data where there are none.

    Raises:
        StoreError: recipe and stores do not fit each other.
    """
    if not stores:
        return sketch(recipe, recipe.model, None)
    tokenization = tokenization_for(recipe.model, recipe.scaling, stores)
    batches = fill_in_batches(stores, tokenization, data=recipe.data, objective=recipe.objective, train=recipe.train)
    return sketch(recipe, section_for(recipe.model, tokenization), batches)


def sketch(recipe: PretrainRecipe | FinetuneRecipe, model: ModelSection, batches: RecordBatches | None) -> Sketch:
    """Sketch the training of this network on these batches, or on assumed ones."""
    train, predicted = recipe.train, 1.0 if model.causal else recipe.objective.mask_probability
    tokens = ASSUMED_TOKENS if batches is None else batches.tokenization.tokens
    if batches is not None:
        batches.check_division(1)  # Or there would be no whole micro-batches to look at.
    length = float(min(ASSUMED_LENGTH, model.context)) if batches is None else batches.mean_length()
    padding = None if batches is None else batches.padding_share()
    data = {} if batches is None else batches.summary()
    assumed = f"none given; {ASSUMED_TOKENS} tokens in records of {ASSUMED_LENGTH} assumed"
    return Sketch(
        recipe=recipe,
        parameters=parameter_count(model, tokens),
        flops_per_step=step_flops(
            model, recipe.objective, tokens=tokens, length=length, records=train.global_batch_size
        ),
        micro_batch_size=train.micro_batch_size,
        activations=activation_bytes(
            model, train.micro_batch_size, tokens, predicted, recompute=recipe.engine.activation_checkpointing
        ),
        data=data,
        assumed={"tokens_per_record": ASSUMED_LENGTH, "vocabulary": ASSUMED_TOKENS} if batches is None else None,
        more={"vocabulary": tokens},
        more_of_batch={"tokens_per_record": length, "padding_share": padding},
        words=Words(
            sample=("record", "records"),
            batch=lambda shared: _batch_sentence(shared, length, padding),
            parameters=f", for {tokens:,} tokens",
            assumed=assumed if batches is None else None,
            data={name: _data_sentence(use) for name, use in data.items()},
        ),
    )


def _batch_sentence(batches: Batches, length: float, padding: float | None) -> str:
    padded = "" if padding is None else f", {padding:.1%} of a batch is padding"
    return (
        f"{batches.global_batch_size} records of {length:.0f} tokens on average{padded}; "
        f"{batches.accumulation} x {batches.micro_batch_size} on each process"
    )


def _data_sentence(use: StoreUse) -> str:
    training = use.training
    return (
        f"{counted(training.records, 'record', 'records')}, {training.tokens:,} tokens, {training.numbers:,} numbers; "
        f"validates on {counted(use.validation.records, 'record', 'records')}"
    )
