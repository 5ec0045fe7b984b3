"""`polycli pretrain mpp`: several stores and one recipe to a run."""

from __future__ import annotations

from polycli.mpp.recipe.training import PretrainRecipe
from polycli.mpp.training.task import NextFramePretraining
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


def _dry_run(recipe: PretrainRecipe, stores: list[Store], request: TrainRequest) -> JsonDocument:
    from polycli.mpp.training import dry_run

    processes = request.nproc or dry_run.processes_of_environment()
    document = dry_run.plan(recipe, stores, output=request.run_folder, processes=processes)
    if not request.json:
        dry_run.say(document, recipe)
    return document


TRAINING: Training[PretrainRecipe] = Training(
    family="mpp", verb="pretrain", make_task=NextFramePretraining, dry_run=_dry_run
)
