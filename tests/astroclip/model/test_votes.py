"""Votes as Dirichlet-multinomial counts: the probability that scipy gives them, and what nobody was asked."""

import numpy as np
import pytest
import torch
from scipy.stats import dirichlet_multinomial

from polycli.astroclip.model.heads import PropertyHead
from polycli.astroclip.model.votes import concentrations, vote_losses
from polycli.astroclip.recipe.model import PropertySection

QUESTIONS = [slice(0, 3), slice(3, 5)]


def test_the_likelihood_is_that_of_scipy():
    generator = np.random.default_rng(0)
    a = generator.uniform(0.05, 101, (200, 5))
    votes = generator.integers(0, 80, (200, 5)).astype(float)
    found = vote_losses(torch.from_numpy(a), torch.from_numpy(votes), QUESTIONS).numpy()

    for place, answers in enumerate(QUESTIONS):
        counts = votes[:, answers].astype(int)
        pairs = zip(counts, a[:, answers], strict=True)
        expected = [-dirichlet_multinomial.logpmf(k, alpha, k.sum()) for k, alpha in pairs]
        np.testing.assert_allclose(found[:, place], expected, rtol=1e-9, atol=1e-9)


def test_a_question_without_votes_adds_no_loss_and_no_gradient():
    a = torch.rand(4, 5, dtype=torch.float64).add(1).requires_grad_()
    votes = torch.tensor([[3.0, 1, 0, 0, 0]] * 4)
    losses = vote_losses(a, votes, QUESTIONS)
    losses.sum().backward()

    assert (losses[:, 1] == 0).all()
    assert (a.grad[:, 3:] == 0).all()
    assert (a.grad[:, :3] != 0).all()


@pytest.mark.parametrize(("lowest", "highest"), [(1.0, 100.0), (0.1, 50.0)])
def test_concentrations_stay_between_their_ends(lowest, highest):
    found = concentrations(torch.tensor([[-1e4, 0.0, 1e4]]), lowest, highest)[0].tolist()

    assert found == pytest.approx([lowest, lowest + highest / 2, lowest + highest])


def test_a_head_without_votes_has_the_parameters_that_it_always_had():
    section = PropertySection(regression=("a",), classification={"b": ("x", "y")}, hidden=(4,))
    names = set(PropertyHead(section, 3).state_dict())
    with_votes = set(PropertyHead(section.model_copy(update={"votes": _mock()}), 3).state_dict())

    assert with_votes - names == {"votes.weight", "votes.bias"}


def _mock():
    return PropertySection.model_validate({"votes": {"tree": "mock"}}).votes
