"""Other checkpoints that predict the same parameters, named by `--baseline`: scored on the same trajectories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.console import note
from polycli.errors import StoreError, UserError
from polycli.mpp.data.about import physics_of
from polycli.mpp.model.loaded import LoadedNetwork, load_checkpoint
from polycli.mpp.model.regression import HeadDescription, ParameterAViT, original, scaled
from polycli.mpp.model.trained import check_trained
from polycli.mpp.predicting.inputs import ContextSource
from polycli.mpp.predicting.windows import even_starts
from polycli.mpp.recipe.settings import EvalSettings, FramesSection
from polycli.mpp.scoring.parameters.scores import METHODS
from polycli.mpp.scoring.parameters.trajectories import rows_of, trajectory_means
from polycli.mpp.scoring.rollout import conditions, window_answers
from polycli.report.scores import BaselineOrigin
from polycli.requests import EvalRequest
from polycli.store.reader import Store
from polycli.workflow.loaded import labels_of
from polycli.workflow.overlap import ScoredRows, baseline_origins

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rival:
    """A checkpoint with a head, and the name that it has in tables: its run's, or its file's."""

    label: str
    loaded: LoadedNetwork
    model: ParameterAViT

    def answers(self, store: Store, rows: NDArray[np.int64], settings: EvalSettings, head: HeadDescription) -> Floats:
        """Its answers for the targets of `head`, as errors of those are counted, (trajectory, target)."""
        source = rows_of(store, rows)
        means = head_means(self.loaded, self.model, source, settings.windows_per_trajectory, settings.batch_size)
        found = original(means, self.model.head)
        names = self.model.head.names
        answers = scaled(np.stack([found[:, names.index(name)] for name in head.names], axis=1), head)
        for name, column in zip(head.names, answers.T, strict=True):
            lost = int((~np.isfinite(column)).sum())
            if lost:
                note(
                    f"{store.name}: {lost} of {len(column)} answers of baseline {self.label} for {name} are not above "
                    "zero, and have no logarithm to score: it has no scores for it"
                )
        return answers


class Rivals:
    """All checkpoints of `--baseline`, and by dataset those that are scored on it."""

    def __init__(
        self, loaded: LoadedNetwork, head: HeadDescription, settings: EvalSettings, request: EvalRequest
    ) -> None:
        """Load them.

        Raises:
            UserError: one does not predict the parameters that the checkpoint predicts.
            CheckpointError: one cannot be loaded.
        """
        self._settings, self._request, self._head = settings, request, head
        others = [load_checkpoint(path, FramesSection()) for path in request.baselines]
        models = []
        for path, other in zip(request.baselines, others, strict=True):
            model = other.parameter_model
            missing = [name for name in head.names if model is None or name not in model.head.names]
            if model is None or missing:
                has = "predicts frames and no parameters" if model is None else f"does not predict {missing[0]}"
                raise UserError(f"baseline {path}: it {has}; the checkpoint predicts {', '.join(head.names)}")
            models.append(model)
        labels = labels_of([loaded, *others])[1:]
        named = [f"run {label}" if label in METHODS else label for label in labels]
        self._all = [Rival(*found) for found in zip(named, others, models, strict=True)]
        self._scored: dict[str, list[ScoredRows]] = {rival.label: [] for rival in self._all}
        self._datasets: list[str] = []

    def choose(self, scored: ScoredRows) -> None:
        """Decide who is scored on a store; who is not is named, with the reason."""
        store = scored.store
        self._datasets.append(store.name)
        about = physics_of(store.manifest, store.path)
        allow = self._settings.allow_untrained
        for rival in self._all:
            known, stride = rival.loaded.section.fields, rival.loaded.time_stride
            try:
                conditions(str(store.path), about, known=known)
                check_trained(rival.loaded.trained, str(store.path), about, time_stride=stride, allow=allow)
                _starts(rival.loaded, rows_of(store, scored.rows), self._settings.windows_per_trajectory)
            except StoreError as error:
                note(f"baseline {rival.label} is not scored on {store.name}: {error.message}")
                continue
            self._scored[rival.label].append(scored)

    def answers(self, scored: ScoredRows) -> Mapping[str, Floats]:
        """The answers of all that are scored on a store, by the names that they have in tables."""
        return {
            rival.label: rival.answers(scored.store, scored.rows, self._settings, self._head)
            for rival in self._all
            if any(part.store.name == scored.store.name for part in self._scored[rival.label])
        }

    def describe(self, *, rows_are: str) -> Mapping[str, BaselineOrigin]:
        """Returns where they come from, after a check that none was trained on what is scored.

        Raises:
            StoreError: one was, and `--allow-overlap` was not given.
            UserError: one can be scored nowhere.
        """
        found = {rival.label: (rival.loaded, self._scored[rival.label]) for rival in self._all}
        return baseline_origins(found, self._datasets, rows_are=rows_are, allow=self._request.allow_overlap)


def head_means(
    loaded: LoadedNetwork, model: ParameterAViT, source: ContextSource, windows: int, batch_size: int
) -> Floats:
    """The standardised answers of a head, averaged over windows of each trajectory, (trajectory, target)."""
    read = conditions(source.name, source.about, known=loaded.section.fields)
    return trajectory_means(
        source,
        _starts(loaded, source, windows),
        lambda window: window_answers(model, window, read),
        history=loaded.history,
        time_stride=loaded.time_stride,
        batch_size=batch_size,
    )


def _starts(loaded: LoadedNetwork, source: ContextSource, windows: int) -> list[int]:
    return even_starts(source, history=loaded.history, time_stride=loaded.time_stride, count=windows)
