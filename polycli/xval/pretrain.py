"""`polycli pretrain xval`: stores of records and one recipe to a run."""

from __future__ import annotations

from functools import partial

from polycli.engine.task import World
from polycli.requests import JsonDocument, TrainRequest
from polycli.store.reader import Store
from polycli.workflow.calibrate import with_calibration
from polycli.workflow.sketch import Sketch
from polycli.workflow.train import Training, read_training_recipe, run_training
from polycli.xval.data.store import RecordStore
from polycli.xval.recipe.training import PretrainRecipe
from polycli.xval.scoring.coverage.calibration import calibrate_run
from polycli.xval.training.fill_in import FillInTask, pretraining
from polycli.xval.training.sketch import pretraining_sketch


def run(request: TrainRequest) -> JsonDocument:
    """Train a model on stores, or go on with a run that was stopped; with `dry_run`, say what that would be.

    Raises:
        UserError: recipe, stores and processes do not fit each other; nothing was written.
        TrainingError: training failed after it had begun.
        PreemptedError: a signal stopped the run after its state was saved.
    """
    recipe = read_training_recipe(request, TRAINING)
    document = run_training(request, TRAINING, recipe)
    return with_calibration(document, request, partial(calibrate_run, recipe))


def _task(recipe: PretrainRecipe, stores: list[Store], world: World) -> FillInTask:
    return pretraining(recipe, [RecordStore(store) for store in stores], world)


def _sketch(recipe: PretrainRecipe, stores: list[Store]) -> Sketch:
    return pretraining_sketch(recipe, [RecordStore(store) for store in stores])


TRAINING: Training[PretrainRecipe] = Training(family="xval", verb="pretrain", make_task=_task, sketch=_sketch)
