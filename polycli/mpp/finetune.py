"""`polycli finetune mpp`: a checkpoint and stores, of fields that it knows and of new ones, to a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from polycli.engine.task import World
from polycli.mpp.model.loaded import load_checkpoint
from polycli.mpp.recipe.settings import FramesSection
from polycli.mpp.recipe.training import FinetuneRecipe
from polycli.mpp.training.sketch import sketch
from polycli.mpp.training.start import Start, start_from
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
    return NextFrameFinetuning(recipe, _start(recipe, stores, quiet=world.rank > 0), stores, world)


def _sketch(recipe: FinetuneRecipe, stores: list[Store]) -> Sketch:
    settings = _start(recipe, stores, quiet=False).settings
    return replace(sketch(settings, stores), recipe=recipe.model_copy(update={"data": settings.data}))


TRAINING: Training[FinetuneRecipe] = Training(
    family="mpp",
    verb="finetune",
    make_task=_task,
    sketch=_sketch,
    from_checkpoint=True,
)
