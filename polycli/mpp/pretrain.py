"""`polycli pretrain mpp`: several stores and one recipe to a run."""

from __future__ import annotations

from polycli.mpp.recipe.training import PretrainRecipe
from polycli.mpp.training.sketch import sketch
from polycli.mpp.training.task import NextFramePretraining
from polycli.requests import JsonDocument, TrainRequest
from polycli.workflow.train import Training, read_training_recipe, run_training


def run(request: TrainRequest) -> JsonDocument:
    """Train a model on stores, or go on with a run that was stopped; with `dry_run`, say what that would be.

    Raises:
        UserError: recipe, stores and processes do not fit each other; nothing was written.
        TrainingError: training failed after it had begun.
        PreemptedError: a signal stopped the run after its state was saved.
    """
    return run_training(request, TRAINING, read_training_recipe(request, TRAINING))


TRAINING: Training[PretrainRecipe] = Training(
    family="mpp", verb="pretrain", make_task=NextFramePretraining, sketch=sketch
)
