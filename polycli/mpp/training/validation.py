"""Scores during training: fixed windows of rows that do not train, the same numbers on any number of ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polycli.engine.batches.prefetch import read_ahead
from polycli.engine.ranks import gather
from polycli.engine.task import Batch, World
from polycli.mpp.model.metrics import nrmse
from polycli.mpp.training.batches import ValidationPart

#: A persistence error below this is that of a frame that does not change; there is nothing to be better than.
SMALLEST_CHANGE = 1e-6


def validate(forward: nn.Module, parts: Sequence[ValidationPart], world: World) -> dict[str, float]:
    """Errors per dataset and, where there is anything to validate on, `validation/loss`.

    `validation/loss` is the mean over datasets of the model's NRMSE over persistence's. It weighs a slow physics as
    much as a fast one, and a dataset of few windows as much as one of many; by plain NRMSE, the dataset with the
    largest changes would choose the best checkpoint alone.
    """
    scores: dict[str, float] = {}
    ratios = []
    for part in parts:
        rows = torch.stack([_score(forward, batch) for batch in read_ahead(part.batches)])
        model, variance, persistence = in_order(rows, world)[: part.count].mean(dim=0).tolist()
        ratios.append(model / max(persistence, SMALLEST_CHANGE))
        scores[f"validation/{part.dataset}/nrmse"] = model
        scores[f"validation/{part.dataset}/vrmse"] = variance
        scores[f"validation/{part.dataset}/nrmse_over_persistence"] = ratios[-1]
    return {"validation/loss": sum(ratios) / len(ratios), **scores} if ratios else {}


def _score(forward: nn.Module, batch: Batch) -> Tensor:
    """(B, 3) float64 on the CPU: the model's NRMSE, its VRMSE and persistence's NRMSE, each the mean over fields."""
    _, metrics = forward(batch)
    last, target = batch["fields"][:, -2], batch["fields"][:, -1]
    persistence = nrmse(last, target).mean(dim=-1)
    return torch.stack([metrics["nrmse"].cpu(), metrics["vrmse"].cpu(), persistence], dim=-1).double()


def in_order(rows: Tensor, world: World) -> Tensor:
    """(turns, B, K) of this rank to (turns * ranks * B, K) in the order of the windows, on every rank.

    Values are gathered and averaged in one order, not summed per rank, so that the mean does not depend on the ranks.
    """
    return torch.stack(gather(world, rows), dim=1).flatten(0, 2)
