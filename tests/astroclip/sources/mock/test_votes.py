"""Votes of simulated volunteers: they go down the tree, and the majority sees what is there."""

import numpy as np
import pytest

from polycli.astroclip.sources.mock import images, population
from polycli.astroclip.sources.mock.votes import COLUMNS, draw_votes, is_close_pair


@pytest.fixture(scope="module")
def voted():
    """Labels, votes by column, and which are close pairs, of 384 galaxies."""
    labels, votes, pairs = [], [], []
    for number in range(384):
        block, place = divmod(number, population.BLOCK)
        if place == 0:
            galaxies = population.block_of_galaxies(0, block, 19.5)
        generator = np.random.default_rng([0, 1, number])
        images.draw_seeing(generator)
        look = images.draw_look(generator, galaxies, place)
        labels.append(images.morphology(galaxies, place, look))
        votes.append(draw_votes(0, number, galaxies, place, look))
        pairs.append(is_close_pair(look))
    return np.array(labels), dict(zip(COLUMNS, np.array(votes).T, strict=True)), np.array(pairs)


def test_those_who_are_asked_are_those_who_gave_the_answer_before(voted):
    _, votes, _ = voted
    volunteers = votes["shape_smooth"] + votes["shape_disk"]

    assert volunteers.min() >= 40
    assert volunteers.max() <= 80
    assert np.array_equal(votes["edge_on_yes"] + votes["edge_on_no"], votes["shape_disk"])
    for question in ("spiral", "bar"):
        assert np.array_equal(votes[f"{question}_yes"] + votes[f"{question}_no"], votes["edge_on_no"])
    assert np.array_equal(votes["close_pair_yes"] + votes["close_pair_no"], volunteers)


def test_the_majority_sees_what_is_there(voted):
    labels, votes, pairs = voted
    disks = labels != "smooth"

    assert ((votes["shape_disk"] > votes["shape_smooth"]) == disks).mean() > 0.95
    assert ((votes["edge_on_yes"] > votes["edge_on_no"]) == (labels == "edge-on"))[disks].mean() > 0.95
    assert np.array_equal(votes["close_pair_yes"] > votes["close_pair_no"], pairs)
    assert 0.005 < pairs.mean() < 0.04
