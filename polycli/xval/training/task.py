"""The base of all trainings on records, whatever they ask of a record."""

from __future__ import annotations

from collections.abc import Mapping

from polycli.checkpoints.exported import with_earlier
from polycli.checkpoints.trained_on import TrainedOn
from polycli.console import warn
from polycli.engine.layers import depths_in_order
from polycli.engine.task import Task, World
from polycli.xval.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.xval.training.batches import RecordBatch, RecordBatches
from polycli.xval.training.described import StoreUse


class RecordsTask(Task):
    """A task whose batches are records: what it takes of `RecordBatches`."""

    family = "xval"
    lengths_vary = True

    def __init__(
        self,
        recipe: PretrainRecipe | FinetuneRecipe,
        batches: RecordBatches,
        world: World,
        earlier: Mapping[str, Mapping[str, TrainedOn]],
    ) -> None:
        """Check that the batches can be shared out to this many ranks.

        Args:
            recipe: as the run saves it.
            batches: what is trained and validated on.
            world: the ranks.
            earlier: by where a checkpoint that this began from was named: what that had been trained on.
        """
        self.recipe, self.verb, self.batches, self._earlier = recipe, recipe.verb, batches, earlier
        batches.check_division(world.size)
        self._validation = batches.validation(world)
        if not self._validation.batches:
            warn("no record is in the validation split, so nothing is validated")

    def micro_batches(self, step: int, world: World) -> list[RecordBatch]:
        """Return this rank's part of the global batch of `step`."""
        return self.batches.micro_batches(step, world)

    def costliest_batches(self, world: World) -> list[RecordBatch]:
        """Return this rank's part of the longest records."""
        return self.batches.costliest(world)

    def depths(self) -> Mapping[str, int]:
        """Embeddings lie lowest, then the layers one by one, then the heads."""
        return depths_in_order(self.model, self.blocks())

    def tokens_per_step(self) -> float:
        """Count the tokens of records of the mean length, without padding."""
        return self.batches.mean_length() * self.batches.train.global_batch_size

    def data_summary(self) -> dict[str, StoreUse]:
        """Return how many records, tokens and numbers of each store are used."""
        return self.batches.summary()

    def remarks(self) -> tuple[str]:
        """Say how much of a batch is padding."""
        return (f"{self.batches.padding_share():.1%} of the tokens in a batch are padding",)

    def trained_on(self) -> dict[str, TrainedOn]:
        """Return what model.json says of the records that this model has seen, now and before."""
        return with_earlier(self.batches.trained_on(), self._earlier)
