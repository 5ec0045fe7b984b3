"""The parts of DINOv2's objective (Oquab et al. 2023, section 4), as functions of logits and vectors.

Everything is in float32 at least. Means and Sinkhorn's shares are over the objects of all ranks. Who is next to whom is
decided in each micro-batch by itself, as the published code does, so that any number of ranks computes the same.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.nn import functional

from polycli.astroclip.training.contrastive import unit_vectors

#: Iterations of Sinkhorn and Knopp, as Caron et al. 2020 and DINOv2 take.
SINKHORN_ITERATIONS = 3
#: Shorter vectors are not blown up to unit length, and smaller distances count as so much.
SMALLEST = 1e-6


class PrototypeHead(nn.Module):
    """Three layers to a short unit vector, and its cosines with prototypes (Caron et al. 2021): logits.

    Prototypes are used at unit length, as DINOv2's normalised last layer with fixed lengths does.
    """

    def __init__(self, inputs: int, *, width: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, bottleneck)
        )
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        nn.init.trunc_normal_(self.prototypes, std=0.02)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, vectors: Float[Tensor, "n d"], *, frozen: bool = False) -> Float[Tensor, "n k"]:
        """Logits of each vector; with `frozen` the prototypes get gradients of zero."""
        prototypes = functional.normalize(self.prototypes, dim=1, eps=SMALLEST)
        if frozen:
            # Not detached alone: a parameter without any gradient would be another graph than that of later steps.
            prototypes = prototypes.detach() + 0 * prototypes
        short = functional.normalize(self.layers(vectors), dim=1, eps=SMALLEST)
        return functional.linear(short, prototypes.to(short.dtype)).float()


def softmax_targets(
    logits: Float[Tensor, "n k"], centre: Float[Tensor, " k"], temperature: float
) -> Float[Tensor, "n k"]:
    """The teacher's distribution over prototypes: centred, and sharpened by a low temperature."""
    return ((logits - centre) / temperature).softmax(dim=1)


def sinkhorn_targets(logits: Float[Tensor, "n k"], temperature: float) -> Float[Tensor, "n k"]:
    """Distributions over prototypes of which each prototype has an equal share of all ranks' rows (Caron et al. 2020).

    Rows and columns are scaled in turn, rows last: each adds up to one exactly, columns nearly to rows over prototypes.
    """
    # The largest logit of all ranks cancels, and keeps the exponentials finite at any temperature.
    largest = _over_ranks(logits.max() if len(logits) else logits.new_full((), -torch.inf), distributed.ReduceOp.MAX)
    shares = ((logits - largest) / temperature).exp()
    tiny = torch.finfo(shares.dtype).tiny
    for _ in range(SINKHORN_ITERATIONS):
        shares = shares / sum_over_ranks(shares.sum(dim=0)).clamp(min=tiny)
        shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=tiny)
    return shares


def cross_entropy(
    target: Float[Tensor, "n k"], logits: Float[Tensor, "n k"], temperature: float
) -> Float[Tensor, " n"]:
    """The student's surprise, in nats, at each of the teacher's distributions."""
    surprise: Tensor = -(target * (logits / temperature).log_softmax(dim=1)).sum(dim=1)
    return surprise


def entropy(target: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """The entropy of each distribution, in nats."""
    terms: Tensor = torch.special.entr(target)
    return terms.sum(dim=1)


def koleo(vectors: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Minus the logarithm of each unit vector's distance to the nearest other one here (Sablayrolles et al. 2019).

    Gradients between vectors that are nearly alike are huge, and magnify the rounding of what made the vectors. With a
    single object there is no other one, and nothing to spread: zero.
    """
    own = functional.normalize(vectors.to(torch.promote_types(vectors.dtype, torch.float32)), dim=1, eps=SMALLEST)
    if len(own) < 2:
        return own.sum(dim=1) * 0
    with torch.no_grad():
        nearest = (own @ own.T).fill_diagonal_(-2).argmax(dim=1)
    squares = (own - own[nearest]).square().sum(dim=1)
    # Equal vectors, as of two empty cutouts, have no direction apart; the root's slope at 0 would make all NaN.
    return -(squares.clamp(min=torch.finfo(squares.dtype).tiny).sqrt() + SMALLEST).log()


def spread(vectors: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """How much unit vectors vary: 0 where all are one and the same, at most 1."""
    return (1 - unit_vectors(vectors).mean(dim=0).square().sum()).clamp(min=0).sqrt()


@torch.no_grad()
def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of what all ranks have, on each of them."""
    return _over_ranks(values, distributed.ReduceOp.SUM)


def _over_ranks(values: Tensor, how: distributed.ReduceOp.RedOpType) -> Tensor:
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return values
    values = values.clone()
    distributed.all_reduce(values, op=how)
    return values
