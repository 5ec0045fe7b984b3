"""Relevance feedback: what a user gains who marks some of what a first search found, as `polycli search` does it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.scoring.morphology.gain import DEPTH, Floats, normalised_gain
from polycli.astroclip.scoring.morphology.records import FeedbackScores, Ranking
from polycli.nn.relevance import remade_query
from polycli.report.bootstrap import Bootstrap

#: Bad examples are drawn from so many times their number of the nearest: those that a user would come upon.
_SEEN = 10


@dataclass(frozen=True)
class Marking:
    """How many examples are marked good, and as many bad; how often they are drawn, and the seed."""

    count: int
    draws: int
    seed: int

    def possible(self, members: int, objects: int) -> bool:
        """Whether enough objects are of a class, and enough are not, that some are left to be found."""
        return members > self.count and objects - members > self.count


def feedback_scores(
    vectors: NDArray[np.float32],
    members: NDArray[np.bool_],
    gains: Floats,
    marking: Marking,
    bootstrap: Bootstrap,
) -> FeedbackScores:
    """NDCG of the objects that are left, by one good example, by all good ones, and by good and bad ones together.

    In each draw the good examples are members at random, and the first of them is the first query; the bad ones are
    drawn from the nearest to it that are no members. None of them is left to be found, for any of the three queries.

    Args:
        vectors: (n, d) unit vectors.
        members: (n,) which objects are of the class.
        gains: (n,) what finding each is worth.
        marking: how many examples are marked, and how often.
        bootstrap: resamples the draws.
    """
    generator = np.random.default_rng(marking.seed)
    reached, chances = np.empty((3, marking.draws)), np.empty(marking.draws)
    for draw in range(marking.draws):
        good = generator.choice(np.flatnonzero(members), marking.count, replace=False)
        seen = np.argsort(-(vectors @ vectors[good[0]]), kind="stable")
        wrong = seen[~members[seen]][: _SEEN * marking.count]
        bad = generator.choice(wrong, marking.count, replace=False)
        left = np.setdiff1d(np.arange(len(vectors)), [*good, *bad], assume_unique=True)
        queries = (
            remade_query(vectors[good[:1]]),
            remade_query(vectors[good]),
            remade_query(vectors[good], vectors[bad]),
        )
        for place, query in enumerate(queries):
            first = np.argsort(-(vectors[left] @ query), kind="stable")[:DEPTH]
            found, chance = normalised_gain(gains[left][first][None], gains[left])
            reached[place, draw], chances[draw] = found[0], chance[0]
    gain = reached[2] - reached[0]
    one, liked, both = (_ranking(values, chances, bootstrap) for values in reached)
    return FeedbackScores(
        marked=marking.count,
        draws=marking.draws,
        one=one,
        good=liked,
        good_and_bad=both,
        gain=float(gain.mean()),
        gain_interval=bootstrap.mean(gain).tolist(),
    )


def _ranking(values: Floats, chances: Floats, bootstrap: Bootstrap) -> Ranking:
    interval = bootstrap.mean(values).tolist()
    return Ranking(ndcg_at_10=float(values.mean()), interval=interval, chance=float(chances.mean()))
