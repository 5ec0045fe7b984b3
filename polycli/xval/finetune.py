"""`polycli finetune xval`: a checkpoint and records of the user's own to a run.

The network, the encoding of numbers and the scalers of known key paths are the checkpoint's. Keys that it does not know
get tokens of their own, by name, behind all that were there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polycli.checkpoints.exported import TrainedOn, description_of, with_earlier
from polycli.checkpoints.resolve import resolve_checkpoint
from polycli.console import note, say, warn
from polycli.engine.deepspeed.config import check_sections
from polycli.engine.ranks import gather, together
from polycli.engine.task import World
from polycli.errors import CheckpointError, UserError
from polycli.launch import join_process_group
from polycli.recipes import load_recipe
from polycli.requests import JsonDocument, TrainRequest
from polycli.xval.data.collate import Tokenization
from polycli.xval.data.pool import Language, language_of
from polycli.xval.data.store import RecordStore
from polycli.xval.data.tokenization import (
    describe_tokenization,
    merged_statistics,
    read_tokenization,
    refuse_overflow,
    refuse_uncovered,
)
from polycli.xval.model.heads import HEAD_PREFIX, HeadDescription, RecordLoss, RecordModel
from polycli.xval.model.numformer import Numformer, flops_per_record
from polycli.xval.model.weights import model_from
from polycli.xval.numbers import token_names
from polycli.xval.numbers.scaling import make_scaling
from polycli.xval.pretrain import FillInTask, fit, given_data, open_stores, trained_on
from polycli.xval.recipe.model import HeadSection
from polycli.xval.recipe.training import FinetuneRecipe
from polycli.xval.records.units import joined_units
from polycli.xval.training.batches import SPLITS_USED, RecordBatch, RecordBatches, fill_in_batches, open_pool
from polycli.xval.training.labels import LabelledPool, LabelledReader, check_target, describe_head, labels_of

#: Tensors with one row for every token.
_BY_TOKEN = ("token_embed.weight", "lm_head.2.weight")


@dataclass(frozen=True)
class Start:
    """The checkpoint that training starts from."""

    network: Numformer
    tokenization: Tokenization
    #: What model.json said of its training data.
    trained_on: dict[str, TrainedOn]

    @property
    def earlier(self) -> dict[str, dict[str, TrainedOn]]:
        """What it had seen, by where it was named."""
        return {"--checkpoint": self.trained_on}


def run(request: TrainRequest) -> JsonDocument | None:
    """Train a checkpoint further, or go on with such a run; with `dry_run`, say what that would be.

    Raises:
        UserError: checkpoint, recipe, stores and processes do not fit each other; nothing was written.
        TrainingError: training failed after it had begun.
        PreemptedError: a signal stopped the run after its state was saved.
    """
    recipe = read_recipe(request)
    output = request.output or Path("runs") / Path(request.recipe).stem
    check_sections(recipe.optim, recipe.engine)
    if request.dry_run:
        return _dry_run(recipe, request, output)
    world = join_process_group()
    start = together(world, lambda: load_start(Path(str(recipe.checkpoint))))
    stores = together(world, lambda: open_stores(recipe.data, verify=world.rank == 0))
    task = together(world, lambda: finetuning(recipe, start, stores, world))
    return fit(task, recipe, output, request, world)


def read_recipe(request: TrainRequest) -> FinetuneRecipe:
    """The recipe with `--set`, `--checkpoint`, `--data` and `--limit` in it, so that it repeats the run."""
    recipe = load_recipe(
        request.recipe, family="xval", verb="finetune", overrides=request.overrides, schema=FinetuneRecipe
    )
    given: dict[str, Any] = {"data": recipe.data.model_copy(update=given_data(request))}
    if request.checkpoint is not None:
        given["checkpoint"] = str(request.checkpoint.resolve())
    recipe = recipe.model_copy(update=given)
    if recipe.checkpoint is None:
        raise UserError("there is no checkpoint to start from", hint="--checkpoint RUN")
    return recipe


def load_start(path: Path) -> Start:
    """The network of a checkpoint, and how it reads records.

    Raises:
        CheckpointError: it is none of this family, or says nothing of its vocabulary, as the published ones do not.
    """
    resolved = resolve_checkpoint(path)
    description = description_of(resolved, family="xval")
    if description is None:
        raise CheckpointError(
            f"{resolved.model_file}: it has no model.json, so nothing says which keys and tokens it knows",
            hint="finetune from a run of polycli, or from an export of one",
        )
    network = model_from(resolved.model_file, description, {})
    extra = description.model_extra or {}
    tokenization = read_tokenization(extra, network.section, source=str(resolved.model_file.with_suffix(".json")))
    say(f"from {resolved.model_file} ({resolved.how}), step {description.step}")
    return Start(network, tokenization, description.trained_on)


def finetuning(
    recipe: FinetuneRecipe, start: Start, stores: Sequence[RecordStore], world: World
) -> FillInTask | RecordTask:
    """The task of a recipe.

    Raises:
        StoreError: the stores have keys that the checkpoint does not know, and the recipe refuses them; or the records
            are too long for it, or have no value to predict.
    """
    tokenization = extended(recipe, start.tokenization, stores)
    torch.manual_seed(recipe.train.seed)  # the same new rows on every rank
    tensors = extended_tensors(start, tokenization)
    section = start.network.section
    if recipe.head.kind == "none":
        batches = fill_in_batches(
            stores, tokenization, data=recipe.data, objective=recipe.objective, train=recipe.train
        )
        network = Numformer(section, tokenization.tokens, start.network.special)
        network.load_state_dict(tensors)
        return FillInTask("finetune", network, batches, recipe.objective, world, earlier=start.earlier)
    check_target(stores, recipe.head.target)
    batches, head = labelled_batches(recipe, stores, tokenization)
    model = RecordModel(section, tokenization.tokens, head, start.network.special, dropout=recipe.head.dropout)
    model.load_state_dict(tensors, strict=False)
    return RecordTask(recipe.head, model, batches, world, earlier=start.earlier)


def extended(recipe: FinetuneRecipe, known: Tokenization, stores: Sequence[RecordStore]) -> Tokenization:
    """The checkpoint's tokenization with the keys and key paths of the data behind its own.

    Raises:
        StoreError: the data has keys that are new, and the recipe refuses them; or numbers that cannot be written, or
            that are in other units than the checkpoint's.
    """
    languages = [language_of(store) for store in sorted(stores, key=lambda store: store.name)]
    if recipe.new_keys == "refuse":
        for language in languages:
            # Says which key is not known.
            Language(known.language.vocabulary, language.key_paths).reader(language)
    language = known.language.joined(languages)
    new = [key for key in language.vocabulary.keys if key not in known.language.vocabulary.key_ids]
    if new:
        note(f"the vocabulary grows by {len(new)} keys of the data: {', '.join(map(repr, new[:5]))}")
    paths = [path for path in language.key_paths if path not in known.language.key_paths]
    scaling = known.scaling
    if paths:
        scaling = scaling.extended(make_scaling(recipe.scaling, paths, merged_statistics(stores)))
    refuse_overflow(scaling, stores)
    hint = (
        "start from a checkpoint of wider model.exponents, or of the encoding xval or multiscale, which has no bounds"
    )
    refuse_uncovered(known.encoding, scaling, stores, hint=hint)
    named = sorted(stores, key=lambda store: store.name)
    units = joined_units([("the checkpoint", known.units), *((str(store.path), store.units) for store in named)])
    return replace(known, language=language, scaling=scaling, units=units)


def extended_tensors(start: Start, tokenization: Tokenization) -> dict[str, Tensor]:
    """The checkpoint's tensors with its tokens' rows where the same names stand now, and new rows for new tokens."""
    before = token_names(start.tokenization.language.vocabulary, start.tokenization.encoding)
    now = token_names(tokenization.language.vocabulary, tokenization.encoding)
    places = {name: place for place, name in enumerate(before)}
    tensors = dict(start.network.state_dict())
    for name in _BY_TOKEN:
        old = tensors[name]
        # New keys begin like the average token, with as much of their own as tokens have.
        rows = old.mean(dim=0) + old.std(dim=0) * torch.randn(len(now), old.shape[1])
        if name == "lm_head.2.weight":
            rows = old.mean(dim=0).expand(len(now), -1).clone()
        known = [place for place, token in enumerate(now) if token in places]
        rows[known] = old[[places[now[place]] for place in known]]
        tensors[name] = rows
    return tensors


def labelled_batches(
    recipe: FinetuneRecipe, stores: Sequence[RecordStore], tokenization: Tokenization
) -> tuple[RecordBatches, HeadDescription]:
    """Batches of records with labels, and what the head answers."""
    pools = [
        LabelledPool(open_pool(stores, split, tokenization, recipe.data), recipe.head.target) for split in SPLITS_USED
    ]
    head = describe_head(pools[0], recipe.head.kind, recipe.head.target)
    training, held_back = (LabelledReader(pool, tokenization, labels_of(pool, head)) for pool in pools)
    return RecordBatches(training, held_back, tokenization, data=recipe.data, train=recipe.train), head


class RecordTask:
    """Predict one value per record: the `Task` that the engine trains."""

    family = "xval"
    verb = "finetune"

    def __init__(
        self,
        section: HeadSection,
        network: RecordModel,
        batches: RecordBatches,
        world: World,
        *,
        earlier: Mapping[str, Mapping[str, TrainedOn]],
    ) -> None:
        self.batches, self._network, self._earlier = batches, network, earlier
        batches.check_division(world.size)
        self._validation = batches.validation(world)
        if not self._validation.batches:
            warn("no record is in the validation split, so nothing is validated")
        # What only fills in is not asked here, and without a gradient it would be in the way of none but the optimizer.
        for name, parameter in network.named_parameters():
            unused = name.startswith(("lm_head.", "num_head.", "quantile_head."))
            parameter.requires_grad = not unused and (not section.freeze or name.startswith(HEAD_PREFIX))
        self.model: nn.Module = RecordLoss(network)

    def micro_batches(self, step: int, world: World) -> list[RecordBatch]:
        """This rank's part of the global batch of `step`."""
        return self.batches.micro_batches(step, world)

    def costliest_batches(self, world: World) -> list[RecordBatch]:
        """What the engine tries first, to find out whether memory suffices."""
        return self.batches.costliest(world)

    def validate(self, forward: nn.Module, world: World) -> dict[str, float]:
        """Loss and, in the data's units, RMSE and R2, or accuracy."""
        mine = []
        for batch, real in zip(self._validation.batches, self._validation.real, strict=True):
            loaded = batch.load()
            _, found = forward(loaded)
            values = torch.stack([found["losses"].cpu().double(), loaded["labels"].double(), _hits(found)], dim=1)
            mine.append(values[:real])
        rows = [part for turn in zip(*gather(world, mine), strict=True) for part in turn]
        if not rows:
            return {}
        losses, labels, hits = torch.cat(rows).T
        scores = {"validation/loss": float(losses.mean())}
        if self._network.head.kind == "classification":
            return {**scores, "validation/accuracy": float(hits.mean())}
        rmse = float(losses.mean().sqrt()) * self._network.head.scale
        spread = float((labels - labels.mean()).square().mean())
        return {**scores, "validation/rmse": rmse, "validation/r2": 1 - float(losses.mean()) / max(spread, 1e-12)}

    def exported(self) -> nn.Module:
        """The network with its head."""
        return self._network

    def description(self) -> dict[str, Any]:
        """What model.json says besides: all that is needed to read records as this model does, and what it answers."""
        return {
            "model": self._network.section.model_dump(mode="json"),
            "head": self._network.head.to_json(),
            **describe_tokenization(self.batches.tokenization),
            "trained_on": with_earlier(trained_on(self.batches), self._earlier),
        }

    def tokens_per_step(self) -> float:
        """Of one optimizer step over all ranks, without padding, for records of the mean length."""
        return self.batches.mean_length() * self.batches.train.global_batch_size

    def flops_per_step(self) -> float:
        """Of one optimizer step over all ranks, forward and backward, for records of the mean length."""
        length = self.batches.mean_length()
        forward = flops_per_record(self._network.section, self._network.tokens, length, 0)
        return 3 * forward * self.batches.train.global_batch_size


def _hits(found: Mapping[str, Tensor]) -> Tensor:
    """Whether each record's class was right; zeros for regression."""
    return found.get("accuracy", torch.zeros(len(found["losses"]))).cpu().double()


def _dry_run(recipe: FinetuneRecipe, request: TrainRequest, output: Path) -> JsonDocument:
    from polycli.xval.training import dry_run

    start = load_start(Path(str(recipe.checkpoint)))
    stores = open_stores(recipe.data, verify=False)
    processes = request.nproc or dry_run.processes_of_environment()
    task = finetuning(recipe, start, stores, World(rank=0, local_rank=0, size=processes))
    document = dry_run.plan_of(recipe, start.network.section, task.batches, output=output, processes=processes)
    if not request.json:
        dry_run.say(document, recipe)
    return document
