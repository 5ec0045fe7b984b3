"""Scores of predicted parameters, beside the best constant and gradient boosting on plain statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.mpp.model.regression import Target
from polycli.mpp.scoring.score_records import ParameterScores
from polycli.report.bootstrap import Bootstrap
from polycli.report.probes import NumberErrors, ProbeSettings, error_scores, predict_targets
from polycli.report.table import NOTHING, Table, interval, number

Floats = NDArray[np.float64]
#: What the scores of all datasets together are called in tables.
ALL = "all datasets together"
#: How methods are called in tables; others are called by their own names.
METHODS = {
    "model": "model",
    "constant": "best constant",
    "boosting": "boosting on spectra",
    "linear": "linear probe",
    "knn": "k-NN probe",
}
#: Trees with leaves of a twentieth of few rows, down to this many, still learn from them.
_SMALLEST_LEAF = 2


@dataclass(frozen=True)
class Answers:
    """True and predicted parameters of trajectories, (trajectory, target), as errors are counted; NaN is unknown."""

    truth: Floats
    by_method: Mapping[str, Floats]

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """Those of several datasets, one below the other, by the methods that all of them have."""
        shared = [name for name in parts[0].by_method if all(name in part.by_method for part in parts)]
        return cls(
            np.concatenate([part.truth for part in parts]),
            {name: np.concatenate([part.by_method[name] for part in parts]) for name in shared},
        )


@dataclass(frozen=True)
class Learned:
    """Training trajectories that simple methods learn from: plain statistics, and targets as errors are counted."""

    statistics: Floats
    targets: Floats


def simple_answers(learned: Learned, asked: Floats, seed: int) -> dict[str, Floats]:
    """The answers of the best constant and of gradient boosting for rows of plain statistics, (row, target) each.

    The constant is the mean over the training trajectories, whose squared error is the least.
    """
    boosted = [probe_answers("boosting", learned.statistics, column, asked, seed) for column in learned.targets.T]
    means = np.nanmean(learned.targets, axis=0)
    return {"constant": np.tile(means, (len(asked), 1)), "boosting": np.stack(boosted, axis=1)}


def probe_answers(probe: str, train: Floats, targets: Floats, asked: Floats, seed: int) -> Floats:
    """The answers for `asked`, (row,), of a probe (linear, knn or boosting) that learns from `train` and `targets`.

    Training rows without a target are passed over.
    """
    known = np.isfinite(targets)
    count = int(known.sum())
    settings = ProbeSettings(neighbours=10, smallest_leaf=max(_SMALLEST_LEAF, min(20, count // 20)), seed=seed)
    return predict_targets(probe, train[known], targets[known], asked, settings)  # type: ignore[arg-type]


def parameter_scores(
    answers: Answers, targets: Sequence[Target], bootstrap: Bootstrap, tested: Sequence[str] = ("model",)
) -> dict[str, ParameterScores]:
    """The entry of scores.json for each target: errors of every method, and the simple ones that are better.

    `tested` are the methods on trial, of which the best counts in that comparison.
    """
    scores: dict[str, ParameterScores] = {}
    for index, target in enumerate(targets):
        truth = answers.truth[:, index]
        known = np.isfinite(truth)
        methods = {
            name: error_scores(truth[known], values[known, index], bootstrap)
            for name, values in answers.by_method.items()
        }
        predicted = answers.by_method[tested[0]][known, index]
        best = min(_rmse(methods[name]) for name in tested)
        low, high = (np.log10(value) if target.logarithm else value for value in (target.low, target.high))
        scores[target.name] = ParameterScores(
            trajectories=int(known.sum()),
            unknown=int((~known).sum()),
            logarithm=target.logarithm,
            trained_from=[target.low, target.high],
            answers_outside=int(((predicted < low) | (predicted > high)).sum()),
            truth_outside=int(((truth[known] < low) | (truth[known] > high)).sum()),
            methods=methods,
            better_baselines=[name for name in methods if name not in tested and _rmse(methods[name]) < best],
        )
    return scores


def _rmse(errors: NumberErrors) -> float:
    return math.nan if errors.rmse is None else errors.rmse


def beyond_training(entries: Mapping[str, ParameterScores]) -> list[str]:
    """Returns a sentence for each target in the entries of `parameter_scores` whose true values no training had."""
    return [
        f"{name} of {entry.truth_outside} of {entry.trajectories} trajectories is outside of training, which had "
        f"{entry.trained_from[0]:g} to {entry.trained_from[1]:g}: the model extrapolates, or the units are others"
        for name, entry in entries.items()
        if 2 * entry.truth_outside > entry.trajectories
    ]


def parameter_table(title: str, entries: Mapping[str, ParameterScores], *, tested: str = "the model") -> Table:
    """One row for each target and method; `tested` is what sentences call the methods on trial."""
    rows, ends = [], set()
    for name, entry in entries.items():
        shown = f"{name}, log10" if entry.logarithm else name
        for method, errors in entry.methods.items():
            alone = entry.trajectories < 2
            rows.append(
                [
                    shown,
                    METHODS.get(method, method),
                    number(errors.r2),
                    NOTHING if alone else interval(errors.r2_interval),
                    number(errors.mae),
                    NOTHING if alone else interval(errors.mae_interval),
                    number(errors.rmse),
                    NOTHING if alone else interval(errors.rmse_interval),
                ]
            )
        ends.add(len(rows) - 1)
    better = sorted({METHODS.get(other, other) for entry in entries.values() for other in entry.better_baselines})
    caption = f"Better than {tested} for some parameter: {', '.join(better)}." if better else ""
    columns = ["parameter", "", "R2", "95 % interval", "mean error", "95 % interval", "RMSE", "95 % interval"]
    return Table(title, columns, rows, caption, 2, frozenset(ends))
