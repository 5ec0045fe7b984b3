"""Predict the next frame of every dataset in a mixture: what the engine trains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from polycli.console import warn
from polycli.engine.task import Task, World
from polycli.mpp.data.windows import WindowBatch
from polycli.mpp.model.avit import AViT, flops_per_sample
from polycli.mpp.recipe.training import PretrainRecipe
from polycli.mpp.training.batches import MixtureBatches
from polycli.mpp.training.objective import NextFrame
from polycli.mpp.training.validation import validate
from polycli.store.reader import Store


class NextFramePretraining(Task):
    """Predict the next frame of every dataset in the mixture: the `Task` that the engine trains."""

    family = "mpp"
    verb = "pretrain"

    def __init__(self, recipe: PretrainRecipe, stores: Sequence[Store], world: World) -> None:
        """Raise RecipeError or StoreError where recipe, stores and processes do not fit each other."""
        self.recipe: PretrainRecipe = recipe
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

    def data_summary(self) -> dict[str, Any]:
        """Return how much of each store is used, and how often it is drawn."""
        return self.batches.summary()

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


def _warn_of_missing_validation(batches: MixtureBatches) -> None:
    missing = [name for name, windows in batches.held_back.items() if len(windows) == 0]
    if missing:
        warn(f"{', '.join(missing)}: no trajectory is held back, so nothing is validated there")
