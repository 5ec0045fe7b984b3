"""The base of all trainings on objects, whatever they learn from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.astroclip.training.batches import ObjectBatch, ObjectBatches
from polycli.astroclip.training.described import Modalities, ModelFacts, StoreUse
from polycli.checkpoints.exported import with_earlier
from polycli.checkpoints.trained_on import TrainedOn
from polycli.console import warn
from polycli.engine.task import Task, World


class ObjectsTask(Task):
    """A task whose batches are objects: what it takes of `ObjectBatches`, and what model.json says of them."""

    family = "astroclip"
    recipe: PretrainRecipe | FinetuneRecipe
    network: AstroClip
    #: By where a checkpoint that this began from was named: what that had been trained on.
    earlier: Mapping[str, Mapping[str, TrainedOn]] = {}  # replaced, never changed

    def __init__(self, recipe: PretrainRecipe | FinetuneRecipe, batches: ObjectBatches, world: World) -> None:
        """Raise RecipeError where the global batch cannot be shared out to this many ranks."""
        self.recipe, self.verb, self.batches = recipe, recipe.verb, batches
        batches.check_division(world.size)
        self._validation, self._count = batches.validation(world)
        if not self._count:
            warn("no object is held back for validation, so nothing is validated")

    def micro_batches(self, step: int, world: World) -> list[ObjectBatch]:
        """Return this rank's part of the global batch of `step`."""
        return self.batches.micro_batches(step, world)

    def data_summary(self) -> dict[str, StoreUse]:
        """Return how many objects of each store train, and validate."""
        return self.batches.summary()

    def exported(self) -> nn.Module:
        """Return the network without its loss."""
        return self.network

    def blocks(self) -> Sequence[nn.Module]:
        """Return the network's repeated parts."""
        return self.network.blocks()

    def description(self) -> ModelFacts:
        """Return sizes, what images and spectra are, and the objects that the model has seen, now and before."""
        return ModelFacts(
            stage=self.recipe.stage if isinstance(self.recipe, PretrainRecipe) else "finetune",
            model=self.recipe.model,
            data=Modalities(image=self.batches.image, spectrum=self.batches.spectrum, scales=self.batches.scales),
            trained_on=with_earlier(self.batches.training.trained_on(), self.earlier),
        )
