"""The task of filling in what is hidden of records, or of writing them on, from nothing or from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from polycli.checkpoints.trained_on import TrainedOn
from polycli.engine.task import World
from polycli.errors import RecipeError
from polycli.xval.data.classes import classes_of
from polycli.xval.data.collate import Tokenization
from polycli.xval.data.store import RecordStore
from polycli.xval.data.tokenization import describe_tokenization, section_for, tokenization_for
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ModelSection, ObjectiveSection
from polycli.xval.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.xval.records.classes import Classes
from polycli.xval.training.batches import RecordBatches, fill_in_batches
from polycli.xval.training.costs import step_flops
from polycli.xval.training.described import FillInFacts
from polycli.xval.training.objective import FillIn, digit_tokens
from polycli.xval.training.task import RecordsTask
from polycli.xval.training.validation import validate


class FillInTask(RecordsTask):
    """Fill in what is hidden of records or, where the model is causal, go on writing them."""

    def __init__(
        self,
        recipe: PretrainRecipe | FinetuneRecipe,
        network: Numformer,
        batches: RecordBatches,
        world: World,
        *,
        earlier: Mapping[str, Mapping[str, TrainedOn]] | None = None,
    ) -> None:
        super().__init__(recipe, batches, world, earlier or {})
        self.objective, self.tokenization = recipe.objective, batches.tokenization
        _refuse_hidden_keys(network.section, recipe.objective)
        self._network = network
        self.model: nn.Module = FillIn(network, recipe.objective, digits=digit_tokens(self.tokenization))

    def validate(self, forward: nn.Module, world: World) -> dict[str, float]:
        """Losses on records that do not train, and errors by key path in the data's units."""
        return validate(
            forward,
            self._validation,
            world,
            tokenization=self.tokenization,
            objective=self.objective,
        )

    def exported(self) -> nn.Module:
        """Returns the network without its loss."""
        return self._network

    def blocks(self) -> Sequence[nn.Module]:
        """Return the network's layers."""
        return tuple(self._network.encoder_stack.layers)

    def description(self) -> FillInFacts:
        """The additions to model.json: all that is needed to read records as this model does, and what it has seen."""
        return FillInFacts(
            model=self._network.section,
            objective=self.objective,
            tokenization=describe_tokenization(self.tokenization),
            trained_on=self.trained_on(),
        )

    def flops_per_step(self) -> float:
        """Floating-point operations of one optimizer step over all ranks, forward and backward, for records of mean
        length.
        """
        return step_flops(
            self._network.section,
            self.objective,
            tokens=self.tokenization.tokens,
            length=self.batches.mean_length(),
            records=self.batches.train.global_batch_size,
        )


def _refuse_hidden_keys(model: ModelSection, objective: ObjectiveSection) -> None:
    """Raise RecipeError where a model that reads a value by its key would be trained without seeing keys."""
    if model.cells and objective.hide == "everything" and not objective.keys:
        raise RecipeError(
            "objective.hide: everything would hide keys, by which a model with model.cells reads its values",
            hint="--set objective.hide=values",
        )


def hidden_classes(objective: ObjectiveSection, tokenization: Tokenization, stores: Sequence[RecordStore]) -> Classes:
    """The columns of classes that training hides whole; none where texts are not hidden, or are written on."""
    if objective.classes == "never" or objective.keys or tokenization.ends:
        return {}
    return classes_of(stores)


def pretraining(recipe: PretrainRecipe, stores: Sequence[RecordStore], world: World) -> FillInTask:
    """The task of a recipe that starts from nothing."""
    tokenization = tokenization_for(recipe.model, recipe.scaling, stores)
    tokenization = replace(tokenization, classes=hidden_classes(recipe.objective, tokenization, stores))
    batches = fill_in_batches(stores, tokenization, data=recipe.data, objective=recipe.objective, train=recipe.train)
    torch.manual_seed(recipe.train.seed)  # the same weights on every rank
    network = Numformer(section_for(recipe.model, tokenization), tokenization.tokens)
    return FillInTask(recipe, network, batches, world)
