"""`polycli finetune astroclip`: properties from the embeddings of a checkpoint, by a small network on top of it."""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from pathlib import Path

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.loaded import LoadedAstroClip, load_checkpoint
from polycli.astroclip.recipe.training import FinetuneRecipe
from polycli.astroclip.scoring.posteriors.calibration import calibrate_run
from polycli.astroclip.training.properties import PropertyFinetuning, complete
from polycli.astroclip.training.sketch import sketch
from polycli.engine.task import World
from polycli.requests import JsonDocument, TrainRequest
from polycli.store.reader import Store
from polycli.workflow.calibrate import with_calibration
from polycli.workflow.sketch import Sketch
from polycli.workflow.train import Training, read_training_recipe, run_training


def run(request: TrainRequest) -> JsonDocument:
    """Train a head, and the encoders where the recipe says so, or go on with a run that was stopped.

    Raises:
        UserError: recipe, checkpoint, stores and processes do not fit each other; nothing was written.
        TrainingError: training failed after it had begun.
        PreemptedError: a signal stopped the run after its state was saved.
    """
    recipe = read_training_recipe(request, TRAINING)
    document = run_training(request, TRAINING, recipe)
    return with_calibration(document, request, partial(calibrate_run, recipe))


def _task(recipe: FinetuneRecipe, stores: list[Store], world: World) -> PropertyFinetuning:
    objects = [ObjectStore(store) for store in stores]
    loaded = _loaded(recipe, quiet=world.rank > 0)
    return PropertyFinetuning(complete(recipe, loaded, objects), objects, world, loaded)


def _sketch(recipe: FinetuneRecipe, stores: list[Store]) -> Sketch:
    objects = [ObjectStore(store) for store in stores]
    return sketch(complete(recipe, _loaded(recipe, quiet=True), objects), objects)


def _loaded(recipe: FinetuneRecipe, *, quiet: bool) -> LoadedAstroClip | None:
    """The checkpoint to start from; None for encoders that begin from random weights."""
    return None if recipe.checkpoint is None else load_checkpoint(Path(recipe.checkpoint), quiet=quiet)


TRAINING: Training[FinetuneRecipe] = Training(
    family="astroclip",
    verb="finetune",
    make_task=_task,
    sketch=_sketch,
    from_checkpoint=True,
    begins_anew=attrgetter("begins_anew"),
)
