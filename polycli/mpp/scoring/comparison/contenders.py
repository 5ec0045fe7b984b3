"""The models of a comparison: the checkpoint that is scored and those of `--baseline`, and what each can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from polycli.console import note
from polycli.errors import StoreError, UserError
from polycli.mpp.model.loaded import LoadedNetwork, load_checkpoint
from polycli.mpp.recipe.settings import EvalSettings, FramesSection
from polycli.mpp.scoring.choosing import choose_subset
from polycli.mpp.scoring.measure import Subset
from polycli.report.figures import MOST_CURVES
from polycli.report.scores import BaselineOrigin
from polycli.requests import EvalRequest
from polycli.store.reader import Store
from polycli.workflow.loaded import labels_of
from polycli.workflow.overlap import baseline_origins

#: Names of the forecasts that need no checkpoint, as tables show them.
SIMPLE = ("linear stencil", "linear extrapolation", "persistence")


@dataclass(frozen=True)
class Contender:
    """A checkpoint and the name that it has in tables: its run's, or its file's."""

    label: str
    loaded: LoadedNetwork


class Contenders:
    """All models of an evaluation, and by dataset those that are scored on it."""

    def __init__(self, loaded: LoadedNetwork, settings: EvalSettings, request: EvalRequest) -> None:
        """Load the baselines.

        Raises:
            UserError: one forecasts no frames, or frames of another stride; or there are too many.
            CheckpointError: one cannot be loaded.
        """
        if len(request.baselines) + 1 + len(SIMPLE) > MOST_CURVES:
            raise UserError(
                f"{len(request.baselines)} baselines; a figure tells {MOST_CURVES - 1 - len(SIMPLE)} apart at most"
            )
        self._settings, self._request = settings, request
        others = [load_checkpoint(path, FramesSection()) for path in request.baselines]
        for path, other in zip(request.baselines, others, strict=True):
            _check(path, other, loaded)
        models = [loaded, *others]
        self.all = [Contender(label, other) for label, other in zip(labels_of(models), models, strict=True)]
        self._subsets: dict[str, dict[str, Subset]] = {}

    def choose(self, store: Store, subset: Subset) -> None:
        """Decide who is scored on a store; who is not is named, with the reason."""
        chosen = {self.all[0].label: subset}
        for contender in self.all[1:]:
            try:
                chosen[contender.label] = choose_subset(
                    store,
                    contender.loaded,
                    split=self._request.split,
                    limit=self._request.limit,
                    allow_untrained=self._settings.allow_untrained,
                )
            except StoreError as error:
                note(f"baseline {contender.label} is not scored on {store.name}: {error.message}")
        history = max(part.history for part in chosen.values())
        self._subsets[store.name] = {
            label: replace(part, history=history, read=replace(part.read, frames=part.history))
            for label, part in chosen.items()
        }

    def on(self, dataset: str) -> Mapping[str, Subset]:
        """Maps each model that is scored on a dataset to the same windows, of which it sees its last frames."""
        return self._subsets[dataset]

    def describe(self, *, rows_are: str) -> Mapping[str, BaselineOrigin]:
        """Returns where the baselines come from, after a check that none was trained on what is scored.

        Raises:
            StoreError: one was, and `--allow-overlap` was not given.
            UserError: one can be scored on none of the datasets.
        """
        parts = self._subsets.values()
        found = {
            other.label: (other.loaded, [part[other.label].scored for part in parts if other.label in part])
            for other in self.all[1:]
        }
        return baseline_origins(found, [*self._subsets], rows_are=rows_are, allow=self._request.allow_overlap)


def _check(path: Path, other: LoadedNetwork, loaded: LoadedNetwork) -> None:
    if other.parameter_model is not None:
        raise UserError(f"baseline {path}: it predicts parameters of the physics, and no frames to compare")
    if other.time_stride != loaded.time_stride:
        raise UserError(
            f"baseline {path}: it steps by {other.time_stride} frames of a store, the checkpoint by "
            f"{loaded.time_stride}; their forecasts are of other times"
        )
