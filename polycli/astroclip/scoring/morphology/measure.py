"""All scores of morphology of one dataset: a head's answers to volunteers' questions, and retrieval by class."""

from __future__ import annotations

from polycli.astroclip.recipe.votes import VotesSection
from polycli.astroclip.scoring.answers import Answers
from polycli.astroclip.scoring.morphology.answers import score_answers
from polycli.astroclip.scoring.morphology.by_class import classes_of, score_classes
from polycli.astroclip.scoring.morphology.comparison import Comparison
from polycli.astroclip.scoring.morphology.records import MorphologyScores


def score_morphology(
    comparison: Comparison, section: VotesSection | None, answers: Answers | None
) -> MorphologyScores | None:
    """Scores of what there is; None where there are neither votes that the model predicts nor classes.

    `section` names the questions, and `answers` are the head's about the test objects, with concentrations of all
    questions where it has learnt votes.
    """
    settings, votes, by_class = comparison.settings, None, {}
    if section is not None and answers is not None and set(section.questions) <= answers.keys():
        votes = score_answers(comparison, section, answers)
    if settings.morphology.retrieval:
        among = comparison.first(settings.candidates)
        by_class = score_classes(among, classes_of(among, section))
    if not votes and not by_class:
        return None
    return MorphologyScores(votes_above=settings.morphology.votes_above, votes=votes or None, by_class=by_class or None)
