"""What a training costs: operations of a step, and memory of activations, from sizes alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from polycli.engine.activations import kept_bytes
from polycli.engine.blocks import recompute_blocks
from polycli.engine.flops import over_blocks
from polycli.mpp.model.avit import AViT, flops_per_sample
from polycli.mpp.recipe.training import PretrainRecipe


def step_flops(recipe: PretrainRecipe, mixture: Iterable[tuple[float, int, tuple[int, int]]]) -> float:
    """Count the operations of one optimizer step over all ranks.

    Args:
        recipe: sizes, history and batch.
        mixture: by dataset its share of the draws, how many fields it has, and its grid.
    """
    forward = sum(
        share * flops_per_sample(recipe.model, recipe.data.history, fields, grid) for share, fields, grid in mixture
    )
    # The backward pass makes two products for each one of the forward pass.
    return 3 * forward * recipe.train.global_batch_size


def activation_bytes(recipe: PretrainRecipe, channels: int, grid: tuple[int, int], batch: int) -> int:
    """Count what one forward pass of `batch` samples keeps for its backward pass, uncompiled."""

    def build(blocks: int) -> tuple[nn.Module, Callable[[], object]]:
        model = AViT(recipe.model.model_copy(update={"blocks": blocks}))
        if recipe.engine.activation_checkpointing:
            recompute_blocks(model.blocks)
        fields = torch.empty(batch, recipe.data.history, channels, *grid)
        labels, boundaries = torch.zeros(channels, dtype=torch.long), torch.zeros(batch, 2, dtype=torch.long)

        def forward() -> object:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.engine.precision == "bfloat16"):
                return model(fields, labels, boundaries)

        return model, forward

    return over_blocks(recipe.model.blocks, lambda blocks: kept_bytes(lambda: build(blocks)))
