"""Maps the encoders' outputs into the common space, and from there to properties.

The names in the state dict are those of the published checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from polycli.astroclip.model.posteriors import Flow, posterior_of
from polycli.astroclip.model.specformer import TwoLayers
from polycli.astroclip.model.votes import concentrations
from polycli.astroclip.recipe.model import HeadSection, PropertySection


class CrossAttention(nn.Module):
    """A learned query gathers what it needs from the tokens (Parker et al. 2024, section 4.3)."""

    def __init__(self, section: HeadSection, inputs: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, section.embed_dim))
        self.multihead_attn = _QueryAttention(section.embed_dim, inputs, section.num_heads)
        self.dropout = nn.Dropout(section.dropout)
        self.layernorm = nn.LayerNorm(section.embed_dim)

    def forward(
        self, tokens: Float[Tensor, "b t d"], share: Float[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b e"]:
        """Returns one vector per object, by attention of the learned query over its tokens, each by its share."""
        return self.layernorm(self.dropout(self.multihead_attn(self.query, tokens, share)))  # type: ignore[no-any-return]

    def attention(
        self, tokens: Float[Tensor, "b t d"], share: Float[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b h t"]:
        """Returns the weight that each head of the query gives to each token; adds up to one over the tokens of an
        object. With shares, a token counts by its share.
        """
        return self.multihead_attn.weights(self.query, tokens, share)


def last_layers(section: HeadSection) -> TwoLayers:
    """Builds the layers that follow the cross-attention."""
    return TwoLayers(section.embed_dim, 4 * section.embed_dim, section.dropout)


class _QueryAttention(nn.Module):
    """Attention of one query, with the parameters of torch's `MultiheadAttention`.

    torch keeps one matrix for queries, keys and values where all are of one width, and three where they are not.
    """

    def __init__(self, width: int, inputs: int, heads: int) -> None:
        super().__init__()
        self.heads, self.joined = heads, inputs == width
        if self.joined:
            self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
            nn.init.xavier_uniform_(self.in_proj_weight)
        else:
            for name, size in (("q", width), ("k", inputs), ("v", inputs)):
                weight = nn.Parameter(torch.empty(width, size))
                nn.init.xavier_uniform_(weight)
                self.register_parameter(f"{name}_proj_weight", weight)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Float[Tensor, "1 1 e"], tokens: Float[Tensor, "b t d"], share: Float[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b e"]:
        weights = self.weights(query, tokens, share)
        value = functional.linear(tokens, self._matrices()[2], self.in_proj_bias.chunk(3)[2])
        mixed = torch.einsum("bht,bthe->bhe", weights.to(value.dtype), self._by_head(value))
        return self.out_proj(mixed.flatten(1))  # type: ignore[no-any-return]

    def weights(
        self, query: Float[Tensor, "1 1 e"], tokens: Float[Tensor, "b t d"], share: Float[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b h t"]:
        """The softmax of the query's products with the keys."""
        q_weight, k_weight, _ = self._matrices()
        q_bias, k_bias, _ = self.in_proj_bias.chunk(3)
        asked = self._by_head(functional.linear(query, q_weight, q_bias))[0, 0]
        keys = self._by_head(functional.linear(tokens, k_weight, k_bias))
        products = torch.einsum("he,bthe->bht", asked.to(keys.dtype), keys) / math.sqrt(asked.shape[1])
        products = products.float()
        if share is not None:
            products = products + share.log()[:, None]
        return products.softmax(dim=2)

    def _by_head(self, values: Float[Tensor, "b t e"]) -> Float[Tensor, "b t h c"]:
        return values.reshape(*values.shape[:2], self.heads, -1)

    def _matrices(self) -> Sequence[Tensor]:
        """Weights of queries, keys and values."""
        if self.joined:
            return self.in_proj_weight.chunk(3)
        return [self.get_parameter(f"{name}_proj_weight") for name in "qkv"]


class MlpHead(nn.Sequential):
    """Two linear layers on pooled features: MoCo's projection, and the workshop version's image head."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, outputs))


class HeadOutputs(NamedTuple):
    """The answers of a property head about a batch."""

    #: Of each number, the outputs from which its posterior is read.
    numbers: Float[Tensor, "b n o"]
    #: Of each classification, the scores of its classes.
    classes: list[Float[Tensor, "b k"]]
    #: Dirichlet concentrations of all answers to all questions; None where no votes were learnt.
    votes: Float[Tensor, "b a"] | None


class PropertyHead(nn.Module):
    """Properties from embeddings: hidden layers with ReLU, then numbers in their own units, class scores and votes.

    Inputs and numbers are standardised with `centre` and `scale`, which `finetune` takes from the training rows.
    """

    centre: Tensor
    scale: Tensor
    input_centre: Tensor
    input_scale: Tensor

    def __init__(self, section: PropertySection, inputs: int) -> None:
        super().__init__()
        self.section = section
        self.posterior = posterior_of(section)
        widths = (inputs, *section.hidden)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(section.dropout)]
        self.hidden = nn.Sequential(*layers)
        self.numbers = (
            nn.Linear(widths[-1], len(section.regression) * self.posterior.outputs) if section.regression else None
        )
        self.classes = nn.ModuleList(nn.Linear(widths[-1], len(names)) for names in section.classification.values())
        self.votes = None if section.votes is None else nn.Linear(widths[-1], len(section.votes.columns))
        self.register_buffer("centre", torch.zeros(len(section.regression)))
        self.register_buffer("scale", torch.ones(len(section.regression)))
        self.register_buffer("input_centre", torch.zeros(inputs))
        self.register_buffer("input_scale", torch.ones(inputs))

    def forward(self, vectors: Float[Tensor, "b d"]) -> HeadOutputs:
        """Outputs of numbers, scores of classes and concentrations of votes, of a batch of vectors."""
        hidden = self.hidden((vectors.float() - self.input_centre) / self.input_scale)
        count = len(self.section.regression)
        numbers = hidden.new_zeros(len(hidden), 0, self.posterior.outputs)
        if self.numbers is not None:
            numbers = self.numbers(hidden).float().reshape(-1, count, self.posterior.outputs)
        votes = None
        if self.votes is not None and self.section.votes is not None:
            votes = concentrations(self.votes(hidden).float(), self.section.votes.lowest, self.section.votes.highest)
        return HeadOutputs(numbers, [layer(hidden).float() for layer in self.classes], votes)

    def standardised(self, numbers: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """Numbers in the units of their columns as the head learns them."""
        return (numbers - self.centre) / self.scale

    def in_units(
        self, outputs: Float[Tensor, "b n o"], levels: Float[Tensor, "*b q"] | None = None
    ) -> Float[Tensor, "b n q"]:
        """The mean of each number, or its quantiles in rising order, in the units of its column.

        `levels`: quantiles that are asked for instead of the section's, which a flow alone can give.
        """
        posterior = self.posterior
        if levels is None:
            found = posterior.values(outputs)
        elif isinstance(posterior, Flow):
            found = posterior.quantiles(outputs, levels)
        else:
            raise TypeError("quantiles at any levels are those of a flow")
        return found * self.scale[:, None] + self.centre[:, None]
