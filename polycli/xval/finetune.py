"""`polycli finetune xval`: a checkpoint and records of the user's own to a run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from polycli.engine.task import World
from polycli.errors import RecipeError
from polycli.requests import JsonDocument, TrainRequest
from polycli.store.reader import Store
from polycli.workflow.calibrate import with_calibration
from polycli.workflow.sketch import Sketch
from polycli.workflow.train import Training, read_training_recipe, run_training
from polycli.xval.data.store import RecordStore
from polycli.xval.model.heads import RecordModel
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import refuse_number_token_loss
from polycli.xval.recipe.training import FinetuneRecipe
from polycli.xval.scoring.coverage.calibration import calibrate_run
from polycli.xval.training.batches import fill_in_batches
from polycli.xval.training.fill_in import FillInTask
from polycli.xval.training.labels import check_target
from polycli.xval.training.record_task import RecordTask, labelled_batches
from polycli.xval.training.sketch import sketch
from polycli.xval.training.starting import Start, extended, extended_tensors, load_start, with_classes


def run(request: TrainRequest) -> JsonDocument:
    """Train a checkpoint further, or go on with such a run; with `dry_run`, say what that would be.

    Raises:
        UserError: checkpoint, recipe, stores and processes do not fit each other; nothing was written.
        TrainingError: training failed after it had begun.
        PreemptedError: a signal stopped the run after its state was saved.
    """
    recipe = read_training_recipe(request, TRAINING)
    document = run_training(request, TRAINING, recipe)
    return with_calibration(document, request, partial(calibrate_run, recipe))


def finetuning(
    recipe: FinetuneRecipe, start: Start, stores: Sequence[RecordStore], world: World
) -> FillInTask | RecordTask:
    """The task of a recipe.

    Raises:
        StoreError: the stores have keys that the checkpoint does not know, and the recipe refuses them; or the records
            are too long for it, or have no value to predict.
        RecipeError: the loss is of digits, and the checkpoint's encoding writes none.
    """
    tokenization = extended(recipe, start.tokenization, stores)
    torch.manual_seed(recipe.train.seed)  # the same new rows on every rank
    tensors = extended_tensors(start, tokenization)
    section = start.network.section
    try:
        refuse_number_token_loss(recipe.objective, section.encoding)
    except ValueError as error:
        raise RecipeError(str(error)) from error
    if recipe.head.kind == "none":
        tokenization = with_classes(recipe, tokenization, stores)
        batches = fill_in_batches(
            stores, tokenization, data=recipe.data, objective=recipe.objective, train=recipe.train
        )
        network = Numformer(section, tokenization.tokens, start.network.special)
        network.load_state_dict(tensors)
        return FillInTask(recipe, network, batches, world, earlier=start.earlier)
    check_target(stores, recipe.head.target)
    batches, head = labelled_batches(recipe, stores, tokenization)
    model = RecordModel(section, tokenization.tokens, head, start.network.special, dropout=recipe.head.dropout)
    model.load_state_dict(tensors, strict=False)
    return RecordTask(recipe, model, batches, world, earlier=start.earlier)


def _task(recipe: FinetuneRecipe, stores: list[Store], world: World) -> FillInTask | RecordTask:
    start = load_start(Path(str(recipe.checkpoint)))
    return finetuning(recipe, start, [RecordStore(store) for store in stores], world)


def _sketch(recipe: FinetuneRecipe, stores: list[Store]) -> Sketch:
    start = load_start(Path(str(recipe.checkpoint)))
    task = finetuning(recipe, start, [RecordStore(store) for store in stores], World())
    return sketch(recipe, start.network.section, task.batches)


TRAINING: Training[FinetuneRecipe] = Training(
    family="xval",
    verb="finetune",
    make_task=_task,
    sketch=_sketch,
    from_checkpoint=True,
)
