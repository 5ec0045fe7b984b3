"""The costs of a training, from sizes alone: operations of a step, and memory of activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

import torch
from torch import Tensor

from polycli.engine.blocks import recompute_blocks
from polycli.engine.costs.activations import kept_bytes
from polycli.engine.costs.flops import PASSES, forward_flops, over_blocks
from polycli.mpp.model.baselines.tokens import hidden_places
from polycli.mpp.model.baselines.vit import VideoTransformer
from polycli.mpp.model.jitter import widened_grid
from polycli.mpp.model.kinds import make_network
from polycli.mpp.model.network import Network
from polycli.mpp.recipe.networks import NetworkSection, UnetSection
from polycli.mpp.recipe.training import ModelSection, ObjectiveSection, PretrainRecipe


def step_flops(
    recipe: PretrainRecipe, mixture: Iterable[tuple[float, int, tuple[int, int]]], *, decode: bool = True
) -> float:
    """Count the operations of one optimizer step over all ranks.

    Args:
        recipe: sizes, history, batch, and how many steps are unrolled.
        mixture: by dataset its share of the draws, how many fields it has, and the grid that is computed on: where
            patches are jittered, as `jitter.widened_grid` gives it.
        decode: whether the tokens become a frame.
    """
    forward = sum(
        share
        * flops_per_sample(
            recipe.model, recipe.data.history, fields, grid, decode=decode, mask_ratio=_mask_ratio(recipe.objective)
        )
        for share, fields, grid in mixture
    )
    return _passes(recipe.objective) * forward * recipe.train.global_batch_size


def _passes(objective: ObjectiveSection) -> int:
    """Counts a sample's passes through the network in a step; a backward pass counts as two."""
    if objective.unroll_gradients == "last_step":
        return objective.unroll - 1 + PASSES
    return objective.unroll * PASSES


def _mask_ratio(objective: ObjectiveSection) -> float | None:
    return objective.mask_ratio if objective.kind == "tubes" else None


def grid_computed_on(
    section: NetworkSection, grid: tuple[int, int], boundary_flags: tuple[int, int]
) -> tuple[int, int]:
    """Returns the points along (H, W) that training computes on: more than the data's where patches are jittered."""
    if not isinstance(section, ModelSection) or section.jitter == "none":
        return grid
    return widened_grid(grid, boundary_flags, section.patch_size)


@lru_cache(maxsize=256)
def flops_per_sample(
    section: NetworkSection,
    history: int,
    channels: int,
    grid: tuple[int, int],
    *,
    decode: bool = True,
    mask_ratio: float | None = None,
) -> int:
    """Count the operations of one forward pass for one sample.

    Args:
        section: the sizes of the network.
        history: frames of the context.
        channels: fields of the sample.
        grid: points along H and W.
        decode: whether the tokens become a frame.
        mask_ratio: the part of the tubes that is hidden and filled in; none forecasts a frame.
    """

    def forward(model: Network) -> object:
        fields = torch.empty(1, history, channels, *grid)
        if mask_ratio is not None:
            return _fill(model, fields, mask_ratio)
        function = model if decode else model.features
        return function(fields, torch.zeros(channels, dtype=torch.long), torch.zeros(1, 2, dtype=torch.long))

    return _over_blocks(section, lambda shallow: forward_flops(lambda: make_network(shallow), forward))


def activation_bytes(recipe: PretrainRecipe, channels: int, grid: tuple[int, int], batch: int) -> int:
    """Count what the forward passes of `batch` samples keep for their backward pass, uncompiled.

    An unrolled training keeps all of its steps, but those that are computed without gradients.
    """

    def make(section: NetworkSection) -> Network:
        model = make_network(section)
        if recipe.engine.activation_checkpointing:
            recompute_blocks(model.blocks)
        return model

    def forward(model: Network) -> object:
        fields = torch.empty(batch, recipe.data.history, channels, *grid)
        labels, boundaries = torch.zeros(channels, dtype=torch.long), torch.zeros(batch, 2, dtype=torch.long)
        ratio = _mask_ratio(recipe.objective)
        more = {}
        if recipe.data.mixed_micro_batches:
            labels, more = labels.expand(batch, -1), {"grids": torch.tensor([grid] * batch)}
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.engine.precision == "bfloat16"):
            if ratio is not None:
                return _fill(model, fields, ratio)
            return model(fields, labels, boundaries, **more)

    kept = 1 if recipe.objective.unroll_gradients == "last_step" else recipe.objective.unroll
    return kept * _over_blocks(recipe.model, lambda shallow: kept_bytes(lambda: make(shallow), forward))


def _fill(model: Network, fields: Tensor, mask_ratio: float) -> Tensor:
    """Have a network fill in hidden tubes of frames, whichever they are."""
    assert isinstance(model, VideoTransformer)  # noqa: S101  # as recipes are checked for
    batch, _, channels = fields.shape[:3]
    tubes = model.tubes(fields, torch.zeros(batch, 2, dtype=torch.long))
    places = tubes.shape[2] * tubes.shape[3]
    selection = torch.zeros(1, channels, len(model.section.fields))
    order = torch.zeros(batch, places, dtype=torch.long)
    return model.fill(tubes, selection, order, hidden_places(places, mask_ratio))


def _over_blocks(section: NetworkSection, cost: Callable[[NetworkSection], int]) -> int:
    """The cost of a network, from that of shallow ones where all blocks between the first and the last cost the same.

    In a U-Net they do not: its blocks belong to resolutions.
    """
    if isinstance(section, ModelSection):
        # How far the grid is moved costs nothing, and cannot be asked where there are no numbers.
        section = section.model_copy(update={"jitter": "none"})
    if isinstance(section, UnetSection):
        return cost(section)
    blocks: int = section.blocks  # type: ignore[attr-defined]  # All others have them.
    return over_blocks(blocks, lambda number: cost(section.model_copy(update={"blocks": number})))
