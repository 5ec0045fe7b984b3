"""`polycli pretrain astroclip`: stores and a recipe to a run, for the stage that the recipe names."""

from __future__ import annotations

from pathlib import Path

from polycli.astroclip.data.scales import scales_of_store
from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.recipe.training import InitSection, PretrainRecipe
from polycli.astroclip.training.image_stage import OBJECTIVES
from polycli.astroclip.training.initial import read_initial, with_initial
from polycli.astroclip.training.sketch import sketch
from polycli.astroclip.training.stages import AlignPretraining, PretrainTask, SpectrumPretraining
from polycli.engine.task import World
from polycli.requests import JsonDocument, TrainRequest
from polycli.store.reader import Store
from polycli.workflow.sketch import Sketch
from polycli.workflow.train import Training, read_training_recipe, run_training


def run(request: TrainRequest) -> JsonDocument:
    """Train a model on stores, or go on with a run that was stopped; with `dry_run`, say what that would be.

    Raises:
        UserError: recipe, checkpoints, stores and processes do not fit each other; nothing was written.
        TrainingError: training failed after it had begun.
        PreemptedError: a signal stopped the run after its state was saved.
    """
    return run_training(request, TRAINING, read_recipe(request))


def read_recipe(request: TrainRequest) -> PretrainRecipe:
    """Read the recipe with `--set`, `--data` and `--limit` in it."""
    recipe = read_training_recipe(request, TRAINING)
    # Whole paths, so that the run says where it began wherever it is read.
    began = {name: str(Path(path).expanduser().resolve()) for name, path in recipe.init if path is not None}
    return recipe.model_copy(update={"init": InitSection(**began)})


def _task(recipe: PretrainRecipe, stores: list[Store], world: World) -> PretrainTask:
    objects = [ObjectStore(store) for store in stores]
    initial = read_initial(recipe, quiet=world.rank > 0)
    complete = with_initial(recipe, initial)
    for place, loaded in initial.items():
        for store in objects:
            loaded.check(store.about, f"{store.path}, beside {place}")
            loaded.check_scales(scales_of_store(store, store.rows("train")), f"{store.path}, beside {place}")
    if complete.stage == "align":
        return AlignPretraining(complete, objects, world, initial)
    if complete.stage == "image":
        return OBJECTIVES[complete.objective.kind](complete, objects, world)
    return SpectrumPretraining(complete, objects, world)


def _sketch(recipe: PretrainRecipe, stores: list[Store]) -> Sketch:
    complete = with_initial(recipe, read_initial(recipe, quiet=True))
    return sketch(complete, [ObjectStore(store) for store in stores])


TRAINING: Training[PretrainRecipe] = Training(
    family="astroclip",
    verb="pretrain",
    make_task=_task,
    sketch=_sketch,
    starts_from=("init.image", "init.spectrum"),
)
