"""The tables of morphology, for a terminal and for the report."""

from __future__ import annotations

from collections.abc import Mapping

from polycli.astroclip.scoring.morphology.records import ClassScores, MorphologyScores, QuestionScores, Ranking
from polycli.report.table import NOTHING, Table, interval, number

_ANSWERED_BY = {
    "head": "the model's own head",
    "constant": "the same for all",
    "image": "image, k-NN",
    "spectrum": "spectrum, k-NN",
    "photometry": "photometry, k-NN",
    "image_by_hand": "image, measured by hand, k-NN",
}


def morphology_tables(name: str, scores: MorphologyScores | None, inputs: Mapping[str, str]) -> list[Table]:
    """Answers to questions, retrieval by class, and marked examples; `inputs` are what tables call inputs."""
    if scores is None:
        return []
    classes = scores.by_class or {}
    return [
        votes_table(name, scores.votes or {}, scores.votes_above),
        class_table(name, classes, inputs),
        feedback_table(name, classes),
    ]


def votes_table(name: str, votes: Mapping[str, QuestionScores], above: int) -> Table:
    """One row for each question and each way to answer it."""
    rows, ruled = [], set()
    for question, scores in votes.items():
        for who, found in scores.by.items():
            sure = found.majority
            rows.append(
                [
                    question,
                    _ANSWERED_BY[who],
                    f"{scores.objects:,}",
                    NOTHING if sure is None else number(sure.accuracy),
                    NOTHING if sure is None else interval(sure.interval),
                    NOTHING if sure is None else number(sure.f1_weighted),
                    NOTHING if sure is None else number(sure.f1_macro),
                    number(found.fraction_error),
                    f"{scores.voted:,}",
                    number(found.negative_log_likelihood),
                    interval(found.likelihood_interval),
                    number(found.within_90),
                ]
            )
        ruled.add(len(rows) - 1)
    columns = [
        "question",
        "answered by",
        "objects",
        "accuracy",
        "95 % interval",
        "F1, weighted",
        "F1, macro",
        "error of fractions",
        "with a vote",
        "-log likelihood",
        "95 % interval",
        "in 90 %",
    ]
    caption = (
        f"Accuracy, F1 and fractions: objects with more than {above} votes on the question, against the majority; "
        "likelihood and coverage: all with a vote. Weighted by the answers' shares, and even over answers."
    )
    return Table(f"{name}: volunteers' answers", columns, rows, caption, 2, frozenset(ruled))


def class_table(name: str, classes: Mapping[str, ClassScores], inputs: Mapping[str, str]) -> Table:
    """One row for each class: nDCG within ten by input, and by chance."""
    sources = [source for source in inputs if any(source in scores.rankings for scores in classes.values())]
    rows, ruled = [], set()
    for column, scores in classes.items():
        for label, members in sorted(scores.members.items(), key=lambda pair: -pair[1]):
            found = {source: scores.rankings.get(source, {}).get(label) for source in sources}
            first = next((one for one in found.values() if one is not None), None)
            cells = [
                NOTHING if one is None else f"{number(one.ranking.ndcg_at_10)} ({interval(one.ranking.interval)})"
                for one in found.values()
            ]
            chance = NOTHING if first is None else number(first.ranking.chance)
            rows.append([column, label, f"{members:,}", f"{scores.candidates:,}", *cells, chance])
        ruled.add(len(rows) - 1)
    columns = ["column", "class", "members", "of", *(inputs[source] for source in sources), "by chance"]
    caption = "nDCG within ten: queries are objects of the class, and the others of it are to be found; 95 % intervals."
    return Table(f"{name}: retrieval by class", columns, rows, caption, 2, frozenset(ruled))


def feedback_table(name: str, classes: Mapping[str, ClassScores]) -> Table:
    """One row for each class and modality: nDCG within ten before and after examples were marked."""
    rows, marked = [], 0
    for column, scores in classes.items():
        for source, found in (scores.feedback or {}).items():
            for label, one in found.items():
                marked = one.marked
                cells = [_cell(ranking) for ranking in (one.one, one.good, one.good_and_bad)]
                gain = f"{number(one.gain)} ({interval(one.gain_interval)})"
                rows.append([column, label, source, *cells, gain, number(one.one.chance)])
    columns = [
        "column",
        "class",
        "by",
        "one example",
        f"{marked} good ones",
        f"{marked} good, {marked} bad",
        "gain",
        "by chance",
    ]
    caption = "nDCG within ten of the objects that were not marked, over draws of examples; 95 % intervals over draws."
    return Table(f"{name}: marked examples", columns, rows, caption, 3)


def _cell(ranking: Ranking) -> str:
    return f"{number(ranking.ndcg_at_10)} ({interval(ranking.interval)})"
