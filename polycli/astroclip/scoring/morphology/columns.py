"""The columns that predicted votes make in a catalogue: expected fractions with their bounds, and what stands last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.recipe.votes import VotesSection

Columns = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]
#: The share of the probability between the two bounds.
LEVEL = 0.9


def vote_columns(section: VotesSection, concentrations: Mapping[str, NDArray[np.float32]]) -> Columns:
    """Columns by question: each answer's expected fraction and its 90 % bounds, the likeliest answer, who is asked.

    `COLUMN_fraction` is the mean of the Dirichlet distribution, `COLUMN_fraction_low90` and `_high90` the 5 and 95 %
    quantiles of the fraction itself, a beta distribution: what very many volunteers would say; the votes of few scatter
    more. `QUESTION` is the likeliest answer, `QUESTION_asked` the expected share of volunteers who come to it, and
    `leaf` the answers on the way that the likeliest ones lead, question by question.
    """
    from scipy.stats import beta

    columns: Columns = {}
    fractions: dict[str, Floats] = {}
    for name, question in section.questions.items():
        a = concentrations[name].astype(np.float64)
        whole = a.sum(axis=1, keepdims=True)
        fractions[name] = a / whole
        low, high = (beta.ppf(place, a, whole - a) for place in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        columns[name] = np.array(section.labels(name), dtype=object)[a.argmax(axis=1)]
        columns[f"{name}_asked"] = shares_asked(section, name, fractions, columns)
        for place, column in enumerate(question.answers):
            columns[f"{column}_fraction"] = fractions[name][:, place]
            columns[f"{column}_fraction_low{100 * LEVEL:g}"] = low[:, place]
            columns[f"{column}_fraction_high{100 * LEVEL:g}"] = high[:, place]
    columns["leaf"] = leaves(section, fractions)
    return columns


def shares_asked(
    section: VotesSection, question: str, fractions: Mapping[str, Floats], columns: Mapping[str, NDArray[Any]]
) -> Floats:
    """(n,) the expected share of volunteers who come to a question, by the columns of those before it."""
    parents = section.questions[question].parents()
    if not parents:
        return np.ones(len(fractions[question]))
    shares = []
    for parent, answers in parents.items():
        places = [section.questions[parent].answers.index(answer) for answer in answers]
        shares.append(columns[f"{parent}_asked"] * fractions[parent][:, places].sum(axis=1))
    return np.asarray(np.minimum(np.sum(shares, axis=0), 1.0), np.float64)


def leaves(section: VotesSection, fractions: Mapping[str, Floats]) -> NDArray[Any]:
    """(n,) by object, the columns of the likeliest answers to all questions that these answers lead to."""
    count = len(next(iter(fractions.values())))
    # By question, the place of the likeliest answer among the columns; -1 where it is not asked.
    steps: dict[str, NDArray[np.intp]] = {}
    columns = section.columns
    for name, question in section.questions.items():
        parents = question.parents()
        asked = np.full(count, not parents)
        for parent, answers in parents.items():
            asked |= np.isin(steps[parent], [columns.index(answer) for answer in answers])
        likeliest = section.slices()[name].start + fractions[name].argmax(axis=1)
        steps[name] = np.where(asked, likeliest, -1)
    # Paths are few, however many the objects are.
    paths, places = np.unique(np.stack(list(steps.values()), axis=1), axis=0, return_inverse=True)
    texts = [", ".join(columns[step] for step in path if step >= 0) for path in paths.tolist()]
    return np.array(texts, dtype=object)[places.reshape(-1)]
