"""`polycli eval mpp` of a checkpoint that predicts parameters: errors by trajectory, beside simple methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.console import counted, note, progress, warn
from polycli.errors import StoreError
from polycli.mpp.data.about import physics_of
from polycli.mpp.data.parameters import targets_of_rows
from polycli.mpp.model.loaded import LoadedNetwork
from polycli.mpp.model.regression import ParameterAViT, scaled
from polycli.mpp.model.trained import check_trained
from polycli.mpp.predicting.inputs import StoreContexts
from polycli.mpp.predicting.windows import even_starts
from polycli.mpp.recipe.settings import EvalSettings
from polycli.mpp.scoring.parameters.report import write_report
from polycli.mpp.scoring.parameters.rivals import Rivals
from polycli.mpp.scoring.parameters.scores import (
    ALL,
    Answers,
    Learned,
    beyond_training,
    parameter_scores,
    parameter_table,
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
from polycli.mpp.scoring.rollout import conditions, window_answers
from polycli.mpp.scoring.score_records import ParameterDatasetScores, ParameterScores, ParametersTogether
from polycli.report.bootstrap import Bootstrap
from polycli.report.scores import Scores
from polycli.report.table import Table
from polycli.requests import EvalRequest
from polycli.store.reader import Store
from polycli.workflow.evaluate import Evaluation
from polycli.workflow.overlap import ScoredRows

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ParameterSubset:
    """The trajectories of a store that are scored, and those that simple methods learn from."""

    store: Store
    rows: NDArray[np.int64]
    reference: NDArray[np.int64]
    #: Scored trajectories that were left out, because no target of theirs is known.
    left_out: int

    @property
    def scored(self) -> ScoredRows:
        """The store and the rows of it that are scored."""
        return ScoredRows(self.store, self.rows)


class ParameterEvaluation(Evaluation[LoadedNetwork, EvalSettings, ParameterSubset, ParameterDatasetScores, Answers]):
    """Errors of the parameters that a head predicts, a number for each trajectory."""

    family = "mpp"
    rows_are = "trajectories"
    said_elsewhere = frozenset({"data"})
    compares = True
    said_if_given = Evaluation.said_if_given | {"bands"}

    def __init__(self, loaded: LoadedNetwork, settings: EvalSettings, request: EvalRequest) -> None:
        super().__init__(loaded, settings, request)
        self._subsets: dict[str, ParameterSubset] = {}
        self._all: Mapping[str, ParameterScores] | None = None
        self._rivals = Rivals(loaded, self.model.head, settings, request) if request.baselines else None

    @cached_property
    def model(self) -> ParameterAViT:
        """The network with its head."""
        found = self.loaded.parameter_model
        if found is None:
            raise ValueError("the checkpoint has no head that predicts parameters")
        return found

    def choose(self, store: Store) -> ParameterSubset:
        """Chooses the trajectories to score, and those to learn from: the ones that trained the model, if they did."""
        loaded, split, settings = self.loaded, self.request.split, self.settings
        about = physics_of(store.manifest, store.path)
        conditions(str(store.path), about, known=loaded.section.fields)
        allow, stride = settings.allow_untrained, loaded.time_stride
        check_trained(loaded.trained, str(store.path), about, time_stride=stride, allow=allow)
        rows = store.rows(split)[: self.request.limit]
        unknown = self._scaled(store, rows)
        known = np.isfinite(unknown).any(axis=1) if len(rows) else np.zeros(0, dtype=np.bool_)
        if not known.any():
            raise StoreError(
                f"{store.path}: {counted(len(rows), 'trajectory is', 'trajectories are')} in the split {split}, none "
                f"with a value of {' or '.join(self.model.head.names)}; there are {dict(store.manifest.splits)}",
                hint="choose another --split, or prepare the store from more trajectories",
            )
        if not known.all():
            note(
                f"{store.name}: {int((~known).sum())} of {len(rows)} trajectories lack "
                f"{' and '.join(self.model.head.names)}; they are left out"
            )
        subset = ParameterSubset(store, rows[known], self._reference(store, rows[known]), int((~known).sum()))
        self._starts(rows_of(store, subset.rows))
        self._subsets[store.name] = subset
        if self._rivals is not None:
            self._rivals.choose(subset.scored)
        return subset

    def compared_with(self) -> object:
        """Returns where the models of `--baseline` come from, under `baselines`."""
        return {} if self._rivals is None else {"baselines": self._rivals.describe(rows_are=self.rows_are)}

    def score(self, subset: ParameterSubset, folder: Path) -> tuple[ParameterDatasetScores, Answers]:  # noqa: ARG002  # no parts
        """Errors of one dataset by target and method."""
        store = subset.store
        source = rows_of(store, subset.rows)
        read = conditions(store.name, source.about, known=self.loaded.section.fields)
        head = self.model.head
        standard = self._means(subset, subset.rows, lambda window: window_answers(self.model, window, read), "answers")
        centre, scale = head.standard
        simple: dict[str, Floats] = {}
        if self._learned is not None:
            statistics = self._means(subset, subset.rows, plain_statistics, "spectra")
            simple = simple_answers(self._learned, self._row_of(store.name, statistics), self.settings.seed)
        others = {} if self._rivals is None else self._rivals.answers(subset.scored)
        answers = Answers(self._scaled(store, subset.rows), {"model": standard * scale + centre, **others, **simple})
        scores = parameter_scores(answers, head.targets, self._bootstrap)
        for sentence in beyond_training(scores):
            warn(f"{store.name}: {sentence}")
        dataset = ParameterDatasetScores(
            trajectories=len(subset.rows),
            row_ids=source.ids,
            left_out=subset.left_out,
            windows_per_trajectory=len(self._starts(source)),
            learned_from={each.store.name: len(each.reference) for each in self._subsets.values()},
            parameters=scores,
        )
        return dataset, answers

    def over_all(self, pictures: Mapping[str, Answers]) -> ParametersTogether:
        """Returns the scores of all datasets together, where there are several."""
        if len(pictures) < 2:
            return ParametersTogether()
        self._all = parameter_scores(Answers.joined(list(pictures.values())), self.model.head.targets, self._bootstrap)
        return ParametersTogether(parameters=self._all)

    def tables(self, datasets: Mapping[str, ParameterDatasetScores]) -> Sequence[Table]:
        """One table for each dataset, and one for all together."""
        together = [] if self._all is None else [parameter_table(ALL, self._all)]
        return [*together, *(parameter_table(name, dataset.parameters) for name, dataset in datasets.items())]

    def write_report(
        self,
        scores: Scores[ParameterDatasetScores],
        subsets: Mapping[str, ParameterSubset],  # noqa: ARG002  # The scores say all that is shown.
        pictures: Mapping[str, Answers],
        folder: Path,
    ) -> None:
        """Tables, and predicted over true parameters."""
        frames = f"windows of {self.loaded.history} frames, time stride {self.loaded.time_stride}"
        write_report(scores, self.tables(scores.datasets), pictures, self.model.head, folder, frames=frames)

    @property
    def _bootstrap(self) -> Bootstrap:
        return Bootstrap(samples=self.settings.bootstrap_samples, seed=self.settings.seed)

    @cached_property
    def _parts(self) -> dict[str, tuple[Sequence[str], Floats]]:
        """The fields and the plain statistics of the trajectories to learn from, by dataset."""
        return {
            name: (
                physics_of(subset.store.manifest, subset.store.path).fields,
                self._means(subset, subset.reference, plain_statistics, "spectra to learn from"),
            )
            for name, subset in self._subsets.items()
        }

    @cached_property
    def _learned(self) -> Learned | None:
        """The training trajectories of all datasets, which one learner sees together, as the model did; None where all
        of them are scored.
        """
        if sum(len(subset.reference) for subset in self._subsets.values()) < 2:
            note("no training trajectories are left to learn from: nothing is compared with the model")
            return None
        targets = [self._scaled(subset.store, subset.reference) for subset in self._subsets.values()]
        return Learned(joined_statistics(list(self._parts.values())), np.concatenate(targets))

    def _row_of(self, name: str, statistics: Floats) -> Floats:
        """The statistics of trajectories of one dataset, in the columns of all of them."""
        fields = self._parts[name][0]
        known = list(self._parts.values())
        whole = joined_statistics([*known, (fields, statistics)])
        return whole[len(whole) - len(statistics) :]

    def _reference(self, store: Store, scored: NDArray[np.int64]) -> NDArray[np.int64]:
        """The training trajectories to learn from, of which all targets are known."""
        rows = reference_rows(store, scored, self.loaded)
        known = np.isfinite(self._scaled(store, rows)).all(axis=1) if len(rows) else np.zeros(0, dtype=np.bool_)
        return some_of(rows[known], self.settings.reference_trajectories, self.settings.seed)

    def _scaled(self, store: Store, rows: NDArray[np.int64]) -> Floats:
        hint = "give stores with it: --data STORE"
        return scaled(targets_of_rows(store, rows, self.model.head.names, hint=hint), self.model.head)

    def _starts(self, source: StoreContexts) -> list[int]:
        frames = {"history": self.loaded.history, "time_stride": self.loaded.time_stride}
        return even_starts(source, **frames, count=self.settings.windows_per_trajectory)

    def _means(self, subset: ParameterSubset, rows: NDArray[np.int64], measure: Measure, doing: str) -> Floats:
        source = rows_of(subset.store, rows)
        starts = self._starts(source)
        with progress(len(rows) * len(starts), f"{subset.store.name}: {doing}") as bar:
            return trajectory_means(
                source,
                starts,
                measure,
                history=self.loaded.history,
                time_stride=self.loaded.time_stride,
                batch_size=self.settings.batch_size,
                advance=bar.advance,
            )
