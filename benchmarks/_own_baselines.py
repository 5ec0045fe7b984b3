"""k-NN and boosting for one hidden cell at a time, from a CSV file and scikit-learn alone: what eval's are checked by.

It takes from polycli only which rows train and which test, and the order of rows that eval's seed draws. A column whose
cells are numbers is numbers, one of others texts, and one of both is both, as in eval.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics.pairwise import nan_euclidean_distances

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Features:
    """All rows of a table without the column that is asked for: numbers, and texts as categories."""

    numbers: Floats
    codes: Floats


MISSING = ("", "NA", "nan")


def read_columns(path: Path) -> tuple[dict[str, Floats], dict[str, list[str | None]]]:
    """Numbers and texts of a CSV file, by column."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    numbers: dict[str, Floats] = {}
    texts: dict[str, list[str | None]] = {}
    for name, cells in zip(header, zip(*rows, strict=True), strict=True):
        values = np.array([_number(cell) for cell in cells])
        words = [None if cell in MISSING or np.isfinite(v) else cell for cell, v in zip(cells, values, strict=True)]
        if np.isfinite(values).any():
            numbers[name] = values
        if any(word is not None for word in words):
            texts[name] = words
    return numbers, texts


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def errors_of_own(
    path: Path, *, train: Rows, test: Rows, columns: tuple[str, ...], order: Rows, seed: int
) -> dict[str, dict[str, float]]:
    """Mean absolute errors by column and method, each number of a test row hidden alone.

    Args:
        path: the CSV file.
        train: rows that train, by their place in the file, from 0.
        test: rows that test.
        columns: columns of numbers, in eval's order.
        order: the order in which the rows that train are learned from.
        seed: of boosting.
    """
    numbers, texts = read_columns(path)
    table = np.stack([numbers[name] for name in columns], axis=1)
    codes = _codes(texts, train, len(table))
    found = {}
    for place, name in enumerate(columns):
        known = train[order][np.isfinite(table[train[order], place])]
        asked = test[np.isfinite(table[test, place])]
        if not len(asked) or len(known) < 2:
            continue
        others = Features(np.delete(table, place, axis=1), codes)
        truth, target = table[asked, place], table[known, place]
        answers = {
            "gradient boosting": _boosted(others, target, known, asked, seed=seed),
            "k-NN": _nearest(others, target, known, asked),
        }
        found[name] = {method: float(np.abs(values - truth).mean()) for method, values in answers.items()}
    return found


def _codes(texts: dict[str, list[str | None]], train: Rows, rows: int) -> Floats:
    """Texts as categories, most frequent first, seldom ones together; columns of names are left out."""
    result = []
    for words in texts.values():
        counts = Counter(words[row] for row in train if words[row] is not None)
        if 1 < len(counts) <= max(2, counts.total() / 2):
            code = {word: float(index) for index, (word, _) in enumerate(counts.most_common(253))}
            result.append([np.nan if word is None else code.get(word, float(len(code))) for word in words])
    return np.array(result).T if result else np.empty((rows, 0))


def _boosted(features: Features, target: Floats, known: Rows, asked: Rows, *, seed: int) -> Floats:
    if np.ptp(target) == 0:
        return np.full(len(asked), target[0])
    numbers = features.numbers.shape[1]
    table = np.hstack([features.numbers, features.codes])

    def fitted(loss: str, rows: slice, questions: Rows) -> Floats:
        learner = HistGradientBoostingRegressor(
            loss=loss,
            random_state=seed,
            early_stopping=len(target[rows]) >= 1000,
            categorical_features=np.arange(numbers, table.shape[1]),
        )
        return np.asarray(learner.fit(table[known[rows]], target[rows]).predict(table[questions]))

    some = min(len(known), 4000)
    loss = "squared_error"
    if some >= 20:
        fifth = some // 5
        errors = [
            np.abs(fitted(loss, slice(fifth, some), known[:fifth]) - target[:fifth]).mean()
            for loss in ("squared_error", "absolute_error")
        ]
        loss = "absolute_error" if errors[1] < 0.95 * errors[0] else "squared_error"
    return fitted(loss, slice(None), asked)


def _nearest(features: Features, target: Floats, known: Rows, asked: Rows) -> Floats:
    known, target = known[:5000], target[:5000]
    fifth = len(known) // 5
    best = min(10, len(known))
    if len(known) >= 20:
        counts = [count for count in (1, 2, 3, 5, 10, 20, 40) if count <= len(known) - fifth]
        means = _means_of(features, target[fifth:], known[fifth:], known[:fifth], counts=counts)
        errors = np.abs(means - target[:fifth]).mean(axis=1)
        best = counts[int(errors.argmin())]
    return _means_of(features, target, known, asked, counts=[best])[0]


def _means_of(features: Features, target: Floats, known: Rows, asked: Rows, *, counts: list[int]) -> Floats:
    """(counts, rows): means of the nearest; rows at one distance, to the seventh digit, come in their order."""
    spread = np.nanstd(features.numbers[known], axis=0)
    table = (features.numbers - np.nanmean(features.numbers[known], axis=0)) / np.where(spread > 0, spread, 1)
    for column in features.codes.T:
        categories = np.unique(column[known][np.isfinite(column[known])])
        if 1 < len(categories) <= 32:
            marks = (column[:, None] == categories) / np.sqrt(2)
            table = np.hstack([table, np.where(np.isnan(column)[:, None], np.nan, marks)])
    answers = []
    for rows in np.array_split(asked, max(1, len(asked) // 200)):
        distances = nan_euclidean_distances(table[rows], table[known])
        near = np.argsort((1 + distances).astype(np.float32), axis=1, kind="stable")[:, : max(counts)]
        answers.append([target[near[:, :count]].mean(axis=1) for count in counts])
    return np.concatenate(answers, axis=1)
