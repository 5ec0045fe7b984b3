"""Quantiles as outputs of a network: in rising order by construction, and the loss that finds them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def rising(raw: Float[Tensor, "*b q"], middle: int) -> Float[Tensor, "*b q"]:
    """Quantiles that cannot cross: the middle one as it is, the others by positive steps away from it."""
    steps = functional.softplus(raw)
    above = raw[..., middle : middle + 1] + steps[..., middle + 1 :].cumsum(dim=-1)
    below = raw[..., middle : middle + 1] - steps[..., :middle].flip(-1).cumsum(dim=-1).flip(-1)
    return torch.cat([below, raw[..., middle : middle + 1], above], dim=-1)


def middle_of(levels: Sequence[float]) -> int:
    """The place of the level that is nearest to the median."""
    return min(range(len(levels)), key=lambda place: abs(levels[place] - 0.5))


def pinball(
    quantiles: Float[Tensor, "*n q"], target: Float[Tensor, "*n"], levels: Sequence[float]
) -> Float[Tensor, "*n q"]:
    """The loss whose minimum is the quantile (Koenker and Bassett 1978): level e above it, (1 - level) e below."""
    level = torch.tensor(levels, dtype=quantiles.dtype, device=quantiles.device)
    error = target[..., None] - quantiles
    return torch.maximum(level * error, (level - 1) * error)
