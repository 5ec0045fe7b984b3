"""Scores during training, over fixed objects that do not train: the same numbers on any number of ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from polycli.astroclip.training.batches import ObjectBatch
from polycli.astroclip.training.contrastive import ranks_of_partners, unit_vectors
from polycli.engine.batches.prefetch import read_ahead
from polycli.engine.ranks import gather
from polycli.engine.task import World

#: Among so many nearest a partner is looked for.
NEAREST = (1, 10)


def run_over(
    forward: nn.Module, batches: Sequence[ObjectBatch], count: int, world: World
) -> tuple[Float[Tensor, " n"], dict[str, Tensor]]:
    """Losses per micro-batch, and each metric of all validation objects in their order, on the CPU of every rank."""
    losses, found = [], []
    for batch in read_ahead(batches):
        loss, metrics = forward(batch)
        losses.append(loss.detach().float().cpu())
        found.append({name: values.detach().cpu() for name, values in metrics.items()})
    joined = {name: _in_order(torch.stack([turn[name] for turn in found]), world)[:count] for name in found[0]}
    return _in_order(torch.stack(losses)[:, None], world), joined


def partner_scores(
    one: Float[Tensor, "n d"], other: Float[Tensor, "n d"], *, scale: float, both_ways: bool = True
) -> dict[str, float]:
    """The contrastive loss among all validation objects, and how often the right partner is among the nearest."""
    products = scale * unit_vectors(one) @ unit_vectors(other).T
    labels = torch.arange(len(one))
    loss = functional.cross_entropy(products, labels)
    places = [ranks_of_partners(one, other)]
    if both_ways:
        loss = (loss + functional.cross_entropy(products.T, labels)) / 2
        places.append(ranks_of_partners(other, one))
    found = torch.cat(places)
    recall = {f"validation/recall_at_{most}": float((found < most).float().mean()) for most in NEAREST}
    return {"validation/loss": float(loss), **recall, "validation/median_rank": float(found.float().median()) + 1}


def coefficient_of_determination(prediction: Float[Tensor, " n"], target: Float[Tensor, " n"]) -> float:
    """R2 over the objects whose target is known; NaN where there are fewer than two, or all are the same."""
    known = torch.isfinite(target)
    prediction, target = prediction[known].double(), target[known].double()
    if not bool((target != target[:1]).any()):
        return float("nan")
    return float(1 - (prediction - target).square().sum() / (target - target.mean()).square().sum())


def _in_order(values: Tensor, world: World) -> Tensor:
    """(turns, B, ...) of this rank to (turns * ranks * B, ...) in the order of the objects, on every rank."""
    return torch.stack(gather(world, values), dim=1).flatten(0, 2)
