"""Fills in classes from the token head: candidates as whole sequences of tokens, with probabilities that sum to one.

Where candidates part, the model is asked which token comes next, all that is before it given, and its answer is taken
among the tokens with which candidates go on. The probability of a candidate is the product along its own tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polycli.xval.records.classes import Class, Column, Fork
from polycli.xval.records.records import Records
from polycli.xval.records.structure import FIRST_KEY, MASK, token_array
from polycli.xval.scoring.fill import Filler

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClassAnswer:
    """The answer of the model for one blank."""

    #: The record, and the token of the blank's [MASK] among `Records.token_ids`.
    record: int
    token: int
    column: Column
    #: One for each candidate.
    probabilities: Floats

    @property
    def best(self) -> int:
        """The place of the likeliest candidate."""
        return int(self.probabilities.argmax())

    @property
    def value(self) -> Class:
        """Returns the likeliest candidate."""
        return self.column.values[self.best]


@dataclass(frozen=True)
class _Question:
    """A blank, and one of the places where its candidates part."""

    blank: int
    fork: Fork


def class_answers(filler: Filler, records: Records, columns: Mapping[int, Column]) -> list[ClassAnswer]:
    """Answers for the blanks of some records, in the order in which they stand.

    Args:
        filler: the model.
        records: whose blanks are as `Column.blank` writes them; numbers that are NaN are hidden.
        columns: by the token of their key.
    """
    ids = records.token_ids
    blanks = np.flatnonzero(ids == MASK)
    if not len(blanks):
        return []
    owners = np.searchsorted(records.token_offsets, blanks, side="right") - 1
    # What stands between the key and the [MASK] are bytes of a text.
    keys = np.maximum.accumulate(np.where(ids >= FIRST_KEY, np.arange(len(ids)), -1))[blanks]
    of_blank = [columns[int(ids[key])] for key in keys]
    questions = [_Question(blank, fork) for blank, column in enumerate(of_blank) for fork in column.forks]
    spans = [(start := int(keys[q.blank]) + 1, start + len(of_blank[q.blank].blank)) for q in questions]
    asked, places = _written(records, [int(owners[q.blank]) for q in questions], spans, [q.fork for q in questions])
    logits = filler.token_logits(asked, np.isnan(asked.numbers), places)
    logs = [np.zeros(len(column.values)) for column in of_blank]
    for question, row in zip(questions, logits, strict=True):
        tokens = list(question.fork.branches)
        chances = row[[ord(token) for token in tokens]]
        chances = chances - np.logaddexp.reduce(chances)
        for chance, token in zip(chances, tokens, strict=True):
            logs[question.blank][list(question.fork.branches[token])] += chance
    return [
        ClassAnswer(int(owner), int(token), column, np.exp(log - np.logaddexp.reduce(log)))
        for owner, token, column, log in zip(owners, blanks, of_blank, logs, strict=True)
    ]


def _written(
    records: Records, rows: list[int], spans: list[tuple[int, int]], forks: list[Fork]
) -> tuple[Records, NDArray[np.int64]]:
    """A copy of its record for each question, with the question's blank in place of a span, and where its [MASK] is."""
    chosen = records.select(rows)
    parts, lengths, places = [], [], []
    start = 0
    for row, (first, end), fork in zip(rows, spans, forks, strict=True):
        blank = token_array(fork.blank)
        low, high = int(records.token_offsets[row]), int(records.token_offsets[row + 1])
        part = np.concatenate([records.token_ids[low:first], blank, records.token_ids[end:high]])
        places.append(start + first - low + len(fork.prefix))
        parts.append(part)
        lengths.append(len(part))
        start += len(part)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return replace(chosen, token_ids=np.concatenate(parts), token_offsets=offsets), np.array(places, dtype=np.int64)
