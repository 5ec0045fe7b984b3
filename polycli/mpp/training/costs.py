"""The costs of a training, from sizes alone: operations of a step, and memory of activations."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import torch

from polycli.engine.blocks import recompute_blocks
from polycli.engine.costs.activations import kept_bytes
from polycli.engine.costs.flops import PASSES, forward_flops, over_blocks
from polycli.mpp.model.avit import AViT
from polycli.mpp.recipe.training import ModelSection, PretrainRecipe


def step_flops(
    recipe: PretrainRecipe, mixture: Iterable[tuple[float, int, tuple[int, int]]], *, decode: bool = True
) -> float:
    """Count the operations of one optimizer step over all ranks.

    Args:
        recipe: sizes, history and batch.
        mixture: by dataset its share of the draws, how many fields it has, and its grid.
        decode: whether the tokens become a frame.
    """
    forward = sum(
        share * flops_per_sample(recipe.model, recipe.data.history, fields, grid, decode=decode)
        for share, fields, grid in mixture
    )
    return PASSES * forward * recipe.train.global_batch_size


@lru_cache(maxsize=256)
def flops_per_sample(
    section: ModelSection, history: int, channels: int, grid: tuple[int, int], *, decode: bool = True
) -> int:
    """Count the operations of one forward pass for one sample.

    Args:
        section: the sizes of the network.
        history: frames of the context.
        channels: fields of the sample.
        grid: points along H and W.
        decode: whether the tokens become a frame.
    """

    def forward(model: AViT) -> object:
        fields = torch.empty(1, history, channels, *grid)
        function = model if decode else model.features
        return function(fields, torch.zeros(channels, dtype=torch.long), torch.zeros(1, 2, dtype=torch.long))

    def cost(blocks: int) -> int:
        return forward_flops(lambda: AViT(section.model_copy(update={"blocks": blocks})), forward)

    return over_blocks(section.blocks, cost)


def activation_bytes(recipe: PretrainRecipe, channels: int, grid: tuple[int, int], batch: int) -> int:
    """Count what one forward pass of `batch` samples keeps for its backward pass, uncompiled."""

    def make(blocks: int) -> AViT:
        model = AViT(recipe.model.model_copy(update={"blocks": blocks}))
        if recipe.engine.activation_checkpointing:
            recompute_blocks(model.blocks)
        return model

    def forward(model: AViT) -> object:
        fields = torch.empty(batch, recipe.data.history, channels, *grid)
        labels, boundaries = torch.zeros(channels, dtype=torch.long), torch.zeros(batch, 2, dtype=torch.long)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.engine.precision == "bfloat16"):
            return model(fields, labels, boundaries)

    return over_blocks(recipe.model.blocks, lambda blocks: kept_bytes(lambda: make(blocks), forward))
