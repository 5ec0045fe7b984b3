"""The costs of a training, from sizes alone: operations of a step, and memory of activations."""

from __future__ import annotations

from functools import lru_cache, partial

import torch

from polycli.engine.blocks import recompute_blocks
from polycli.engine.costs.activations import kept_bytes
from polycli.engine.costs.flops import PASSES, forward_flops, over_blocks
from polycli.xval.model.encoder import EncoderLayer, EncoderStack
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ModelSection, ObjectiveSection


def step_flops(
    section: ModelSection, objective: ObjectiveSection, *, tokens: int, length: float, records: int
) -> float:
    """Operations of one optimizer step over all ranks, for records of so many tokens."""
    predicted = length if section.causal else objective.mask_probability * length
    return PASSES * flops_per_record(section, tokens, length, predicted) * records


@lru_cache(maxsize=256)
def flops_per_record(section: ModelSection, tokens: int, length: float, predicted: float) -> float:
    """Count the operations of one forward pass for one record.

    Args:
        section: the network.
        tokens: size of the vocabulary.
        length: tokens of the record, padding included; a mean need not be whole.
        predicted: positions at which the heads answer.
    """
    # A layer costs a * length + b * length^2, so one token and two tell of any number.
    one, two = (
        forward_flops(lambda: EncoderLayer(section), partial(_layer, section.embed_dim, count)) for count in (1, 2)
    )
    square = (two - 2 * one) / 2
    heads = forward_flops(lambda: Numformer(section.model_copy(update={"blocks": 1}), tokens), _heads)
    return section.blocks * ((one - square) * length + square * length**2) + heads * predicted


def _layer(width: int, count: int, layer: EncoderLayer) -> object:
    return layer(torch.empty(1, count, width), None)


def _heads(model: Numformer) -> None:
    hidden = torch.empty(1, model.section.embed_dim)
    model.logits(hidden)
    if model.num_head is not None:
        model.number_codes(hidden)
    if model.quantile_head is not None:
        model.quantile_codes(hidden)


def activation_bytes(section: ModelSection, batch: int, tokens: int, predicted: float, *, recompute: bool) -> int:
    """Count what the forward pass of a micro-batch of full context keeps for its backward pass, heads included.

    Args:
        section: the network.
        batch: records.
        tokens: size of the vocabulary.
        predicted: the part of the positions at which the heads answer.
        recompute: whether layers are recomputed in the backward pass.
    """

    def make(blocks: int) -> EncoderStack:
        stack = EncoderStack(section.model_copy(update={"blocks": blocks}))
        if recompute:
            recompute_blocks(stack.layers)
        return stack

    def forward(stack: EncoderStack) -> object:
        return stack(torch.empty(batch, section.context, section.embed_dim, requires_grad=True), None)

    kept = over_blocks(section.blocks, lambda blocks: kept_bytes(lambda: make(blocks), forward))
    # The heads keep their input, two hidden vectors each, before and after GELU, and the logits with their softmax.
    heads = (4 if section.continuous else 2) * section.feed_forward + section.embed_dim + 2 * tokens
    return kept + 4 * int(batch * section.context * predicted) * heads
