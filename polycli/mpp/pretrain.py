"""`polycli pretrain mpp`: several stores and one recipe to a run."""

from __future__ import annotations

from polycli.engine.task import World
from polycli.mpp.recipe.training import PretrainRecipe
from polycli.mpp.training.sketch import sketch
from polycli.mpp.training.task import NextFramePretraining
from polycli.mpp.training.tubes import TubePretraining
from polycli.requests import JsonDocument, TrainRequest
from polycli.store.reader import Store
from polycli.workflow.train import Training, read_training_recipe, run_training


def run(request: TrainRequest) -> JsonDocument:
    """Train a model on stores, or go on with a run that was stopped; with `dry_run`, say what that would be.

    Raises:
        UserError: recipe, stores and processes do not fit each other; nothing was written.
        TrainingError: training failed after it had begun.
        PreemptedError: a signal stopped the run after its state was saved.
    """
    return run_training(request, TRAINING, read_training_recipe(request, TRAINING))


def _task(recipe: PretrainRecipe, stores: list[Store], world: World) -> NextFramePretraining:
    if recipe.objective.kind == "tubes":
        return TubePretraining(recipe, stores, world)
    return NextFramePretraining(recipe, stores, world)


TRAINING: Training[PretrainRecipe] = Training(family="mpp", verb="pretrain", make_task=_task, sketch=sketch)
