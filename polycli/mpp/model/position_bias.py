"""Biases that attention adds for the distance between two tokens on an axis, on an interval and on a ring.

A bias module turns the features of all offsets -(L-1)..L-1 into one value per head, for the closed axis and for the
periodic one; which of the two holds is chosen per sample, inside the graph. There is no gather in either step, so that
gradients are sums in a fixed order.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

BUCKETS_PER_SIGN = 16
EXACT_BUCKETS = 8
#: Where each logarithmic bucket begins: the integers at or above 8 * 2**(j / 4), so that the ninth would be at 32.
LOGARITHMIC_STARTS = (8, 10, 12, 14, 16, 20, 23, 27)


class RelativePositionBias(nn.Module):
    """Learned values in logarithmic buckets of the offset (Raffel et al. 2020), 16 per sign, the last from 27 on."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.relative_attention_bias = nn.Embedding(2 * BUCKETS_PER_SIGN, heads)

    @staticmethod
    def features(length: int, device: torch.device) -> Float[Tensor, "2 offsets buckets"]:
        """Returns the bucket of each offset, as one-hot rows; closed axis first, then the periodic one."""
        offsets = torch.arange(1 - length, length, device=device)
        return _buckets(torch.stack([offsets, RelativePositionBias._ring(offsets, length)]))

    @staticmethod
    def own_features(
        length: int, lengths: Int[Tensor, " b"], periodic: Bool[Tensor, " b"]
    ) -> Float[Tensor, "b offsets buckets"]:
        """`features` where samples differ in length, up to `length`: those of each one's own axis."""
        offsets, lengths = torch.arange(1 - length, length, device=lengths.device), lengths[:, None]
        return _buckets(torch.where(periodic[:, None], RelativePositionBias._ring(offsets, lengths), offsets))

    @staticmethod
    def _ring(offsets: Int[Tensor, " n"], length: int | Int[Tensor, "b 1"]) -> Int[Tensor, "*b n"]:
        """The shorter way; on an even ring the two ways to the opposite token stay apart, as in the published model."""
        ring = torch.where(2 * offsets < -length, offsets + length, offsets)
        return torch.where(2 * offsets > length, offsets - length, ring)

    def forward(self, features: Float[Tensor, "p offsets buckets"]) -> Float[Tensor, "p heads length length"]:
        """The bias of every query (row) and key (column)."""
        weight = self.relative_attention_bias.weight
        return _from_offsets(features.to(weight.dtype) @ weight)


class ContinuousPositionBias(nn.Module):
    """A small network of the offset divided by the axis length (Liu et al. 2022), between 0 and 16."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.cpb_mlp = nn.Sequential(nn.Linear(1, 512), nn.ReLU(), nn.Linear(512, heads, bias=False))

    @staticmethod
    def features(length: int, device: torch.device) -> Float[Tensor, "2 offsets 1"]:
        """Offsets over the axis length; closed axis first, then the periodic one. One token is at zero."""
        offsets = torch.arange(1 - length, length, device=device)
        return torch.stack([offsets, ContinuousPositionBias._ring(offsets, length)])[..., None].float() / max(
            length - 1, 1
        )

    @staticmethod
    def own_features(
        length: int, lengths: Int[Tensor, " b"], periodic: Bool[Tensor, " b"]
    ) -> Float[Tensor, "b offsets 1"]:
        """`features` where samples differ in length, up to `length`: those of each one's own axis."""
        offsets, lengths = torch.arange(1 - length, length, device=lengths.device), lengths[:, None]
        own = torch.where(periodic[:, None], ContinuousPositionBias._ring(offsets, lengths), offsets)
        return (own.float() / (lengths - 1).clamp(min=1))[..., None]

    @staticmethod
    def _ring(offsets: Int[Tensor, " n"], length: int | Int[Tensor, "b 1"]) -> Int[Tensor, "*b n"]:
        """The shorter way; on an even ring, the same way to the opposite token from either side."""
        ring = torch.where(2 * offsets <= -length, offsets + length, offsets)
        return torch.where(2 * offsets > length, offsets - length, ring)

    def forward(self, features: Float[Tensor, "p offsets 1"]) -> Float[Tensor, "p heads length length"]:
        """The bias of every query (row) and key (column)."""
        return _from_offsets(16 * torch.sigmoid(self.cpb_mlp(features.to(next(self.cpb_mlp.parameters()).dtype))))


class NoPositionBias(nn.Module):
    """Attention that does not know where tokens are."""

    def __init__(self, heads: int) -> None:  # noqa: ARG002  # as its siblings
        super().__init__()

    @staticmethod
    def features(length: int, device: torch.device) -> Float[Tensor, "2 offsets 1"]:
        """Returns features without content, in the shape that the other biases have."""
        return torch.zeros(2, 2 * length - 1, 1, device=device)

    @staticmethod
    def own_features(
        length: int,
        lengths: Int[Tensor, " b"],
        periodic: Bool[Tensor, " b"],  # noqa: ARG004  # as its siblings
    ) -> Float[Tensor, "b offsets 1"]:
        """Returns features without content where samples differ in length."""
        return torch.zeros(len(lengths), 2 * length - 1, 1, device=lengths.device)

    def forward(self, features: Float[Tensor, "p offsets 1"]) -> None:  # noqa: ARG002  # as its siblings
        """Returns None: attention adds no bias."""
        return


PositionBias = RelativePositionBias | ContinuousPositionBias | NoPositionBias
POSITION_BIASES: dict[Literal["relative", "continuous", "none"], type[PositionBias]] = {
    "relative": RelativePositionBias,
    "continuous": ContinuousPositionBias,
    "none": NoPositionBias,
}


def choose_by_boundary(
    bias: Float[Tensor, "2 heads length length"] | None, periodic: Bool[Tensor, " b"]
) -> Float[Tensor, "b heads length length"] | None:
    """Each sample's own bias: the second where its axis is periodic."""
    return None if bias is None else torch.where(periodic[:, None, None, None], bias[1], bias[0])


def key_mask(length: int, lengths: Int[Tensor, " b"]) -> Float[Tensor, "b 1 1 length"]:
    """Minus infinity for tokens behind the end of a sample's axis, zero for its own: added to scores, it hides them."""
    behind = torch.arange(length, device=lengths.device) >= lengths[:, None]
    return torch.zeros(behind.shape, device=lengths.device).masked_fill(behind, -torch.inf)[:, None, None]


def _buckets(offsets: Int[Tensor, "p offsets"]) -> Float[Tensor, "p offsets buckets"]:
    distance = offsets.abs()
    starts = torch.tensor(LOGARITHMIC_STARTS, device=offsets.device)
    logarithmic = EXACT_BUCKETS - 1 + (distance[..., None] >= starts).sum(dim=-1)
    bucket = torch.where(distance < EXACT_BUCKETS, distance, logarithmic) + BUCKETS_PER_SIGN * (offsets > 0)
    return (bucket[..., None] == torch.arange(2 * BUCKETS_PER_SIGN, device=offsets.device)).float()


def _from_offsets(table: Float[Tensor, "p offsets heads"]) -> Float[Tensor, "p heads length length"]:
    """Value of offset key - query at [query, key], by reading one padded row per query with a shift of one."""
    length = (table.shape[1] + 1) // 2
    rows = table.movedim(-1, 1)[:, :, None].expand(-1, -1, length, -1)
    flat = functional.pad(rows, (0, 1)).flatten(-2)[..., : length * (2 * length - 1)]
    return torch.unflatten(flat, -1, (length, 2 * length - 1))[..., length - 1 :]
