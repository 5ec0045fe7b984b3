"""The space-time block of AViT: attention over time at each place, then over each spatial axis, then an MLP.

Tokens stay (batch, time, height, width, channel) throughout. Residual sums and norms are float32; products run in
autocast's type. Each part can compute the last frame alone, which is all that anything after the last block reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from polycli.mpp.model.normalization import FrameNorm, RMSInstanceNorm, widen
from polycli.mpp.model.position_bias import POSITION_BIASES, PositionBias, choose_by_boundary
from polycli.mpp.recipe.training import ModelSection
from polycli.nn.products import linear, matmul


@dataclass(frozen=True)
class Axes:
    """Features of the offsets along the three axes, and which samples are periodic, as the blocks need them.

    Where samples of several grids share a batch, p is b: each has the features of its own axes. Else it is 2: those of
    a closed axis, and of a periodic one.
    """

    time: Float[Tensor, "1 offsets features"]
    height: Float[Tensor, "p offsets features"]
    width: Float[Tensor, "p offsets features"]
    periodic_height: Bool[Tensor, " b"]
    periodic_width: Bool[Tensor, " b"]
    #: Where samples of several grids share a batch: their own tokens, and what hides the others in attention.
    own: Bool[Tensor, "b 1 h w 1"] | None = None
    hidden_height: Float[Tensor, "b 1 1 h"] | None = None
    hidden_width: Float[Tensor, "b 1 1 w"] | None = None


class Pointwise(nn.Module):
    """A linear map of each token, stored in the shape (out, in, 1, 1) of the published 1x1 convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.empty(outputs))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        nn.init.uniform_(self.bias, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs))

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        """Applies the 1 x 1 convolution as one matrix product."""
        return linear(x, self.weight.flatten(1), self.bias)


class QueryKeyValue(Pointwise):
    """Queries, keys and values of all heads from one map; its rows are ordered (head, which of the three, channel)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, 3 * width)
        self.heads = heads

    def forward(self, x: Float[Tensor, "*b i"], first: int = 0, last: int = 3) -> Float[Tensor, "*b heads parts e"]:
        """The parts first..last-1 of (query, key, value); the others cost nothing."""
        parts = last - first
        weight = torch.unflatten(self.weight.flatten(1), 0, (self.heads, 3, -1))[:, first:last].flatten(0, 2)
        bias = torch.unflatten(self.bias, 0, (self.heads, 3, -1))[:, first:last].flatten()
        return torch.unflatten(linear(x, weight, bias), -1, (self.heads, parts, -1))


class HeadNorm(nn.LayerNorm):
    """Layer norm of queries or keys, in float32 whatever autocast says."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalised over the channels of one head."""
        return super().forward(widen(x)).to(x.dtype)


def drop_path(branch: Float[Tensor, "b t h w d"], keep: Float[Tensor, ""] | None) -> Float[Tensor, "b t h w d"]:
    """The residual branch, left out for whole samples and scaled up where it stays; whole where `keep` is None.

    The share that is kept is a tensor, so that blocks that differ in it alone are one compiled graph.
    """
    if keep is None:
        return branch
    draw = torch.rand(branch.shape[0], 1, 1, 1, 1, device=branch.device)
    return branch * ((draw < keep) / keep)


def attend(
    query: Float[Tensor, "b m n heads q e"],
    key: Float[Tensor, "b m n heads k e"],
    value: Float[Tensor, "b m n heads k e"],
    bias: Float[Tensor, "p heads q k"] | None,
) -> Float[Tensor, "b m n heads q e"]:
    """Softmax attention within each of the b * m * n sequences, with each sample's bias (p is b or 1).

    Written out, because the sequences are as short as an axis: fused attention kernels take no bias that differs
    between samples unless it is copied to every sequence, which is as large as the scores themselves.
    """
    scores = widen(matmul(query * query.shape[-1] ** -0.5, key.mT))
    scores = scores if bias is None else scores + bias[:, None, None]
    return matmul(scores.softmax(dim=-1).to(value.dtype), value)


class TemporalAttention(nn.Module):
    """Each place attends over the frames; not causal."""

    def __init__(self, section: ModelSection) -> None:
        super().__init__()
        width, heads = section.embed_dim, section.num_heads
        self.norm1 = FrameNorm(width)
        self.norm2 = FrameNorm(width)
        self.gamma = nn.Parameter(torch.full((width,), section.layer_scale))
        self.input_head = QueryKeyValue(width, heads)
        self.output_head = Pointwise(width, width)
        self.qnorm = HeadNorm(width // heads)
        self.knorm = HeadNorm(width // heads)
        self.rel_pos_bias: PositionBias = POSITION_BIASES[section.position_bias](heads)

    def forward(
        self, x: Float[Tensor, "b t h w d"], axes: Axes, keep: Float[Tensor, ""] | None, *, last_frame: bool
    ) -> Float[Tensor, "b s h w d"]:
        """All frames, or the last alone: then it alone asks, and all answer."""
        tokens = self.norm1(x, axes.own)
        bias = self.rel_pos_bias(axes.time)
        if last_frame:
            query = self.input_head(tokens[:, -1:], 0, 1)[..., 0, :]
            key, value = self.input_head(tokens, 1, 3).unbind(-2)
            bias = None if bias is None else bias[..., -1:, :]
            x = x[:, -1:]
        else:
            query, key, value = self.input_head(tokens).unbind(-2)
        # (b, t, h, w, head, channel) -> (b, h, w, head, t, channel) for attention over t, and back.
        order = (0, 2, 3, 4, 1, 5)
        query, key = self.qnorm(query).permute(order), self.knorm(key).permute(order)
        mixed = attend(query, key, value.permute(order), bias).permute(0, 4, 1, 2, 3, 5).flatten(-2)
        return x + drop_path(self.output_head(self.norm2(mixed, axes.own)) * self.gamma, keep)


class AxialAttention(nn.Module):
    """Tokens of a frame attend along their row and along their column with shared weights; the mean goes to an MLP."""

    def __init__(self, section: ModelSection) -> None:
        super().__init__()
        width, heads = section.embed_dim, section.num_heads
        self.norm1 = RMSInstanceNorm(width)
        self.norm2 = RMSInstanceNorm(width)
        self.gamma_att = nn.Parameter(torch.full((width,), section.layer_scale))
        self.gamma_mlp = nn.Parameter(torch.full((width,), section.layer_scale))
        self.input_head = QueryKeyValue(width, heads)
        self.output_head = Pointwise(width, width)
        self.qnorm = HeadNorm(width // heads)
        self.knorm = HeadNorm(width // heads)
        self.rel_pos_bias: PositionBias = POSITION_BIASES[section.position_bias](heads)
        self.mlp = MLP(width)
        self.mlp_norm = RMSInstanceNorm(width)

    def forward(
        self, x: Float[Tensor, "b t h w d"], axes: Axes, keep: Float[Tensor, ""] | None
    ) -> Float[Tensor, "b t h w d"]:
        """Attends along both axes of space, in each frame by itself."""
        query, key, value = self.input_head(self.norm1(x, axes.own)).unbind(-2)
        query, key = self.qnorm(query), self.knorm(key)
        # (b, t, h, w, head, channel) -> (b, t, h, head, w, channel) for rows, (b, t, w, head, h, channel) for columns.
        order = (0, 1, 2, 4, 3, 5)
        bias = _own_bias(self.rel_pos_bias(axes.width), axes.periodic_width, axes.hidden_width)
        rows = attend(query.permute(order), key.permute(order), value.permute(order), bias).permute(order)
        order = (0, 1, 3, 4, 2, 5)
        bias = _own_bias(self.rel_pos_bias(axes.height), axes.periodic_height, axes.hidden_height)
        columns = attend(query.permute(order), key.permute(order), value.permute(order), bias)
        mixed = (rows + columns.permute(0, 1, 4, 2, 3, 5)) / 2
        x = x + drop_path(self.output_head(self.norm2(mixed.flatten(-2), axes.own)) * self.gamma_att, keep)
        return x + drop_path(self.mlp_norm(self.mlp(x), axes.own) * self.gamma_mlp, keep)


def _own_bias(
    bias: Float[Tensor, "p heads length length"] | None,
    periodic: Bool[Tensor, " b"],
    hidden: Float[Tensor, "b 1 1 length"] | None,
) -> Float[Tensor, "b heads length length"] | None:
    """Each sample's own bias, which hides the tokens that are not its own."""
    if hidden is None:
        return choose_by_boundary(bias, periodic)
    return hidden if bias is None else bias + hidden


class MLP(nn.Module):
    """Two linear maps with a GELU between; the inner width is four times the outer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Maps each token by itself."""
        inner = functional.gelu(linear(x, self.fc1.weight, self.fc1.bias))
        return linear(inner, self.fc2.weight, self.fc2.bias)


class SpaceTimeBlock(nn.Module):
    """One block of AViT: attention over time, then over space."""

    def __init__(self, section: ModelSection) -> None:
        super().__init__()
        self.temporal = TemporalAttention(section)
        self.spatial = AxialAttention(section)

    def forward(
        self, x: Float[Tensor, "b t h w d"], axes: Axes, keep: Float[Tensor, ""] | None, *, last_frame: bool
    ) -> Float[Tensor, "b s h w d"]:
        """All frames, or what the last one becomes; `keep` is the share of samples that a residual branch acts on."""
        x = self.temporal(x, axes, keep, last_frame=last_frame)
        return self.spatial(x, axes, keep)  # type: ignore[no-any-return]
