"""Probes of a model's vectors: how well simple methods read the parameters of the physics off them.

A linear and a k-nearest-neighbour probe learn from the pooled tokens of training trajectories, which are those that
`embed` writes, and are scored on other trajectories. Beside them stand the best constant and gradient boosting on plain
statistics of the same windows: a representation that knows the physics beats both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from polycli.console import note, progress
from polycli.mpp.data.parameters import parameters_of_rows
from polycli.mpp.model.loaded import LoadedNetwork
from polycli.mpp.model.regression import HeadDescription, scaled
from polycli.mpp.predicting.windows import even_starts
from polycli.mpp.recipe.settings import EvalSettings
from polycli.mpp.scoring.measure import Subset
from polycli.mpp.scoring.parameters.scores import (
    ALL,
    Answers,
    Learned,
    parameter_scores,
    parameter_table,
    probe_answers,
    simple_answers,
)
from polycli.mpp.scoring.parameters.trajectories import (
    Measure,
    joined_statistics,
    plain_statistics,
    reference_rows,
    rows_of,
    some_of,
    trajectory_means,
)
from polycli.mpp.scoring.rollout import last_tokens
from polycli.mpp.scoring.score_records import ParameterScores
from polycli.mpp.training.targets import target_of, varies
from polycli.report.bootstrap import Bootstrap
from polycli.report.table import Table

Floats = NDArray[np.float64]
#: The probes that learn from vectors.
PROBES = ("linear", "knn")
#: With fewer trajectories to learn from or to score, nothing is learnt about a model.
FEWEST_TRAINING, FEWEST_SCORED = 8, 2


@dataclass(frozen=True)
class Side:
    """Some trajectories of one dataset: vectors, plain statistics and parameters of each."""

    vectors: Floats
    statistics: Floats
    parameters: Mapping[str, Floats]


@dataclass(frozen=True)
class Probed:
    """The trajectories of one dataset that probes learn from, and those that are scored."""

    fields: tuple[str, ...]
    training: Side
    scored: Side


class Probes:
    """The probes of one evaluation, dataset by dataset and of all together."""

    def __init__(self, loaded: LoadedNetwork, settings: EvalSettings) -> None:
        self._loaded, self._settings = loaded, settings
        self._bootstrap = Bootstrap(samples=settings.bootstrap_samples, seed=settings.seed)
        self._parts: list[Probed] = []
        self._together: Mapping[str, ParameterScores] | None = None

    def of(self, subset: Subset) -> Mapping[str, ParameterScores] | None:
        """Returns the scores of a dataset by parameter; None where no probes are asked for."""
        if not self._settings.probes:
            return None
        self._parts.append(probe_dataset(self._loaded, subset, self._settings))
        scores = probe_scores(self._parts[-1:], self._bootstrap)
        if not scores:
            note(f"{subset.store.name}: no parameter varies between enough trajectories: probes have nothing to read")
        return scores

    def together(self) -> Mapping[str, ParameterScores] | None:
        """Returns the scores of all datasets together by parameter; None where there are not several."""
        if len(self._parts) > 1:
            self._together = probe_scores(self._parts, self._bootstrap)
        return self._together

    def table(self) -> list[Table]:
        """The table of all datasets together, where there are several."""
        return probe_tables({ALL: self._together})


def probe_tables(datasets: Mapping[str, Mapping[str, ParameterScores] | None]) -> list[Table]:
    """One table for each dataset of which a parameter was read."""
    return [
        parameter_table(f"{name}: parameters read off the model's vectors", scores, tested="the probes")
        for name, scores in datasets.items()
        if scores
    ]


def probe_dataset(loaded: LoadedNetwork, subset: Subset, settings: EvalSettings) -> Probed:
    """Vectors and statistics of the trajectories of a dataset, of which some are scored and others learnt from."""
    reference = some_of(
        reference_rows(subset.store, subset.rows, loaded), settings.reference_trajectories, settings.seed
    )
    sides = []
    for rows, doing in ((reference, "to learn from"), (subset.rows, "to score")):
        source = rows_of(subset.store, rows)
        starts = even_starts(
            source, history=subset.history, time_stride=subset.time_stride, count=settings.windows_per_trajectory
        )
        measures: tuple[Measure, ...] = (lambda window: _pooled(loaded, window, subset), plain_statistics)
        with progress(2 * len(rows) * len(starts), f"{subset.store.name}: vectors {doing}") as bar:
            vectors, statistics = (
                trajectory_means(
                    source,
                    starts,
                    measure,
                    history=subset.history,
                    time_stride=subset.time_stride,
                    batch_size=settings.batch_size,
                    advance=bar.advance,
                )
                for measure in measures
            )
        sides.append(Side(vectors, statistics, parameters_of_rows(subset.store, rows)))
    return Probed(subset.about.fields, *sides)


def probe_scores(parts: Sequence[Probed], bootstrap: Bootstrap) -> dict[str, ParameterScores]:
    """The entry of scores.json for each parameter that all parts have and that varies in training."""
    scores: dict[str, ParameterScores] = {}
    names = [name for name in parts[0].training.parameters if all(name in p.training.parameters for p in parts)]
    for name in names:
        train, test = (np.concatenate([side.parameters[name] for side in sides]) for sides in _sides(parts))
        known, asked = np.isfinite(train), np.isfinite(test)
        if known.sum() < FEWEST_TRAINING or asked.sum() < FEWEST_SCORED or not varies(train[known]):
            continue
        target = target_of(name, train[known])
        head = HeadDescription(targets=(target,), hidden=(), statistics=False)
        truth, learned = (scaled(values[:, None], head) for values in (test, train))
        vectors = [np.concatenate([side.vectors for side in sides]) for sides in _sides(parts)]
        probes = {
            probe: probe_answers(probe, vectors[0], learned[:, 0], vectors[1], bootstrap.seed)[:, None]
            for probe in PROBES
        }
        table = joined_statistics(
            [(part.fields, part.training.statistics) for part in parts]
            + [(part.fields, part.scored.statistics) for part in parts]
        )
        simple = simple_answers(
            Learned(table[: len(train)][known], learned[known]), table[len(train) :], bootstrap.seed
        )
        entry = parameter_scores(Answers(truth, {**probes, **simple}), [target], bootstrap, PROBES)[name]
        scores[name] = replace(entry, learned_from=int(known.sum()))
    return scores


def _sides(parts: Sequence[Probed]) -> tuple[list[Side], list[Side]]:
    return [part.training for part in parts], [part.scored for part in parts]


def _pooled(loaded: LoadedNetwork, window: Tensor, subset: Subset) -> Tensor:
    # A probe of a model that was told the parameter would read what it was told.
    return last_tokens(loaded.model, window, replace(subset.read, told=None)).mean(dim=(1, 2))
