"""Dirichlet distributions of vote fractions: fitted to draws, and holding the share that they say."""

import numpy as np
import pytest

from polycli.astroclip.scoring.morphology.answers import by_neighbours
from polycli.astroclip.scoring.morphology.dirichlet import fitted, likelihood_losses, within


def drawn(a, count, seed=0, volunteers=40):
    generator = np.random.default_rng(seed)
    fractions = generator.dirichlet(a, count)
    return np.array([generator.multinomial(volunteers, row) for row in fractions]).astype(float)


def test_the_fit_finds_the_distribution_of_the_draws():
    a = np.array([0.5, 6.0, 2.0])

    assert fitted(drawn(a, 4000)) == pytest.approx(a, rel=0.1)


def test_objects_without_votes_do_not_move_the_fit():
    votes = drawn([2.0, 3.0], 200)

    assert fitted(np.vstack([votes, np.zeros((500, 2))])) == pytest.approx(fitted(votes), rel=1e-3)


@pytest.mark.parametrize("volunteers", [3, 40])
def test_the_right_distribution_holds_the_share_that_it_says(volunteers):
    a = np.array([0.8, 5.0, 2.0])
    votes = drawn(a, 4000, volunteers=volunteers)
    right, sharp = np.tile(a, (4000, 1)), np.tile(20 * a, (4000, 1))

    assert within(right, votes, 0.9, 0).mean() == pytest.approx(0.9, abs=0.01)
    if volunteers == 40:
        assert within(sharp, votes, 0.9, 0).mean() < 0.6


def test_neighbours_answer_better_than_the_constant_where_vectors_tell_and_as_well_where_not():
    generator = np.random.default_rng(4)
    place = generator.random(800)
    fractions = 0.05 + 0.9 * (place > 0.5)
    votes = generator.binomial(40, fractions).astype(float)
    votes = np.stack([votes, 40 - votes], axis=1)
    constant = fitted(votes[:600])
    losses = {}
    for name, vectors in {"telling": place[:, None], "mute": generator.random((800, 1))}.items():
        found = by_neighbours(vectors[:600], votes[:600], vectors[600:], constant, 16)
        losses[name] = likelihood_losses(found, votes[600:]).mean()
    base = likelihood_losses(np.tile(constant, (200, 1)), votes[600:]).mean()

    assert losses["telling"] < base - 0.5
    assert losses["mute"] == pytest.approx(base, abs=1.0)
