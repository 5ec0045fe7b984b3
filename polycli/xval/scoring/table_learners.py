"""k nearest neighbours and gradient boosting for one column of a table, tuned a little on rows that are held back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.xval.scoring.text_columns import ABSENT, Codes

Floats = NDArray[np.float64]
#: Numbers of neighbours that are tried.
NEIGHBOURS = (1, 2, 3, 5, 10, 20, 40)
#: Losses of boosting that are tried; the mean absolute error is what is scored.
LOSSES = ("squared_error", "absolute_error")
#: Training rows that neighbours are sought among: all pairs are looked at.
_NEIGHBOUR_ROWS = 5000
#: Rows that a loss is chosen with, and the share of them that is held back for that.
_TUNED_ROWS, _HELD_BACK = 4000, 5
#: By so much must the second loss be better to be taken: less is chance.
_GAIN = 0.95
#: Fewer rows than this are not divided.
_FEWEST = 20
#: Categories that neighbours are compared in.
_MOST_COMPARED = 32
_BLOCK = 512


@dataclass(frozen=True)
class Question:
    """One column that is asked about: rows to learn from, in a random order, and rows without an answer."""

    #: (rows, columns) of numbers, NaN where there is none; `masked` has as many hidden as the model does without.
    visible: Floats
    masked: Floats
    targets: Floats
    seen: Floats
    #: (rows, columns) of categories of texts.
    codes: Codes
    seen_codes: Codes

    def first(self, count: int) -> Question:
        """Returns the question with so many of the rows to learn from."""
        return replace(
            self,
            visible=self.visible[:count],
            masked=self.masked[:count],
            targets=self.targets[:count],
            codes=self.codes[:count],
        )

    def held_back(self) -> tuple[Question, Floats]:
        """Some rows to learn from as if their answers were not known, and these answers."""
        count = len(self.targets) // _HELD_BACK
        rest = replace(
            self,
            visible=self.visible[count:],
            masked=self.masked[count:],
            targets=self.targets[count:],
            codes=self.codes[count:],
            seen=self.masked[:count],
            seen_codes=self.codes[:count],
        )
        return rest, self.targets[:count]


def boosted(question: Question, seed: int) -> Floats:
    """Histogram gradient boosting with texts as categories; its loss is the better one on rows held back."""
    if np.ptp(question.targets) == 0:
        return np.full(len(question.seen), question.targets[0])
    loss = LOSSES[0]
    tuned = question.first(_TUNED_ROWS)
    if len(tuned.targets) >= _FEWEST:
        rest, truth = tuned.held_back()
        errors = {name: float(np.abs(_boosted(rest, name, seed) - truth).mean()) for name in LOSSES}
        loss = LOSSES[0] if _GAIN * errors[LOSSES[0]] <= errors[LOSSES[1]] else LOSSES[1]
    return _boosted(question, loss, seed)


def _boosted(question: Question, loss: str, seed: int) -> Floats:
    from sklearn.ensemble import HistGradientBoostingRegressor

    useful = np.isfinite(question.masked).any(axis=0)
    if not (useful.any() or question.codes.shape[1]) or np.ptp(question.targets) == 0:
        typical = np.mean if loss == LOSSES[0] else np.median
        return np.full(len(question.seen), float(typical(question.targets)))
    numbers = int(useful.sum())
    learner = HistGradientBoostingRegressor(
        loss=loss,
        random_state=seed,
        early_stopping=len(question.targets) >= 1000,
        categorical_features=np.arange(numbers, numbers + question.codes.shape[1]),
    )
    learner.fit(_joined(question.masked[:, useful], question.codes), question.targets)
    return np.asarray(learner.predict(_joined(question.seen[:, useful], question.seen_codes)), dtype=np.float64)


def _joined(numbers: Floats, codes: Codes) -> Floats:
    return np.hstack([numbers, np.where(codes == ABSENT, np.nan, codes)])


def nearest(question: Question) -> Floats:
    """Mean of the nearest rows in standardised columns, over those that both have; texts that differ are one apart.

    How many neighbours is decided by rows that are held back.
    """
    question = question.first(_NEIGHBOUR_ROWS)
    counts = [count for count in NEIGHBOURS if count <= len(question.targets)]
    count = min(10, len(question.targets))
    if len(question.targets) >= _FEWEST:
        rest, truth = question.held_back()
        answers = _neighbours(rest, [count for count in counts if count <= len(rest.targets)])
        count = min(answers, key=lambda count: float(np.abs(answers[count] - truth).mean()))
    return _neighbours(question, [count])[count]


def _neighbours(question: Question, counts: list[int]) -> dict[int, Floats]:
    """Answers by the number of neighbours."""
    from sklearn.metrics.pairwise import nan_euclidean_distances

    known, asked = _standardised(question)
    if not known.shape[1]:
        return {count: np.full(len(asked), question.targets.mean()) for count in counts}
    most = max(counts)
    parts: dict[int, list[Any]] = {count: [] for count in counts}
    for start in range(0, len(asked), _BLOCK):
        distances = nan_euclidean_distances(asked[start : start + _BLOCK], known)
        # Rows that share no column are infinitely far, and no neighbours: without any, the mean is the answer.
        distances = np.where(np.isfinite(distances), distances, np.inf)
        order = _in_order(distances)
        closest = np.argpartition(order, most - 1, axis=1)[:, :most]
        closest = np.take_along_axis(closest, np.argsort(np.take_along_axis(order, closest, 1), 1), 1)
        near = np.isfinite(np.take_along_axis(distances, closest, 1))
        sums, numbers = np.cumsum(np.where(near, question.targets[closest], 0), axis=1), np.cumsum(near, axis=1)
        for count in counts:
            total, number = sums[:, count - 1], numbers[:, count - 1]
            parts[count].append(np.where(number > 0, total / np.maximum(number, 1), question.targets.mean()))
    return {count: np.concatenate(found) for count, found in parts.items()}


def _in_order(distances: Floats) -> NDArray[np.int64]:
    """Integers that rise with distance and, where that is the same to seven digits, with the place of the row.

    Tables of whole numbers have many rows at one distance: which of them count must not depend on rounding.
    """
    rounded = (1 + distances).astype(np.float32).view(np.int32).astype(np.int64)
    return (rounded << 32) + np.arange(distances.shape[1])


def _standardised(question: Question) -> tuple[Floats, Floats]:
    """Columns for distances: numbers over their standard deviation, categories as one column each."""
    useful = np.isfinite(question.visible).any(axis=0)
    visible, seen = question.visible[:, useful], question.seen[:, useful]
    if useful.any():
        centre, spread = np.nanmean(visible, axis=0), np.nanstd(visible, axis=0)
        spread = np.where(spread > 0, spread, 1)
        visible, seen = (visible - centre) / spread, (seen - centre) / spread
    known, asked = [visible], [seen]
    for codes, seen_codes in zip(question.codes.T, question.seen_codes.T, strict=True):
        categories = np.unique(codes[codes != ABSENT])
        if 1 < len(categories) <= _MOST_COMPARED:
            known.append(_one_hot(codes, categories))
            asked.append(_one_hot(seen_codes, categories))
    return np.hstack(known), np.hstack(asked)


def _one_hot(codes: Codes, categories: Codes) -> Floats:
    """(rows, categories): two that differ are at the distance 1; NaN where there is no text."""
    marks = (codes[:, None] == categories[None, :]) / np.sqrt(2)
    return np.where(codes[:, None] == ABSENT, np.nan, marks)
