"""The flow of `pretrain` and `finetune`, once for all families: a recipe and stores to a run.

A family describes its training in a `Training`: how recipe and stores become a task of the engine, and what a dry run
plans from. Everything else happens here, in this order: open the stores, make the task, open the run that is of the
same recipe and data, train.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Generic, TypeVar, cast

from polycli.checkpoints.resolve import hash_of_weights
from polycli.console import muted, note, result, warn
from polycli.engine.changes import as_begun
from polycli.engine.deepspeed.config import check_sections
from polycli.engine.layers import factors_of
from polycli.engine.ranks import on_rank_zero, together
from polycli.engine.run import Run
from polycli.engine.standing import standing_of
from polycli.engine.task import Task, World
from polycli.engine.train import train
from polycli.errors import UserError
from polycli.families import find_family
from polycli.json_records import to_object
from polycli.launch import join_process_group
from polycli.paths import expand_paths
from polycli.recipes import load_recipe
from polycli.requests import JsonDocument, TrainRequest
from polycli.sections import FinetuningRecipe, TrainingRecipe
from polycli.store.reader import Store
from polycli.workflow.dry_run import plan, processes_of_environment
from polycli.workflow.sketch import Sketch, sketch_of
from polycli.workflow.stores import open_stores

Recipe = TypeVar("Recipe", bound=TrainingRecipe)


@dataclass(frozen=True)
class Training(Generic[Recipe]):
    """The parts of `pretrain` or `finetune` that each family brings to the shared flow."""

    family: str
    verb: str
    #: The task of a recipe and its stores; every rank calls it, and none may wait for another in it.
    make_task: Callable[[Recipe, list[Store], World], Task]
    #: What a dry run plans from, of a recipe and its stores, which may be none unless it starts from a checkpoint;
    #: without it, the task is made for that.
    sketch: Callable[[Recipe, list[Store]], Sketch] | None = None
    #: Whether the recipe has the key `checkpoint`, which `--checkpoint` says and which must not stay absent. Without
    #: one, `sketch` can do without stores.
    from_checkpoint: bool = False
    #: Which of those recipes need no checkpoint, because they say what begins from random weights.
    begins_anew: Callable[[Recipe], bool] = lambda _: False
    #: Further keys of the recipe that name checkpoints to start from, and may be absent.
    starts_from: tuple[str, ...] = ()

    @property
    def prepare_hint(self) -> str | None:
        """How to make a store of this family, for the hint where there is none."""
        return find_family(self.family).first_store


def read_training_recipe(request: TrainRequest, training: Training[Recipe]) -> Recipe:
    """Read the recipe with the command line in it, so that what the run saves is enough to repeat it.

    Raises:
        UserError: the recipe has problems, a path of `--data` does not exist, or no checkpoint is named.
    """
    found = load_recipe(request.recipe, family=training.family, verb=training.verb, overrides=request.overrides)
    found, remarks = as_begun(request.run_folder, found)
    for remark in remarks:
        note(remark)
    recipe = cast("Recipe", found)  # the family's table of schemas says so
    given: dict[str, object] = {}
    if request.data:
        try:
            given["stores"] = tuple(str(path.resolve()) for path in expand_paths(request.data))
        except UserError as error:
            raise type(error)(error.message, hint=training.prepare_hint) from error
    if request.limit is not None:
        given["limit"] = request.limit
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update=given)})
    return _with_checkpoint(recipe, request, training) if training.from_checkpoint else recipe


def run_training(request: TrainRequest, training: Training[Recipe], recipe: Recipe) -> JsonDocument:
    """Train, or go on with a run that was stopped; with `dry_run`, say what that would be. Gives what `--json` prints.

    Raises:
        UserError: recipe, stores and processes do not fit each other; nothing was written.
        TrainingError: training failed after it had begun.
        PreemptedError: a signal stopped the run after its state was saved.
    """
    check_sections(recipe.optim, recipe.engine)
    if request.dry_run:
        return _dry_run(request, training, recipe)
    world = join_process_group()
    stores = together(world, lambda: open_training_stores(training, recipe, verify=world.rank == 0))
    task = together(world, lambda: training.make_task(recipe, stores, world))
    factors_of(task, recipe.optim)  # refused before anything is written
    task.begin(world)
    data = _with_descriptions(task.data_summary(), stores)
    starts = on_rank_zero(world, lambda: _weights(recipe, training))
    run = Run.create_or_resume(
        request.run_folder, task.recipe, resume=request.resume, world=world, data=data, starts=starts
    )
    for remark in task.remarks():
        run.say(remark)
    outcome = train(
        task,
        optim=recipe.optim,
        schedule=recipe.schedule,
        train=recipe.train,
        engine=recipe.engine,
        log=recipe.log,
        run=run,
        world=world,
        workers=recipe.data.workers,
    )
    return outcome.document(request.run_folder)


def _with_descriptions(data: Mapping[str, object], stores: Sequence[Store]) -> JsonDocument:
    """data.json, with what each store says of its numbers, so that a store prepared otherwise is no longer the same."""
    described = {store.name: store.manifest.described for store in stores}
    return {name: {**to_object(entry), "described": described[name]} for name, entry in data.items()}


def _weights(recipe: Recipe, training: Training[Recipe]) -> dict[str, str]:
    """Maps recipe keys to the hashes of the weights that training starts from."""
    keys = (*(("checkpoint",) if training.from_checkpoint else ()), *training.starts_from)
    named = {key: attrgetter(key)(recipe) for key in keys}
    return {key: hash_of_weights(Path(path)) for key, path in named.items() if path is not None}


def _dry_run(request: TrainRequest, training: Training[Recipe], recipe: Recipe) -> JsonDocument:
    """Say what the training would be, after every check that it would make before its first step."""
    absent = training.sketch is not None and not training.from_checkpoint and not recipe.data.stores
    stores = [] if absent else open_training_stores(training, recipe, verify=False)
    # What does not fit is found where the task is made; a sketch alone looks at less.
    task = None if absent else training.make_task(recipe, stores, World())
    if task is not None:
        factors_of(task, recipe.optim)
    if training.sketch is None:
        assert task is not None  # noqa: S101  # `absent` is for those that have a sketch
        sketch = sketch_of(task)
    else:
        del task  # Its network is not needed beside the one that is sketched.
        with nullcontext() if absent else muted():
            sketch = training.sketch(recipe, stores)
    data = {store.name: {"store_hash": store.manifest.store_hash} for store in stores}
    starts = _weights(recipe, training)
    found = standing_of(
        request.run_folder, sketch.recipe, resume=request.resume, data=_with_descriptions(data, stores), starts=starts
    )
    if found.would in ("nothing", "refuse"):
        warn(f"{request.run_folder}: {found.sentence}")
    processes = request.nproc or processes_of_environment()
    planned = plan(sketch, output=request.run_folder, processes=processes, standing=found)
    if not request.json:
        result(planned.text())
    return planned.document()


def open_training_stores(training: Training[Recipe], recipe: Recipe, *, verify: bool) -> list[Store]:
    """Open the stores that the recipe names; one rank verifies them as it asks, for the others sizes are enough.

    Raises:
        UserError: no store is named or found; the hint says how to make one.
        StoreError: a store is incomplete or damaged.
    """
    if not recipe.data.stores:
        raise UserError(
            "there is no data to train on: neither --data nor data.stores names a store", hint=training.prepare_hint
        )
    level = recipe.data.verify if verify else "sizes"
    return open_stores(recipe.data.stores, family=training.family, verify=level, hint=training.prepare_hint)


def _with_checkpoint(recipe: Recipe, request: TrainRequest, training: Training[Recipe]) -> Recipe:
    """Put the checkpoint of `--checkpoint` into the recipe, or be content with the one that it names."""
    if request.checkpoint is not None:
        return recipe.model_copy(update={"checkpoint": str(request.checkpoint.resolve())})
    if cast("FinetuningRecipe", recipe).checkpoint is None and not training.begins_anew(recipe):
        raise UserError("finetune starts from a checkpoint, and none was given", hint="add --checkpoint RUN")
    return recipe
