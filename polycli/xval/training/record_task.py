"""The task of predicting one value per record, by a head on a checkpoint's network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polycli.checkpoints.trained_on import TrainedOn
from polycli.engine.ranks import gather
from polycli.engine.task import World
from polycli.xval.data.collate import Tokenization
from polycli.xval.data.store import RecordStore
from polycli.xval.data.tokenization import describe_tokenization
from polycli.xval.model.heads import HEAD_PREFIX, HeadDescription, RecordLoss, RecordModel
from polycli.xval.recipe.training import FinetuneRecipe
from polycli.xval.training.batches import SPLITS_USED, RecordBatches, open_pool
from polycli.xval.training.costs import flops_per_record
from polycli.xval.training.described import HeadFacts
from polycli.xval.training.labels import LabelledPool, LabelledReader, describe_head, labels_of
from polycli.xval.training.task import RecordsTask


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


class RecordTask(RecordsTask):
    """Predict one number or class per record."""

    def __init__(
        self,
        recipe: FinetuneRecipe,
        network: RecordModel,
        batches: RecordBatches,
        world: World,
        *,
        earlier: Mapping[str, Mapping[str, TrainedOn]],
    ) -> None:
        super().__init__(recipe, batches, world, earlier)
        self._network = network
        # What only fills in is not asked here, and without a gradient it would be in the way of none but the optimizer.
        for name, parameter in network.named_parameters():
            unused = name.startswith(("lm_head.", "num_head.", "quantile_head."))
            parameter.requires_grad = not unused and (not recipe.head.freeze or name.startswith(HEAD_PREFIX))
        self.model: nn.Module = RecordLoss(network)

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
        """Returns the network with its head."""
        return self._network

    def blocks(self) -> Sequence[nn.Module]:
        """Return the network's layers."""
        return tuple(self._network.encoder_stack.layers)

    def description(self) -> HeadFacts:
        """The additions to model.json: all that is needed to read records as this model does, and what it answers."""
        return HeadFacts(
            model=self._network.section,
            head=self._network.head,
            tokenization=describe_tokenization(self.batches.tokenization),
            trained_on=self.trained_on(),
        )

    def flops_per_step(self) -> float:
        """Floating-point operations of one optimizer step over all ranks, forward and backward, for records of mean
        length.
        """
        length = self.batches.mean_length()
        forward = flops_per_record(self._network.section, self._network.tokens, length, 0)
        return 3 * forward * self.batches.train.global_batch_size


def _hits(answered: Mapping[str, Tensor]) -> Tensor:
    """Whether each record's class was right; zeros for regression."""
    return answered.get("accuracy", torch.zeros(len(answered["losses"]))).cpu().double()
