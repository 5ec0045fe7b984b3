"""What pretrain and finetune share: a recipe with the command line in it, stores, and a run around a task."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.recipe.training import DataSection, FinetuneRecipe, PretrainRecipe
from polycli.astroclip.training.batches import ObjectBatches
from polycli.console import warn
from polycli.engine.run import Run
from polycli.engine.task import Task, World
from polycli.engine.train import train
from polycli.errors import UserError
from polycli.paths import expand_paths
from polycli.recipes import dump_recipe
from polycli.requests import JsonDocument, TrainRequest
from polycli.workflow import stores

Result = TypeVar("Result")
Recipe = TypeVar("Recipe", PretrainRecipe, FinetuneRecipe)
#: What a run says about its data.
DATA_NAME = "data.json"
PREPARE_HINT = (
    "make a store with `polycli prepare astroclip --source NAME --input FILES --output survey.zarr` or, without data, "
    "`polycli prepare astroclip --source mock --output mock.zarr`, then add `--data mock.zarr`"
)


class ObjectTask(Task, Protocol):
    """A task on objects of stores."""

    batches: ObjectBatches


def with_command_line(recipe: Recipe, request: TrainRequest) -> Recipe:
    """The recipe with `--data` and `--limit` in it, so that what the run saves is enough to repeat it."""
    given: dict[str, Any] = {}
    if request.data:
        given["stores"] = tuple(str(path.resolve()) for path in _with_hint(lambda: expand_paths(request.data)))
    if request.limit is not None:
        given["limit"] = request.limit
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=given)})


def output_of(request: TrainRequest) -> Path:
    """Where the run goes."""
    return request.output or Path("runs") / Path(request.recipe).stem


def open_stores(data: DataSection, *, verify: bool) -> list[ObjectStore]:
    """The stores that the recipe names; one rank verifies them as the recipe asks, for the others sizes are enough.

    Raises:
        UserError: no store is named or found; the hint says how to make one.
        StoreError: a store is incomplete or damaged.
    """
    if not data.stores:
        raise UserError("there is no data to train on: neither --data nor data.stores names a store", hint=PREPARE_HINT)
    level = data.verify if verify else "sizes"
    opened = stores.open_stores(data.stores, family="astroclip", verify=level, hint=PREPARE_HINT)
    return [ObjectStore(store) for store in opened]


def run_task(task: ObjectTask, recipe: Recipe, request: TrainRequest, world: World) -> JsonDocument:
    """Train, into the request's run; what `--json` prints."""
    output = output_of(request)
    folder = Run.create_or_resume(output, dump_recipe(recipe), resume=request.resume, world=world)
    _note_changed_data(folder, task.batches)
    folder.write_json(DATA_NAME, task.batches.summary())
    outcome = train(
        task,
        optim=recipe.optim,
        schedule=recipe.schedule,
        train=recipe.train,
        engine=recipe.engine,
        log=recipe.log,
        run=folder,
        world=world,
        workers=recipe.data.workers,
    )
    return outcome.document(output)


def _with_hint(look: Callable[[], Result]) -> Result:
    try:
        return look()
    except UserError as error:
        raise type(error)(error.message, hint=PREPARE_HINT) from error


def _note_changed_data(folder: Run, batches: ObjectBatches) -> None:
    """Say where a resumed run goes on with other data than it began with: it is then no repetition of anything."""
    path = folder.path / DATA_NAME
    if not folder.resumed or not path.is_file():
        return
    before = {name: entry["store_hash"] for name, entry in json.loads(path.read_text(encoding="utf-8")).items()}
    now = {name: entry["store_hash"] for name, entry in batches.summary().items()}
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if changed:
        warn(f"{folder.path}: resuming with other data than the run began with: {', '.join(changed)}")
