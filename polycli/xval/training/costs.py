"""What a training costs: operations of a step, and memory of activations, from sizes alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from polycli.engine.activations import kept_bytes
from polycli.engine.blocks import recompute_blocks
from polycli.engine.flops import over_blocks
from polycli.xval.model.encoder import EncoderStack
from polycli.xval.model.numformer import flops_per_record
from polycli.xval.recipe.model import ModelSection, ObjectiveSection


def step_flops(
    section: ModelSection, objective: ObjectiveSection, *, tokens: int, length: float, records: int
) -> float:
    """Operations of one optimizer step over all ranks, for records of so many tokens."""
    predicted = length if section.causal else objective.mask_probability * length
    # The backward pass makes two products for each one of the forward pass.
    return 3 * flops_per_record(section, tokens, length, predicted) * records


def activation_bytes(section: ModelSection, batch: int, tokens: int, predicted: float, *, recompute: bool) -> int:
    """Count what the forward pass of a micro-batch of full context keeps for its backward pass, heads included.

    Args:
        section: the network.
        batch: records.
        tokens: size of the vocabulary.
        predicted: the part of the positions at which the heads answer.
        recompute: whether layers are recomputed in the backward pass.
    """

    def build(blocks: int) -> tuple[nn.Module, Callable[[], object]]:
        stack = EncoderStack(section.model_copy(update={"blocks": blocks}))
        if recompute:
            recompute_blocks(stack.layers)
        embedded = torch.empty(batch, section.context, section.embed_dim, requires_grad=True)
        return stack, lambda: stack(embedded, None)

    kept = over_blocks(section.blocks, lambda blocks: kept_bytes(lambda: build(blocks)))
    # The heads keep their input, two hidden vectors each, before and after GELU, and the logits with their softmax.
    heads = (4 if section.continuous else 2) * section.feed_forward + section.embed_dim + 2 * tokens
    return kept + 4 * int(batch * section.context * predicted) * heads
