"""`polycli finetune mpp`: a checkpoint and stores, of fields that it knows and of new ones, to a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from polycli.engine.task import World
from polycli.mpp.model.loaded import load_checkpoint
from polycli.mpp.recipe.settings import FramesSection
from polycli.mpp.recipe.training import FinetuneRecipe
from polycli.mpp.training.regression import ParameterFinetuning, with_head
from polycli.mpp.training.sketch import sketch
from polycli.mpp.training.start import Start, start_from
from polycli.mpp.training.targets import describe_head, labelled_windows
from polycli.mpp.training.task import NextFrameFinetuning
from polycli.requests import JsonDocument, TrainRequest
from polycli.store.reader import Store
from polycli.workflow.sketch import Sketch
from polycli.workflow.train import Training, read_training_recipe, run_training


def run(request: TrainRequest) -> JsonDocument:
    """Train a checkpoint further, or go on with such a run; with `dry_run`, say what that would be.

    Raises:
        UserError: checkpoint, recipe, stores and processes do not fit each other; nothing was written.
        TrainingError: training failed after it had begun.
        PreemptedError: a signal stopped the run after its state was saved.
    """
    return run_training(request, TRAINING, read_training_recipe(request, TRAINING))


def _start(recipe: FinetuneRecipe, stores: list[Store], *, quiet: bool) -> Start:
    frames = FramesSection(
        history=recipe.data.history if "history" in recipe.data.model_fields_set else None,
        time_stride=recipe.data.time_stride if "time_stride" in recipe.data.model_fields_set else None,
    )
    loaded = load_checkpoint(Path(str(recipe.checkpoint)), frames, recipe.model, quiet=quiet)
    return start_from(loaded, recipe, stores)


def _task(recipe: FinetuneRecipe, stores: list[Store], world: World) -> NextFrameFinetuning:
    start = _start(recipe, stores, quiet=world.rank > 0)
    if recipe.head.kind == "regression":
        return ParameterFinetuning(recipe, start, stores, world)
    return NextFrameFinetuning(recipe, start, stores, world)


def _sketch(recipe: FinetuneRecipe, stores: list[Store]) -> Sketch:
    start = _start(recipe, stores, quiet=False)
    settings = start.settings
    recipe = recipe.model_copy(update={"data": settings.data})
    if recipe.head.kind == "none":
        return replace(sketch(settings, stores), recipe=recipe)
    head = describe_head(stores, recipe.head, settings.data)
    parameters = sum(parameter.numel() for parameter in with_head(start, head, recipe).parameters())
    return replace(sketch(settings, stores, labelled_windows(head)), recipe=recipe, parameters=parameters)


TRAINING: Training[FinetuneRecipe] = Training(
    family="mpp",
    verb="finetune",
    make_task=_task,
    sketch=_sketch,
    from_checkpoint=True,
)
