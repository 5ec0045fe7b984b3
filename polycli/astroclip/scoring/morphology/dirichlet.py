"""Dirichlet distributions of vote fractions in numpy: their likelihood, their fit to all objects, and what they hold.

The formula stands in `polycli.astroclip.model.votes`, whose function is used here.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from polycli.astroclip.model.votes import vote_losses

Floats = NDArray[np.float64]
#: The logarithms of the smallest and the largest concentration that a fit may have.
_LIMITS = (-7.0, 9.0)


def likelihood_losses(concentration: Floats, votes: Floats) -> Floats:
    """(n,) minus the log probability of the votes (n, answers) on one question."""
    whole = [slice(0, votes.shape[1])]
    return vote_losses(torch.from_numpy(concentration), torch.from_numpy(votes), whole)[:, 0].numpy()


def fitted(votes: Floats) -> Floats:
    """(answers,) the one Dirichlet distribution under which the votes (n, answers) of all objects are likeliest."""
    from scipy.optimize import minimize

    counts = torch.from_numpy(votes)
    whole = [slice(0, votes.shape[1])]

    def loss(log: Floats) -> tuple[float, Floats]:
        parameters = torch.from_numpy(log).requires_grad_()
        mean = vote_losses(parameters.exp().expand(len(counts), -1), counts, whole).mean()
        (gradient,) = torch.autograd.grad(mean, parameters)
        return float(mean.detach()), gradient.numpy()

    shares = (votes.sum(axis=0) + 1) / (votes.sum() + votes.shape[1])
    start = np.clip(np.log(5 * shares), *_LIMITS)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[_LIMITS] * votes.shape[1])
    return np.exp(np.asarray(found.x, np.float64))


def within(concentration: Floats, votes: Floats, level: float, seed: int) -> NDArray[np.bool_]:
    """(n, answers) whether the votes for an answer lie within the central `level` of what was predicted.

    Votes for one answer among N are beta-binomial. They are whole numbers, so the place of a count in its distribution
    is drawn evenly between the probabilities of fewer and of no more votes (the randomised PIT: Czado et al. 2009),
    which makes the share that lies within exactly `level` where the prediction is right.
    """
    from scipy.special import betaln, gammaln

    generator = np.random.default_rng(seed)
    counts = votes.sum(axis=1, keepdims=True)
    every = np.arange(int(counts.max(initial=0)) + 1.0)
    possible = every <= counts
    rest = np.where(possible, counts - every, 0.0)
    ways = gammaln(counts + 1) - gammaln(every + 1) - gammaln(rest + 1)
    held = np.empty(votes.shape, np.bool_)
    for answer in range(votes.shape[1]):
        a = concentration[:, [answer]]
        b = concentration.sum(axis=1, keepdims=True) - a
        chance = np.where(possible, np.exp(ways + betaln(every + a, rest + b) - betaln(a, b)), 0.0)
        fewer = np.where(every < votes[:, [answer]], chance, 0.0).sum(axis=1)
        same = np.where(every == votes[:, [answer]], chance, 0.0).sum(axis=1)
        place = fewer + generator.random(len(votes)) * same
        held[:, answer] = np.abs(place - 0.5) <= level / 2
    return held
