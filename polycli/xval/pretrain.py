"""`polycli pretrain xval`: stores of records and one recipe to a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from polycli.checkpoints.exported import TrainedOn, with_earlier
from polycli.console import warn
from polycli.engine.deepspeed.config import check_sections
from polycli.engine.ranks import together
from polycli.engine.run import Run
from polycli.engine.task import Task, World
from polycli.engine.train import train
from polycli.errors import UserError
from polycli.launch import join_process_group
from polycli.paths import expand_paths
from polycli.recipes import dump_recipe, load_recipe
from polycli.requests import JsonDocument, TrainRequest
from polycli.store.overlap import pack_hashes
from polycli.workflow import stores
from polycli.xval.data.store import RecordStore
from polycli.xval.data.tokenization import describe_tokenization, tokenization_for
from polycli.xval.model.numformer import Numformer, flops_per_record
from polycli.xval.recipe.model import DataSection, ModelSection, ObjectiveSection
from polycli.xval.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.xval.training.batches import RecordBatch, RecordBatches, fill_in_batches
from polycli.xval.training.objective import FillIn
from polycli.xval.training.validation import validate

Result = TypeVar("Result")
#: What a run says about its data.
DATA_NAME = "data.json"
PREPARE_HINT = (
    "make a store with `polycli prepare xval --source json --input FILE.jsonl --output records.zarr` or, without data, "
    "`polycli prepare xval --source planets --output planets.zarr`, then add `--data records.zarr`"
)


def run(request: TrainRequest) -> JsonDocument | None:
    """Train a model on stores, or go on with a run that was stopped; with `dry_run`, say what that would be.

    Raises:
        UserError: recipe, stores and processes do not fit each other; nothing was written.
        TrainingError: training failed after it had begun.
        PreemptedError: a signal stopped the run after its state was saved.
    """
    recipe = read_recipe(request)
    output = request.output or Path("runs") / Path(request.recipe).stem
    if request.dry_run:
        return _dry_run(recipe, request, output)
    world = join_process_group()
    stores = together(world, lambda: open_stores(recipe.data, verify=world.rank == 0))
    task = together(world, lambda: pretraining(recipe, stores, world))
    return fit(task, recipe, output, request, world)


class XvalTask(Task, Protocol):
    """A task of this family: its batches can say what they are made of."""

    batches: RecordBatches


def fit(
    task: XvalTask, recipe: PretrainRecipe | FinetuneRecipe, output: Path, request: TrainRequest, world: World
) -> JsonDocument:
    """Train a task into the run folder `output`."""
    folder = Run.create_or_resume(output, dump_recipe(recipe), resume=request.resume, world=world)
    _note_changed_data(folder, task.batches)
    folder.write_json(DATA_NAME, task.batches.summary())
    folder.say(f"{task.batches.padding_share():.1%} of the tokens in a batch are padding")
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
        request.recipe, family="xval", verb="pretrain", overrides=request.overrides, schema=PretrainRecipe
    )
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=given_data(request))})


def given_data(request: TrainRequest) -> dict[str, Any]:
    """What `--data` and `--limit` say of the recipe's data section."""
    given: dict[str, Any] = {}
    if request.data:
        given["stores"] = tuple(str(path.resolve()) for path in _with_hint(lambda: expand_paths(request.data)))
    if request.limit is not None:
        given["limit"] = request.limit
    return given


def open_stores(data: DataSection, *, verify: bool) -> list[RecordStore]:
    """The stores that the recipe names; one rank verifies them as the recipe asks, for the others sizes are enough.

    Raises:
        UserError: no store is named or found; the hint says how to make one.
        StoreError: a store is incomplete or damaged.
    """
    if not data.stores:
        raise UserError("there is no data to train on: neither --data nor data.stores names a store", hint=PREPARE_HINT)
    level = data.verify if verify else "sizes"
    opened = stores.open_stores(data.stores, family="xval", verify=level, hint=PREPARE_HINT)
    return [RecordStore(store) for store in opened]


def _with_hint(look: Callable[[], Result]) -> Result:
    try:
        return look()
    except UserError as error:
        raise type(error)(error.message, hint=PREPARE_HINT) from error


class FillInTask:
    """Fill in what is hidden of records, or go on writing them: the `Task` that the engine trains."""

    family = "xval"

    def __init__(
        self,
        verb: str,
        network: Numformer,
        batches: RecordBatches,
        objective: ObjectiveSection,
        world: World,
        *,
        earlier: Mapping[str, Mapping[str, TrainedOn]] | None = None,
    ) -> None:
        self.verb, self._earlier = verb, earlier or {}
        self.batches, self.objective, self.tokenization = batches, objective, batches.tokenization
        batches.check_division(world.size)
        self._validation = batches.validation(world)
        if not self._validation.batches:
            warn("no record is in the validation split, so nothing is validated")
        self._network = network
        self.model: nn.Module = FillIn(network, objective)

    def micro_batches(self, step: int, world: World) -> list[RecordBatch]:
        """This rank's part of the global batch of `step`."""
        return self.batches.micro_batches(step, world)

    def costliest_batches(self, world: World) -> list[RecordBatch]:
        """What the engine tries first, to find out whether memory suffices."""
        return self.batches.costliest(world)

    def validate(self, forward: nn.Module, world: World) -> dict[str, float]:
        """Losses on records that do not train, and errors by key path in the data's units."""
        return validate(
            forward,
            self._validation,
            world,
            tokenization=self.tokenization,
            space=self._network.number_space,
            objective=self.objective,
        )

    def exported(self) -> nn.Module:
        """The network without its loss."""
        return self._network

    def description(self) -> dict[str, Any]:
        """What model.json says besides: all that is needed to read records as this model does, and what it has seen."""
        return {
            "model": self._network.section.model_dump(mode="json"),
            "objective": self.objective.model_dump(mode="json"),
            **describe_tokenization(self.tokenization),
            "trained_on": with_earlier(trained_on(self.batches), self._earlier),
        }

    def tokens_per_step(self) -> float:
        """Of one optimizer step over all ranks, without padding, for records of the mean length."""
        return self.batches.mean_length() * self.batches.train.global_batch_size

    def flops_per_step(self) -> float:
        """Of one optimizer step over all ranks, forward and backward, for records of the mean length."""
        return step_flops(
            self._network.section,
            self.objective,
            tokens=self.tokenization.tokens,
            length=self.batches.mean_length(),
            records=self.batches.train.global_batch_size,
        )


def pretraining(recipe: PretrainRecipe, stores: Sequence[RecordStore], world: World) -> FillInTask:
    """The task of a recipe that starts from nothing."""
    check_sections(recipe.optim, recipe.engine)
    tokenization = tokenization_for(recipe.model, recipe.scaling, stores)
    batches = fill_in_batches(stores, tokenization, data=recipe.data, objective=recipe.objective, train=recipe.train)
    torch.manual_seed(recipe.train.seed)  # the same weights on every rank
    return FillInTask("pretrain", Numformer(recipe.model, tokenization.tokens), batches, recipe.objective, world)


def trained_on(batches: RecordBatches) -> dict[str, Any]:
    """By store: its hash, and the content hashes of the records that train."""
    pool = batches.training.pool
    return {
        store.name: {
            "store_hash": store.store.manifest.store_hash,
            "rows": pack_hashes(store.row_hashes()[pool.row_of[pool.store_of == place]]),
        }
        for place, store in enumerate(pool.stores)
    }


def step_flops(
    section: ModelSection, objective: ObjectiveSection, *, tokens: int, length: float, records: int
) -> float:
    """Operations of one optimizer step over all ranks, for records of so many tokens."""
    predicted = length if section.causal else objective.mask_probability * length
    # The backward pass makes two products for each one of the forward pass.
    return 3 * flops_per_record(section, tokens, length, predicted) * records


def _dry_run(recipe: PretrainRecipe, request: TrainRequest, output: Path) -> JsonDocument:
    from polycli.xval.training import dry_run

    stores = open_stores(recipe.data, verify=False) if recipe.data.stores else []
    document = dry_run.plan(
        recipe, stores, output=output, processes=request.nproc or dry_run.processes_of_environment()
    )
    if not request.json:
        dry_run.say(document, recipe)
    return document


def _note_changed_data(folder: Run, batches: RecordBatches) -> None:
    """Say where a resumed run goes on with other data than it began with: it is then no repetition of anything."""
    path = folder.path / DATA_NAME
    if not folder.resumed or not path.is_file():
        return
    before = {name: entry["store_hash"] for name, entry in json.loads(path.read_text(encoding="utf-8")).items()}
    now = {name: entry["store_hash"] for name, entry in batches.summary().items()}
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if changed:
        warn(f"{folder.path}: resuming with other data than the run began with: {', '.join(changed)}")
