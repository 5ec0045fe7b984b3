"""Scores of answers to volunteers' questions: a model's own, and beside it what any answer must beat.

The majority is the answer with most votes, the first of several alike. Objects with more than `votes_above` votes on a
question count for it (34, as Parker et al. 2024, section 6.4); all with a vote count for the likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.votes import read_votes
from polycli.astroclip.recipe.votes import VotesSection
from polycli.astroclip.scoring.head_scores import HEAD
from polycli.astroclip.scoring.morphology.comparison import Comparison
from polycli.astroclip.scoring.morphology.dirichlet import Floats, fitted, likelihood_losses, within
from polycli.astroclip.scoring.morphology.records import AnswererScores, MajorityScores, QuestionScores
from polycli.console import warn
from polycli.report.bootstrap import Bootstrap

CONSTANT = "constant"
#: Inputs whose neighbours answer, where they are there.
_NEIGHBOURS_BY = ("image", "spectrum", "photometry", "image_by_hand")
#: Objects of which coverage is counted at most, and by which the width of neighbours' answers is chosen.
_MOST = 2000
_WIDTHS = np.geomspace(2, 2000, 25)
_LEVEL = 0.9


def score_answers(
    comparison: Comparison, section: VotesSection, predicted: Mapping[str, NDArray[np.float32]]
) -> dict[str, QuestionScores] | None:
    """Scores by question; None where the store has no votes. `predicted`: concentrations, by question."""
    store, reference, test = comparison.store, comparison.reference, comparison.test
    settings = comparison.settings
    if absent := [name for name in section.columns if name not in store.columns]:
        warn(f"{store.name}: has no {absent[0]}, whose votes the model predicts: votes are not scored")
        return None
    learnt, truth = read_votes(store, reference.rows, section), read_votes(store, test.rows, section)
    scores: dict[str, QuestionScores] = {}
    for name, answers in section.slices().items():
        train, votes = learnt[:, answers], truth[:, answers]
        taught, voted = train.sum(axis=1) > 0, votes.sum(axis=1) > 0
        if taught.sum() < 2 or voted.sum() < 2:
            counts = f"{taught.sum()} training and {voted.sum()} test objects"
            warn(f"{store.name}: question {name} has votes on {counts}: left out")
            continue
        constant = fitted(train[taught])
        by = {HEAD: predicted[name][voted].astype(np.float64), CONSTANT: np.tile(constant, (int(voted.sum()), 1))}
        for source in _NEIGHBOURS_BY:
            if source in test.inputs:
                seen, asked = reference.inputs[source][taught], test.inputs[source][voted]
                by[source] = by_neighbours(seen, train[taught], asked, constant, settings.neighbours)
        enough = votes[voted].sum(axis=1) > settings.morphology.votes_above
        scores[name] = QuestionScores(
            answers=section.labels(name),
            objects=int(enough.sum()),
            voted=int(voted.sum()),
            learnt_from=int(taught.sum()),
            by={who: _scored(found, votes[voted], enough, comparison.bootstrap) for who, found in by.items()},
        )
    return scores


def by_neighbours(
    seen: NDArray[np.floating], votes: Floats, asked: NDArray[np.floating], constant: Floats, count: int
) -> Floats:
    """(m, answers) concentrations from the votes on the nearest training objects, on standardised vectors.

    Expected fractions are those of all votes on the `count` nearest and of the constant answer, which counts as
    so many votes as its concentrations are. The sum of the concentrations is the same for all objects, and the one
    under which training objects' own votes are likeliest, each answered by its neighbours without itself.
    """
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(seen)
    standard = scaler.transform(seen)
    count = min(count, len(seen) - 1)
    index = NearestNeighbors(n_neighbors=count + 1).fit(standard)

    def fractions(near: NDArray[np.int64]) -> Floats:
        together = votes[near].sum(axis=1) + constant
        return np.asarray(together / together.sum(axis=1, keepdims=True), np.float64)

    some = np.linspace(0, len(seen) - 1, min(_MOST, len(seen))).round().astype(np.int64)
    near = index.kneighbors(standard[some], return_distance=False)
    # The object itself, which is the nearest, unless equal vectors stand before it.
    itself = near == some[:, None]
    itself[~itself.any(axis=1), -1] = True
    others = fractions(near[~itself].reshape(len(some), count))
    losses = [float(likelihood_losses(others * width, votes[some]).mean()) for width in _WIDTHS]
    nearest = index.kneighbors(scaler.transform(asked), n_neighbors=count, return_distance=False)
    return fractions(nearest) * float(_WIDTHS[int(np.argmin(losses))])


def _scored(concentration: Floats, votes: Floats, enough: NDArray[np.bool_], bootstrap: Bootstrap) -> AnswererScores:
    losses = likelihood_losses(concentration, votes)
    majority, error = None, None
    if enough.any():
        expected = concentration[enough] / concentration[enough].sum(axis=1, keepdims=True)
        observed = votes[enough] / votes[enough].sum(axis=1, keepdims=True)
        majority = _majority(votes[enough].argmax(axis=1), expected.argmax(axis=1), bootstrap)
        error = float(np.abs(expected - observed).mean())
    held = within(concentration[:_MOST], votes[:_MOST], _LEVEL, bootstrap.seed)
    return AnswererScores(
        majority=majority,
        fraction_error=error,
        negative_log_likelihood=float(losses.mean()),
        likelihood_interval=bootstrap.mean(losses).tolist(),
        within_90=float(held.mean()),
    )


def _majority(truth: NDArray[np.int64], answered: NDArray[np.int64], bootstrap: Bootstrap) -> MajorityScores:
    from sklearn.metrics import f1_score

    right = (truth == answered).astype(np.float64)
    return MajorityScores(
        accuracy=float(right.mean()),
        interval=bootstrap.mean(right).tolist(),
        f1_weighted=float(f1_score(truth, answered, average="weighted", zero_division=0)),
        f1_macro=float(f1_score(truth, answered, average="macro", zero_division=0)),
    )
