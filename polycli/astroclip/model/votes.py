"""Votes of volunteers as Dirichlet-multinomial counts (Walmsley et al. 2020, section 3.2; 2022, section 4.1).

Each volunteer who is asked a question gives answer i with probability p_i, and what is known of p is a Dirichlet
distribution whose concentrations a_i a head predicts. The p_i integrated out, k_i of N = sum k_i votes have the
probability

    N! G(A) / G(N + A)  *  product over i of  G(k_i + a_i) / (k_i! G(a_i)),     A = sum a_i, G the gamma function,

so that an object with few votes, or a question that few are asked, weighs as little as it tells, and one that nobody
was asked is certain: its loss and its gradient are exactly 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor


def concentrations(outputs: Float[Tensor, "b a"], lowest: float, highest: float) -> Float[Tensor, "b a"]:
    """Concentrations between `lowest` and `highest` more.

    As published these are 1 and 100. At 1 and above a distribution has one peak; below, it may pile up at 0 and at 1
    alike, as where it is clear that volunteers agree and not on what.
    """
    return lowest + highest * torch.sigmoid(outputs)


def vote_losses(
    concentration: Float[Tensor, "b a"], votes: Float[Tensor, "b a"], questions: Iterable[slice]
) -> Float[Tensor, "b q"]:
    """Minus the log probability of the votes on each question; in float64, as its terms nearly cancel."""
    a, k = concentration.double(), votes.double()
    losses = [_one_question(a[:, answers], k[:, answers]) for answers in questions]
    return torch.stack(losses, dim=1)


def _one_question(a: Float[Tensor, "b a"], k: Float[Tensor, "b a"]) -> Float[Tensor, " b"]:
    whole, count = a.sum(dim=1), k.sum(dim=1)
    ways = torch.lgamma(count + 1) - torch.lgamma(k + 1).sum(dim=1)
    together = torch.lgamma(whole) - torch.lgamma(count + whole)
    each = (torch.lgamma(k + a) - torch.lgamma(a)).sum(dim=1)
    return -(ways + together + each)
