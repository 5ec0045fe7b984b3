"""Simpler models that answer for the same hidden numbers: means, the last value, and table learners.

k nearest neighbours and gradient boosting are for tables: records with at most one number under each key path. They
learn from rows drawn over the whole training split, with as many cells hidden as the model does without, see what it
sees, texts too, and are tuned a little on rows held back (`polycli.xval.scoring.table_learners`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.xval.numbers.statistics import NumberStatistics
from polycli.xval.records.records import Records
from polycli.xval.scoring.positions import persistence
from polycli.xval.scoring.table_learners import Question, boosted, nearest
from polycli.xval.scoring.text_columns import TextColumns

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
#: Columns of a table, at most: a learner is fitted for each.
MOST_COLUMNS = 64


def simple_answers(records: Records, turn_of: Rows, statistics: Mapping[str, NumberStatistics]) -> dict[str, Floats]:
    """Maps the name of each baseline to its answers for every number; NaN where it has none.

    `mean` is that of all numbers of the training split, `key mean` that of the key path's; `persistence` is the last
    visible value and, where there is none, the key's mean; only key paths that stand in lists have it.
    """
    known = [statistics.get(path) for path in records.key_paths]
    by_path = np.array([np.nan if entry is None else entry.mean for entry in known])
    counts = np.array([0 if entry is None else entry.count for entry in known], dtype=np.float64)
    mean = float(np.nansum(by_path * counts) / counts.sum()) if counts.sum() else np.nan
    # Of a key path that the training split does not have, nothing nearer is known than the mean of all.
    by_path = np.where(np.isnan(by_path), mean, by_path)
    key_mean = by_path[records.number_keys] if known else np.empty(0)
    answers = {"mean": np.where(turn_of >= 0, mean, np.nan), "key mean": np.where(turn_of >= 0, key_mean, np.nan)}
    last = persistence(records, turn_of)
    in_lists = np.isin(records.number_keys, np.unique(records.number_keys[np.isfinite(last)]))
    if in_lists.any():
        answers["persistence"] = np.where(in_lists & ~np.isfinite(last), answers["key mean"], last)
    return answers


@dataclass(frozen=True)
class Cells:
    """Records as rows of a table: (rows, columns), NaN where a record has no number there."""

    values: Floats
    #: For each number of the records its row and column.
    row: Rows
    column: Rows


def is_table(records: Records) -> bool:
    """Whether every record has at most one number under each key path."""
    owners = np.repeat(np.arange(len(records)), records.number_lengths)
    pairs = owners * max(1, len(records.key_paths)) + records.number_keys
    return 1 < len(records.key_paths) <= MOST_COLUMNS and len(np.unique(pairs)) == len(pairs)


def cells_of(records: Records) -> Cells:
    """The table of records that are one."""
    row = np.repeat(np.arange(len(records)), records.number_lengths)
    column = records.number_keys.astype(np.int64)
    values = np.full((len(records), len(records.key_paths)), np.nan)
    values[row, column] = records.numbers
    return Cells(values, row, column)


def table_answers(
    training: Records, records: Records, turn_of: Rows, *, share: float, seed: int, texts: TextColumns | None = None
) -> dict[str, Floats]:
    """`k-NN` and `gradient boosting`, one answer for every hidden number; `texts` are seen by both, as by the model."""
    learned, asked = cells_of(training), cells_of(records)
    texts = texts or TextColumns.none(len(training), len(records))
    turn = np.full(asked.values.shape, -1, dtype=np.int64)
    turn[asked.row, asked.column] = turn_of
    generator = np.random.default_rng(seed)
    hidden = generator.random(learned.values.shape) < share
    order = generator.permutation(len(training))
    answers = {"k-NN": np.full(len(turn_of), np.nan), "gradient boosting": np.full(len(turn_of), np.nan)}
    for column in range(asked.values.shape[1]):
        numbers = np.flatnonzero((asked.column == column) & (turn_of >= 0))
        # In a random order: rows may be sorted, and some learners are given the first ones alone.
        known = order[np.isfinite(learned.values[order, column])]
        if not len(numbers) or len(known) < 2:
            continue
        rows = asked.row[numbers]
        # What is hidden in the same turn is hidden from these, too; the column itself is among it.
        seen = np.where(turn[rows] == turn_of[numbers][:, None], np.nan, asked.values[rows])
        together = _always_together(turn[rows], turn_of[numbers], column)
        visible = learned.values[known].copy()
        visible[:, together] = np.nan
        question = Question(
            visible=visible,
            masked=np.where(hidden[known], np.nan, visible),
            targets=learned.values[known, column],
            seen=seen,
            codes=texts.training[known],
            seen_codes=texts.asked[rows],
        )
        answers["gradient boosting"][numbers] = boosted(question, seed)
        answers["k-NN"][numbers] = nearest(question)
    return answers


def _always_together(turns: Rows, turn_of: Rows, column: int) -> NDArray[np.bool_]:
    """Columns that are hidden whenever this one is: a learner must not count on them."""
    same = (turns == turn_of[:, None]) | (turns < 0)
    together: NDArray[np.bool_] = same.all(axis=0) & (turns == turn_of[:, None]).any(axis=0)
    together[column] = True
    return together
