"""`polycli pretrain mpp`: several stores and one recipe to a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from polycli.console import warn
from polycli.engine.deepspeed.config import check_sections
from polycli.engine.ranks import together
from polycli.engine.run import Run
from polycli.engine.task import World
from polycli.engine.train import train
from polycli.errors import UserError
from polycli.launch import join_process_group
from polycli.mpp.data.windows import WindowBatch
from polycli.mpp.model.avit import AViT, flops_per_sample
from polycli.mpp.recipe.training import PretrainRecipe
from polycli.mpp.training.batches import MixtureBatches
from polycli.mpp.training.objective import NextFrame
from polycli.mpp.training.validation import validate
from polycli.paths import expand_paths
from polycli.recipes import dump_recipe, load_recipe
from polycli.requests import JsonDocument, TrainRequest
from polycli.store.reader import Store
from polycli.workflow import stores

Result = TypeVar("Result")
#: What a run says about its data.
DATA_NAME = "data.json"
PREPARE_HINT = (
    "make stores with `polycli prepare mpp --source pdebench --input PDEBENCH/2D --output stores/` or, without data, "
    "`polycli prepare mpp --source simulate --recipe mpp_demo_data --output stores/`, then add `--data stores/`"
)


def run(request: TrainRequest) -> JsonDocument | None:
    """Train a model on stores, or go on with a run that was stopped; with `dry_run`, say what that would be.

    Raises:
        UserError: recipe, stores and processes do not fit each other; nothing was written.
        TrainingError: training failed after it had begun.
        PreemptedError: a signal stopped the run after its state was saved.
    """
    recipe = read_recipe(request)
    output = request.run_folder
    if request.dry_run:
        return _dry_run(recipe, request, output)
    world = join_process_group()
    stores = together(world, lambda: open_stores(recipe, verify=world.rank == 0))
    task = together(world, lambda: NextFramePretraining(recipe, stores, world))
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


def read_recipe(request: TrainRequest) -> PretrainRecipe:
    """The recipe with `--set`, `--data` and `--limit` in it, so that what the run saves is enough to repeat it."""
    recipe = load_recipe(
        request.recipe, family="mpp", verb="pretrain", overrides=request.overrides, schema=PretrainRecipe
    )
    given: dict[str, Any] = {}
    if request.data:
        given["stores"] = tuple(str(path.resolve()) for path in _with_hint(lambda: expand_paths(request.data)))
    if request.limit is not None:
        given["limit"] = request.limit
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=given)})


def open_stores(recipe: PretrainRecipe, *, verify: bool) -> list[Store]:
    """The stores that the recipe names; one rank verifies them as the recipe asks, for the others sizes are enough.

    Raises:
        UserError: no store is named or found; the hint says how to make one.
        StoreError: a store is incomplete or damaged.
    """
    if not recipe.data.stores:
        raise UserError("there is no data to train on: neither --data nor data.stores names a store", hint=PREPARE_HINT)
    level = recipe.data.verify if verify else "sizes"
    return stores.open_stores(recipe.data.stores, family="mpp", verify=level, hint=PREPARE_HINT)


def _with_hint(look: Callable[[], Result]) -> Result:
    try:
        return look()
    except UserError as error:
        raise type(error)(error.message, hint=PREPARE_HINT) from error


class NextFramePretraining:
    """Predict the next frame of every dataset in the mixture: the `Task` that the engine trains."""

    family = "mpp"
    verb = "pretrain"

    def __init__(self, recipe: PretrainRecipe, stores: Sequence[Store], world: World) -> None:
        check_sections(recipe.optim, recipe.engine)
        self.recipe = recipe
        self.batches = MixtureBatches(stores, recipe)
        self.batches.check_division(world.size)
        self._validation = self.batches.validation(world)
        _warn_of_missing_validation(self.batches)
        torch.manual_seed(recipe.train.seed)  # the same weights on every rank
        self._network = AViT(recipe.model)
        self.model: nn.Module = NextFrame(self._network, recipe.objective)

    def micro_batches(self, step: int, world: World) -> list[WindowBatch]:
        """This rank's part of the global batch of `step`."""
        return self.batches.micro_batches(step, world)

    def costliest_batches(self, world: World) -> list[WindowBatch]:  # noqa: ARG002  # The same on every rank.
        """One micro-batch of each dataset: the engine's rehearsal takes them."""
        return self.batches.one_of_each()

    def validate(self, forward: nn.Module, world: World) -> dict[str, float]:
        """Errors per dataset; `validation/loss` is the mean over datasets of the model's NRMSE over persistence's."""
        return validate(forward, self._validation, world)

    def exported(self) -> nn.Module:
        """The network without its loss."""
        return self._network

    def description(self) -> dict[str, Any]:
        """What model.json says besides: sizes, field names, context, and the hashes of the trajectories trained on."""
        return {
            "model": self.recipe.model.model_dump(mode="json"),
            "data": {"history": self.recipe.data.history, "time_stride": self.recipe.data.time_stride},
            "trained_on": {
                name: {
                    "store_hash": windows.store.manifest.store_hash,
                    "rows": [windows.store.manifest.row_hashes[row] for row in windows.rows],
                }
                for name, windows in self.batches.training.items()
            },
        }

    def flops_per_step(self) -> float:
        """Of one optimizer step over all ranks, forward and backward, averaged over the mixture."""
        return step_flops(
            self.recipe,
            [
                (self.batches.shares[name], len(windows.labels), windows.grid)
                for name, windows in self.batches.training.items()
            ],
        )


def step_flops(recipe: PretrainRecipe, mixture: Iterable[tuple[float, int, tuple[int, int]]]) -> float:
    """Operations of one optimizer step over all ranks; `mixture` has (share of the draws, fields, grid) by dataset."""
    forward = sum(
        share * flops_per_sample(recipe.model, recipe.data.history, fields, grid) for share, fields, grid in mixture
    )
    # The backward pass makes two products for each one of the forward pass.
    return 3 * forward * recipe.train.global_batch_size


def _dry_run(recipe: PretrainRecipe, request: TrainRequest, output: Path) -> JsonDocument:
    from polycli.mpp.training import dry_run

    stores = open_stores(recipe, verify=False) if recipe.data.stores else []
    document = dry_run.plan(
        recipe, stores, output=output, processes=request.nproc or dry_run.processes_of_environment()
    )
    if not request.json:
        dry_run.say(document, recipe)
    return document


def _note_changed_data(folder: Run, batches: MixtureBatches) -> None:
    """Say where a resumed run goes on with other data than it began with: it is then no repetition of anything."""
    path = folder.path / DATA_NAME
    if not folder.resumed or not path.is_file():
        return
    before = {name: entry["store_hash"] for name, entry in json.loads(path.read_text(encoding="utf-8")).items()}
    now = {name: windows.store.manifest.store_hash for name, windows in batches.training.items()}
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if changed:
        warn(f"{folder.path}: resuming with other data than the run began with: {', '.join(changed)}")


def _warn_of_missing_validation(batches: MixtureBatches) -> None:
    missing = [name for name, windows in batches.held_back.items() if len(windows) == 0]
    if missing:
        warn(f"{', '.join(missing)}: no trajectory is held back, so nothing is validated there")
