"""The records of morphology in scores.json: answers to questions, and retrieval by class.

A number is None where there is nothing to take it of. Intervals are 95 % bootstrap intervals over objects, or queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polycli.json_records import IF_GIVEN, INLINE
from polycli.report.probes import Bounds


@dataclass(frozen=True, kw_only=True)
class MajorityScores:
    """How often the likeliest answer is the majority's, over the objects with enough votes."""

    accuracy: float
    interval: Bounds
    #: F1 of each answer, averaged with the answers' shares as weights, and evenly over the answers.
    f1_weighted: float
    f1_macro: float


@dataclass(frozen=True, kw_only=True)
class AnswererScores:
    """One way to answer a question, which gives each object a Dirichlet distribution of vote fractions."""

    #: None where no object has enough votes.
    majority: MajorityScores | None
    #: Mean over objects with enough votes, and over answers, of |expected - observed fraction|; None likewise.
    fraction_error: float | None
    #: Minus the log probability of an object's votes on the question, mean over all with a vote; in nats.
    negative_log_likelihood: float
    likelihood_interval: Bounds
    #: The share of observed votes, over objects and answers, within the central 90 % of what was predicted.
    within_90: float


@dataclass(frozen=True, kw_only=True)
class QuestionScores:
    """One question about the test objects."""

    answers: Sequence[str]
    #: Test objects with more votes on it than `votes_above`, and with any; training objects with any.
    objects: int
    voted: int
    learnt_from: int
    #: `head`; `constant`, the best Dirichlet distribution that is the same for all; and by input k-NN on it.
    by: Mapping[str, AnswererScores]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Mean nDCG within the first ten."""

    ndcg_at_10: float
    interval: Bounds
    #: What a random order reaches on average.
    chance: float


@dataclass(frozen=True, kw_only=True)
class ClassRanking:
    """Retrieval of one class: each query is a member of it, and the others are to be found."""

    ranking: Ranking = field(metadata=INLINE)
    members: int
    queries: int


@dataclass(frozen=True, kw_only=True)
class FeedbackScores:
    """One class as a user would look for it who marks what is found; all three rank the same remaining objects."""

    #: How many examples are marked good, and how many bad; how often they were drawn.
    marked: int
    draws: int
    #: The query is one good example, the mean of all good ones, or that less half the mean of the bad ones.
    one: Ranking
    good: Ranking
    good_and_bad: Ranking
    #: nDCG by the last less that by the first, and its interval over draws.
    gain: float
    gain_interval: Bounds


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """Retrieval by one column of classes, or by the answers to one question."""

    candidates: int
    #: By class, how many objects are of it.
    members: Mapping[str, int]
    #: By input, such as `image`, and by class of at least two objects.
    rankings: Mapping[str, Mapping[str, ClassRanking]]
    #: By modality and by class with enough objects; absent where there is none.
    feedback: Mapping[str, Mapping[str, FeedbackScores]] | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, kw_only=True)
class MorphologyScores:
    """All that is said of the morphology of one dataset."""

    #: Objects with more votes than this count for accuracy and classes.
    votes_above: int
    #: By question; absent where the model has learnt no votes, or the store has none.
    votes: Mapping[str, QuestionScores] | None = field(default=None, metadata=IF_GIVEN)
    #: By column or question; absent where there are no classes.
    by_class: Mapping[str, ClassScores] | None = field(default=None, metadata=IF_GIVEN)
