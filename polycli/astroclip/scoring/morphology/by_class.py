"""Retrieval by class: how far up objects of a class stand, for queries of that class, and what marked examples add.

Classes are those of the columns that are classified, and the answers that most volunteers gave to questions. An object
of unknown class is neither asked for nor found. Objects stand in an order drawn by the seed, so that equal vectors,
whose order is nobody's merit, rank by chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.votes import read_votes
from polycli.astroclip.recipe.votes import VotesSection
from polycli.astroclip.scoring.comparisons.stein import AS_COMPARED, AS_TRAINED
from polycli.astroclip.scoring.measure import label_names
from polycli.astroclip.scoring.morphology.comparison import Comparison
from polycli.astroclip.scoring.morphology.feedback import Marking, feedback_scores
from polycli.astroclip.scoring.morphology.gain import Floats, nearest, normalised_gain
from polycli.astroclip.scoring.morphology.records import ClassRanking, ClassScores, FeedbackScores, Ranking
from polycli.astroclip.scoring.retrieval import unit
from polycli.report.bootstrap import Bootstrap

#: Inputs whose vectors rank; the latter two, which are numbers of many units, are standardised on the training objects.
_RANKED_BY = (
    *("image", "spectrum", "image_unaligned", "spectrum_unaligned"),
    *(AS_TRAINED, AS_COMPARED, "photometry", "image_by_hand"),
)
_STANDARDISED = ("photometry", "image_by_hand")
#: Inputs with which examples are marked.
_MARKED_BY = ("image", "spectrum")
#: Queries of one class at most.
_QUERIES = 1000


@dataclass(frozen=True)
class Classes:
    """The class of each object, -1 where it is unknown, and the gain (n, classes) of finding it for each class."""

    names: tuple[str, ...]
    codes: NDArray[np.int64]
    gains: Floats


def classes_of(comparison: Comparison, section: VotesSection | None) -> dict[str, Classes]:
    """Finds the classes of the test objects by column or question, where two at least are known."""
    store, rows, settings = comparison.store, comparison.test.rows, comparison.settings
    found: dict[str, Classes] = {}
    for name in label_names(store, settings.labels):
        codes, names = store.labels(name, rows)
        found[name] = Classes(names, codes, np.eye(len(names) + 1)[codes][:, : len(names)])
    if section is not None and all(column in store.columns for column in section.columns):
        votes = read_votes(store, rows, section)
        for name, answers in section.slices().items():
            counts = votes[:, answers]
            total = counts.sum(axis=1)
            codes = np.where(total > settings.morphology.votes_above, counts.argmax(axis=1), -1)
            names = section.labels(name)
            gains = np.eye(len(names) + 1)[codes][:, : len(names)]
            if settings.morphology.graded:
                gains = counts / np.maximum(total, 1)[:, None]
            # A text column may be called as the question: both are scored.
            found[f"{name}_votes" if name in found else name] = Classes(names, codes, gains)
    return {name: classes for name, classes in found.items() if len(set(classes.codes[classes.codes >= 0])) > 1}


def score_classes(comparison: Comparison, classes: Mapping[str, Classes]) -> dict[str, ClassScores]:
    """Scores by column or question; `classes` are those of the test objects."""
    seen, asked = comparison.reference.inputs, comparison.test.inputs
    directions = {
        name: unit(_standard(seen[name], asked[name]) if name in _STANDARDISED else asked[name])
        for name in _RANKED_BY
        if name in asked
    }
    return {name: _of_one(found, directions, comparison) for name, found in classes.items()}


def _of_one(classes: Classes, directions: Mapping[str, NDArray[np.float32]], comparison: Comparison) -> ClassScores:
    settings, bootstrap = comparison.settings, comparison.bootstrap
    generator = np.random.default_rng(settings.seed)
    known = generator.permutation(np.flatnonzero(classes.codes >= 0))
    codes, gains = classes.codes[known], classes.gains[known]
    queries = {name: np.flatnonzero(codes == place)[:_QUERIES] for place, name in enumerate(classes.names)}
    queries = {name: members for name, members in queries.items() if len(members) > 1}
    rankings: dict[str, dict[str, ClassRanking]] = {}
    feedback: dict[str, dict[str, FeedbackScores]] = {}
    marking = Marking(settings.morphology.marked, settings.morphology.draws, settings.seed)
    for source, vectors in directions.items():
        mine = np.asarray(vectors[known], np.float32)
        rankings[source] = {}
        for name, asked in queries.items():
            place = classes.names.index(name)
            members = int((codes == place).sum())
            rankings[source][name] = _ranking(mine, asked, gains[:, place], members, bootstrap)
            if source in _MARKED_BY and marking.possible(members, len(codes)):
                marked = feedback_scores(mine, codes == place, gains[:, place], marking, bootstrap)
                feedback.setdefault(source, {})[name] = marked
    return ClassScores(
        candidates=len(codes),
        members={name: int((codes == place).sum()) for place, name in enumerate(classes.names)},
        rankings=rankings,
        feedback=feedback or None,
    )


def _ranking(
    vectors: NDArray[np.float32], asked: NDArray[np.int64], gains: Floats, members: int, bootstrap: Bootstrap
) -> ClassRanking:
    reached, chance = normalised_gain(gains[nearest(vectors, asked)], gains, gains[asked])
    interval = bootstrap.mean(reached).tolist()
    ranking = Ranking(ndcg_at_10=float(reached.mean()), interval=interval, chance=float(chance.mean()))
    return ClassRanking(ranking=ranking, members=members, queries=len(asked))


def _standard(reference: NDArray[np.floating], test: NDArray[np.floating]) -> NDArray[np.float32]:
    deviation = reference.std(axis=0)
    return np.asarray((test - reference.mean(axis=0)) / np.where(deviation == 0, 1, deviation), np.float32)
