"""Counts of votes from the columns of a store: what volunteers answered about its objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.data.table_files import nearest_names
from polycli.astroclip.recipe.votes import VotesSection
from polycli.errors import StoreError

Counts = NDArray[np.float64]


def refuse_absent_votes(section: VotesSection, stores: Sequence[ObjectStore]) -> None:
    """Return if every store has a column of numbers for each answer.

    Raises:
        StoreError: one has not; the sentence has the nearest names.
    """
    for store in stores:
        absent = [
            (question, column)
            for question, found in section.questions.items()
            for column in found.answers
            if column not in store.columns
        ]
        if absent:
            question, column = absent[0]
            others = f", nor {len(absent) - 1} more of {len(section.columns)} columns of votes" if absent[1:] else ""
            raise StoreError(
                f"{store.path}: has no column {column}, the votes for an answer to {question}{others}",
                hint=_hint(section, question, nearest_names(column, store.columns)),
            )


def _hint(section: VotesSection, question: str, near: str) -> str:
    if section.tree is None:
        return near
    near = near if near.endswith("?") else f"{near}."
    return f"{near} `leave_out: [{question}]` of the section votes does without this question."


def read_votes(store: ObjectStore, rows: NDArray[np.int64], section: VotesSection) -> Counts:
    """(n, answers) votes in the order of the section's columns; an unknown count is none.

    Raises:
        StoreError: a column is not there, is text, or holds what cannot be a count.
    """
    refuse_absent_votes(section, [store])
    counts = np.stack([store.target(name, rows) for name in section.columns], axis=1)
    counts = np.where(np.isnan(counts), 0.0, counts)
    for name, values in zip(section.columns, counts.T, strict=True):
        wrong = (values < 0) | (values != np.floor(values)) | np.isinf(values)
        if wrong.any():
            raise StoreError(
                f"{store.path}: column {name} holds {values[wrong][0]:g} in row {rows[np.flatnonzero(wrong)[0]]}, and "
                "a whole number of votes was expected",
                hint="name the columns that count votes, not those of fractions or weights; `null` of the catalogue "
                "makes gaps of marks such as -99",
            )
    return counts
