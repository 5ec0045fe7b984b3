"""Predict the next frame of every dataset in a mixture: the tasks that the engine trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from polycli.checkpoints.exported import with_earlier
from polycli.checkpoints.trained_on import TrainedOn
from polycli.console import warn
from polycli.engine.layers import depths_in_order
from polycli.engine.task import MicroBatch, Task, World
from polycli.mpp.data.about import statistics_of
from polycli.mpp.data.oddities import warn_of_scale
from polycli.mpp.data.windows import find_windows
from polycli.mpp.model.baselines.tokens import TubeEmbedding
from polycli.mpp.model.kinds import make_network
from polycli.mpp.model.network import Network
from polycli.mpp.model.stem import FieldProjection
from polycli.mpp.model.trained import TrainedPhysics
from polycli.mpp.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.mpp.training.batches import MixtureBatches, WindowFinder
from polycli.mpp.training.conditions import take_scales, with_parameters
from polycli.mpp.training.costs import grid_computed_on, step_flops
from polycli.mpp.training.described import Context, ModelFacts, StoreUse
from polycli.mpp.training.objective import NextFrame
from polycli.mpp.training.start import Start
from polycli.mpp.training.validation import validate
from polycli.store.reader import Store
from polycli.workflow.overlap import trained_entry


class NextFrameTask(Task):
    """Predict the next frame of every dataset in the mixture."""

    family = "mpp"

    def __init__(
        self,
        settings: PretrainRecipe,
        stores: Sequence[Store],
        world: World,
        network: Network | None,
        find: WindowFinder = find_windows,
    ) -> None:
        """Raise RecipeError or StoreError where settings, stores and processes do not fit each other.

        Without a network, a new one is made from the seed.
        """
        settings = with_parameters(settings.complete(), stores)
        self._settings = settings
        self.batches = MixtureBatches(stores, settings, find)
        self.batches.check_division(world.size)
        self._validation = self.batches.validation(world)
        _warn_of_missing_validation(self.batches)
        for store in stores:
            warn_of_scale(store.name, statistics_of(store.manifest, store.path))
        torch.manual_seed(settings.train.seed)  # the same weights on every rank
        if network is None:
            network = make_network(settings.model)
            take_scales(network, stores, settings.data)
        self._network = network
        self.model: nn.Module = NextFrame(self._network, settings.objective)

    def micro_batches(self, step: int, world: World) -> Sequence[MicroBatch]:
        """This rank's part of the global batch of `step`."""
        return self.batches.micro_batches(step, world)

    def costliest_batches(self, world: World) -> Sequence[MicroBatch]:  # noqa: ARG002  # The same on every rank.
        """One micro-batch of each dataset, or the largest that mix them: the engine's rehearsal takes them."""
        return self.batches.costliest()

    def data_summary(self) -> dict[str, StoreUse]:
        """Return how much of each store is used, and how often it is drawn."""
        return self.batches.summary()

    def remarks(self) -> Sequence[str]:
        """Say how many trajectories train where the recipe takes a part of them."""
        if self._settings.data.train_trajectories is None:
            return ()
        return [
            f"{name}: trains on {len(windows.rows)} of {windows.store.manifest.splits.get('train', 0)} trajectories, "
            "the first by content hash"
            for name, windows in self.batches.training.items()
        ]

    def validate(self, forward: nn.Module, world: World) -> dict[str, float]:
        """Errors per dataset; `validation/loss` is the mean over datasets of the model's NRMSE over persistence's."""
        return validate(forward, self._validation, world)

    def exported(self) -> nn.Module:
        """Returns the network without its loss."""
        return self._network

    def blocks(self) -> Sequence[nn.Module]:
        """Return the network's blocks."""
        return tuple(self._network.blocks)

    def depths(self) -> Mapping[str, int] | None:
        """Field projection and stem lie lowest, then the blocks one by one, then the head; None for a U-Net.

        What tells of positions and conditions counts as one with the head, whose whole rate it takes: finetuning may
        have just added it.
        """
        return depths_in_order(self.model, self.blocks()) if self._network.is_chain else None

    def description(self) -> ModelFacts:
        """The additions to model.json: sizes, field names, context, and the hashes of the trajectories trained on."""
        data = self._settings.data
        return ModelFacts(
            model=self._settings.model,
            data=Context(history=data.history, time_stride=data.time_stride),
            trained={
                name: TrainedPhysics.of_store(windows.store, time_stride=data.time_stride)
                for name, windows in self.batches.training.items()
            },
            trained_on=with_earlier(self._trained_on(), {}),
        )

    def _trained_on(self) -> dict[str, TrainedOn]:
        """Maps each dataset of this training to its hash and those of the trajectories that train."""
        return {
            name: trained_entry(windows.store, windows.rows, listed=True)
            for name, windows in self.batches.training.items()
        }

    def flops_per_step(self) -> float:
        """Floating-point operations of one optimizer step over all ranks, forward and backward, averaged over the
        mixture.
        """
        return step_flops(
            self._settings,
            [
                (
                    self.batches.shares[name],
                    len(windows.labels),
                    grid_computed_on(self._settings.model, windows.grid, windows.boundary_flags),
                )
                for name, windows in self.batches.training.items()
            ],
        )


class NextFramePretraining(NextFrameTask):
    """The task of training a new network on stores."""

    verb = "pretrain"

    def __init__(self, recipe: PretrainRecipe, stores: Sequence[Store], world: World) -> None:
        """Raise RecipeError or StoreError where recipe, stores and processes do not fit each other."""
        super().__init__(recipe, stores, world, network=None)
        self.recipe = self._settings


class NextFrameFinetuning(NextFrameTask):
    """The network of a checkpoint, with a place for each new field, on stores."""

    verb = "finetune"

    def __init__(
        self,
        recipe: FinetuneRecipe,
        start: Start,
        stores: Sequence[Store],
        world: World,
        find: WindowFinder = find_windows,
    ) -> None:
        """Raise RecipeError or StoreError where recipe, checkpoint, stores and processes do not fit each other."""
        super().__init__(start.settings, stores, world, network=start.network, find=find)
        self.recipe = recipe.model_copy(update={"data": start.settings.data})
        self._earlier = {"--checkpoint": dict(start.trained_on)}
        self._earlier_physics = start.trained
        self._has_new_fields = bool(start.new_fields)

    def depths(self) -> Mapping[str, int] | None:
        """Stem, blocks and head lie as in pretraining; a field projection with columns of new fields, which have learnt
        nothing yet, counts as one with the head.
        """
        depths = super().depths()
        if depths is None or not self._has_new_fields:
            return depths
        projections = (
            module for module in self._network.modules() if isinstance(module, FieldProjection | TubeEmbedding)
        )
        new = {id(parameter) for projection in projections for parameter in projection.parameters()}
        names = {name for name, parameter in self.model.named_parameters() if id(parameter) in new}
        return {name: max(depths.values()) if name in names else depth for name, depth in depths.items()}

    def description(self) -> ModelFacts:
        """The additions to model.json, about the data of this training and those that the checkpoint had seen."""
        facts = super().description()
        before = {f"{name} (--checkpoint)": physics for name, physics in self._earlier_physics.items()}
        return replace(
            facts,
            trained={**facts.trained, **before},
            trained_on=with_earlier(self._trained_on(), self._earlier),
        )


def _warn_of_missing_validation(batches: MixtureBatches) -> None:
    missing = [name for name, windows in batches.held_back.items() if len(windows) == 0]
    if missing:
        warn(f"{', '.join(missing)}: no trajectory is held back, so nothing is validated there")
