"""InfoNCE between two lists of vectors, over all ranks and with gradient (van den Oord 2018, Radford et al. 2021).

Every rank scores its own objects against those of all ranks. The engine averages gradients over ranks, and the mean of
the ranks' losses is the loss of the whole batch, so any number of ranks takes the same step.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed
from torch.nn import functional

#: A vector shorter than this is not blown up to unit length; as published.
SMALLEST_NORM = 1e-3
#: The published logit scale, one over a temperature of 0.0645.
PUBLISHED_SCALE = 15.5


def unit_vectors(vectors: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
    """Scales vectors to length one, in float32."""
    return functional.normalize(vectors.float(), dim=-1, eps=SMALLEST_NORM)


def info_nce(
    one: Float[Tensor, "b d"], other: Float[Tensor, "b d"], scale: float | Tensor = PUBLISHED_SCALE
) -> Float[Tensor, " b"]:
    """Per-object InfoNCE loss against the objects of all ranks, averaged over both directions.

    It is the cross-entropy of finding each object's other vector among all; the mean over the objects of all ranks is
    the published loss. All ranks call this, each with as many objects.
    """
    one, other = unit_vectors(one), unit_vectors(other)
    # Both travel together, so that there is one exchange forward and one backward.
    ones, others = gather_with_gradient(torch.cat([one, other], dim=1)).chunk(2, dim=1)
    labels = torch.arange(len(one), device=one.device) + rank() * len(one)
    with torch.autocast(one.device.type, enabled=False):
        found = functional.cross_entropy(scale * one @ others.T, labels, reduction="none")
        back = functional.cross_entropy(scale * other @ ones.T, labels, reduction="none")
    return (found + back) / 2


def ranks_of_partners(one: Float[Tensor, "n d"], other: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
    """Counts, for each vector of `one`, how many of `other` are nearer by angle than its own partner; 0 is the best."""
    products = unit_vectors(one) @ unit_vectors(other).T
    return (products > products.diagonal()[:, None]).sum(dim=1)


def gather_with_gradient(values: Float[Tensor, "b ..."]) -> Float[Tensor, "n ..."]:
    """The values of all ranks, one rank behind the other, on each of them; gradients find their way back."""
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return values
    return _Gather.apply(values.contiguous())  # type: ignore[no-any-return,no-untyped-call]


@torch.no_grad()
def gather_in_rank_order(values: Tensor) -> Tensor:
    """Gathers as `gather_with_gradient` does, for values that have no gradient."""
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return values
    return torch.cat(_all(values.contiguous()))


class _Gather(torch.autograd.Function):
    """Backward, a rank's part gets the sum of what all ranks' losses say about it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ANN401, ARG004  # torch's signature
        return torch.cat(_all(values))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401, ARG004
        # Not a reduce-scatter, which gloo lacks; vectors are small beside what a network exchanges.
        gradient = gradients[0].contiguous()
        distributed.all_reduce(gradient)
        return gradient.chunk(distributed.get_world_size())[rank()]


def _all(values: Tensor) -> list[Tensor]:
    parts = [torch.empty_like(values) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, values)
    return parts


def rank() -> int:
    """The number of this rank; 0 where there is one process alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0
