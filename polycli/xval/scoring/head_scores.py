"""Scores of a model with a head: one answer per record, beside the mean or the commonest class and simple learners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.report.bootstrap import Bootstrap
from polycli.report.table import Table, interval, number
from polycli.xval.model.heads import HeadDescription
from polycli.xval.scoring.baselines import MOST_COLUMNS
from polycli.xval.scoring.score_records import HeadScores, WithInterval

Floats = NDArray[np.float64]

#: Neighbours that k-NN asks, where a head is compared with it.
_NEIGHBOURS = 10


@dataclass(frozen=True)
class Columns:
    """Records as inputs of simple learners: (records, columns), NaN where a record has no number; none for no table."""

    training: Floats
    scored: Floats


def head_scores(
    head: HeadDescription,
    truth: Sequence[Any],
    outputs: Floats,
    learned: Sequence[Any],
    *,
    columns: Columns | None,
    bootstrap: Bootstrap,
) -> HeadScores:
    """Returns the entry of scores.json for a model with a head.

    Args:
        head: what was asked for.
        truth: of the scored records.
        outputs: (records, outputs), as `Judge.outputs`.
        learned: the values of the training records.
        columns: for k-NN and gradient boosting; None where records are no table.
        bootstrap: how intervals are drawn.
    """
    if head.kind == "regression":
        values = np.array(truth, np.float64)
        known = np.array(learned, np.float64)
        return _regression(head, values, outputs[:, 0], known, columns=columns, bootstrap=bootstrap)
    return _classification(head, truth, outputs, learned, columns=columns, bootstrap=bootstrap)


def head_table(name: str, scores: HeadScores) -> Table:
    """Tabulates the scores of a head, one row for each measure."""
    methods = [method for method in ("model", "baseline", "k-NN", "gradient boosting") if method in scores.methods]
    rows = [
        [
            measure,
            number(values.by_method["model"]),
            interval(values.interval),
            *(number(values.by_method[method]) for method in methods[1:]),
        ]
        for measure, values in scores.measures.items()
    ]
    better = scores.better_baselines
    caption = f"A simpler model is better: {', '.join(better)}." if better else ""
    columns = ["", "model", "95 % interval", *(scores.methods[method] for method in methods[1:])]
    return Table(f"{name}: {scores.target}, {scores.kind} of {scores.records:,} records", columns, rows, caption)


def _regression(
    head: HeadDescription,
    truth: Floats,
    answered: Floats,
    learned: Floats,
    *,
    columns: Columns | None,
    bootstrap: Bootstrap,
) -> HeadScores:
    answers = {"model": answered, "baseline": np.full(len(truth), learned.mean())}
    if columns is not None:
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.neighbors import KNeighborsRegressor

        answers["k-NN"] = _neighbours(KNeighborsRegressor(min(_NEIGHBOURS, len(learned))), learned, columns)
        answers["gradient boosting"] = _boosted(HistGradientBoostingRegressor(random_state=0), learned, columns)
    errors = {name: np.abs(values - truth) for name, values in answers.items()}
    squares = {name: values**2 for name, values in errors.items()}
    mae, squared = _means(errors, bootstrap), _means(squares, bootstrap)
    rmse = WithInterval(
        by_method={name: float(np.sqrt(values.mean())) for name, values in squares.items()},
        interval=np.sqrt(np.array(squared.interval, dtype=np.float64)).tolist(),
    )
    names = {"model": "model", "baseline": "mean", "k-NN": "k-NN", "gradient boosting": "gradient boosting"}
    means = {name: float(values.mean()) for name, values in errors.items()}
    return HeadScores(
        target=head.target,
        kind=head.kind,
        records=len(truth),
        methods={name: names[name] for name in answers},
        measures={"mean absolute error": mae, "root mean square error": rmse},
        better_baselines=[names[name] for name in answers if means[name] < means["model"]],
    )


def _classification(
    head: HeadDescription,
    truth: Sequence[Any],
    outputs: Floats,
    learned: Sequence[Any],
    *,
    columns: Columns | None,
    bootstrap: Bootstrap,
) -> HeadScores:
    indices = {value: index for index, value in enumerate(head.classes)}
    # A class that never trained has no index: no answer can be right.
    true = np.array([indices.get(value, -1) for value in truth])
    known = np.array([indices[value] for value in learned])
    answers = {"model": outputs.argmax(axis=1), "baseline": np.full(len(true), np.bincount(known).argmax())}
    if columns is not None:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.neighbors import KNeighborsClassifier

        answers["k-NN"] = _neighbours(KNeighborsClassifier(min(_NEIGHBOURS, len(known))), known, columns)
        answers["gradient boosting"] = _boosted(HistGradientBoostingClassifier(random_state=0), known, columns)
    hits = {name: (values == true).astype(np.float64) for name, values in answers.items()}
    names = {"model": "model", "baseline": "commonest", "k-NN": "k-NN", "gradient boosting": "gradient boosting"}
    accuracy = {name: float(values.mean()) for name, values in hits.items()}
    return HeadScores(
        target=head.target,
        kind=head.kind,
        records=len(true),
        methods={name: names[name] for name in answers},
        measures={"accuracy": _means(hits, bootstrap)},
        better_baselines=[names[name] for name in answers if accuracy[name] > accuracy["model"]],
        classes=list(head.classes),
    )


def _means(values: Mapping[str, Floats], bootstrap: Bootstrap) -> WithInterval:
    means = {name: float(part.mean()) for name, part in values.items()}
    return WithInterval(by_method=means, interval=bootstrap.mean(values["model"]).tolist())


def _boosted(learner: Any, learned: Any, columns: Columns) -> Any:  # noqa: ANN401  # scikit-learn has no types.
    return learner.fit(columns.training, learned).predict(columns.scored)


def _neighbours(learner: Any, learned: Any, columns: Columns) -> Any:  # noqa: ANN401
    """Predicts by k nearest neighbours in standardised columns; an empty cell counts as the column's mean."""
    centre, spread = np.nanmean(columns.training, axis=0), np.nanstd(columns.training, axis=0)
    spread = np.where(spread > 0, spread, 1)
    training, scored = (np.nan_to_num((part - centre) / spread) for part in (columns.training, columns.scored))
    return learner.fit(training, learned).predict(scored)


def columns_of(training: Sequence[dict[str, float]], scored: Sequence[dict[str, float]]) -> Columns | None:
    """Numbers of records by key path as columns; None where they are too many, or there is none."""
    names = list(dict.fromkeys(name for row in training for name in row))
    if not 0 < len(names) <= MOST_COLUMNS or not scored:
        return None
    tables = [
        np.array([[row.get(name, np.nan) for name in names] for row in rows], dtype=np.float64)
        for rows in (training, scored)
    ]
    useful = np.isfinite(tables[0]).any(axis=0)
    return Columns(tables[0][:, useful], tables[1][:, useful]) if useful.any() else None
