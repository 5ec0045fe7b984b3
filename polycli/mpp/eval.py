"""`polycli eval mpp`: a checkpoint and stores to scores, figures and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from polycli.console import progress, rank, warn
from polycli.json_records import finite, to_object
from polycli.mpp.model.loaded import LoadedNetwork, load_checkpoint
from polycli.mpp.predicting.files import ForecastHeader, forecast_arrays
from polycli.mpp.recipe.settings import EvalSettings
from polycli.mpp.scoring.bands.testing import BandTests
from polycli.mpp.scoring.choosing import choose_subset
from polycli.mpp.scoring.comparison.contenders import Contenders
from polycli.mpp.scoring.comparison.measure import compare
from polycli.mpp.scoring.measure import Illustration, Subset, score_one_step, score_rollouts
from polycli.mpp.scoring.parameters.evaluation import ParameterEvaluation
from polycli.mpp.scoring.parameters.probing import Probes
from polycli.mpp.scoring.published import PaperTable
from polycli.mpp.scoring.report import write_report
from polycli.mpp.scoring.score_records import ForecastScores, ForecastsTogether
from polycli.mpp.scoring.summarise import one_step_scores, rollout_scores
from polycli.mpp.scoring.tables import overview
from polycli.mpp.scoring.verdicts import verdicts
from polycli.recipes import default_recipe
from polycli.report.bootstrap import Bootstrap
from polycli.report.scores import Scores
from polycli.report.table import Table
from polycli.report.verdict import Verdict
from polycli.requests import EvalRequest, JsonDocument
from polycli.store.reader import Store
from polycli.workflow.evaluate import Evaluation


def run(request: EvalRequest) -> JsonDocument | None:
    """Score a checkpoint on the trajectories of a split, beside persistence and linear extrapolation.

    Raises:
        UserError: checkpoint, stores and settings do not fit each other, or the checkpoint was trained on what it
            would be tested on; nothing was written.
    """
    settings = default_recipe("mpp", "eval", request.overrides, schema=EvalSettings)
    if rank() > 0:
        return None  # Scores are made by one process: no trajectory waits for another.
    loaded = load_checkpoint(request.checkpoint, settings.data, settings.model)
    if loaded.parameter_model is not None:
        return ParameterEvaluation(loaded, settings, request).run(report=settings.report)
    return ForecastEvaluation(loaded, settings, request).run(report=settings.report)


class ForecastEvaluation(Evaluation[LoadedNetwork, EvalSettings, Subset, ForecastScores, Illustration]):
    """Errors of one step and of rollouts from the first frames."""

    family = "mpp"
    rows_are = "trajectories"
    said_elsewhere = frozenset({"data"})
    said_if_given = Evaluation.said_if_given | {"bands", "compare"}
    parts = ("rollouts",)
    compares = True

    def __init__(self, loaded: LoadedNetwork, settings: EvalSettings, request: EvalRequest) -> None:
        self._paper = PaperTable(loaded, settings, request)
        settings = self._paper.settings
        super().__init__(loaded, settings, request)
        self._together = ForecastsTogether()
        self.band_tests = BandTests(loaded, settings.bands, allow_overlap=request.allow_overlap)
        self.contenders = Contenders(loaded, settings, request) if request.baselines else None

    def choose(self, store: Store) -> Subset:
        """Chooses the trajectories to score."""
        subset = choose_subset(
            store,
            self.loaded,
            split=self.request.split,
            limit=self.request.limit,
            allow_untrained=self.settings.allow_untrained,
        )
        self.band_tests.choose(subset)
        if self.contenders is not None:
            self.contenders.choose(store, subset)
        return subset

    def compared_with(self) -> object:
        """Returns where the models of `--baseline` come from, under `baselines`."""
        return {} if self.contenders is None else {"baselines": self.contenders.describe(rows_are=self.rows_are)}

    def score(self, subset: Subset, folder: Path) -> tuple[ForecastScores, Illustration]:
        """All scores of one dataset, and some frames to look at."""
        model, settings = self.loaded.model, self.settings
        name, interval = subset.store.name, subset.about.dt * subset.time_stride
        bootstrap = Bootstrap(samples=settings.bootstrap_samples, seed=settings.seed)
        windows = len(subset.rows) * min(subset.windows, max(1, settings.max_windows // len(subset.rows)))
        with progress(windows, f"{name}: one step") as bar:
            one_step = score_one_step(
                model, subset, batch_size=settings.batch_size, max_windows=settings.max_windows, progress=bar
            )
        steps = min(settings.rollout_steps or subset.frames, subset.frames - subset.history)
        meter = self.band_tests.meter(subset, steps)
        with progress(steps * len(subset.rows), f"{name}: rollouts") as bar, ExitStack() as files:
            saved = None
            if settings.save_rollouts:
                header = self._header(subset, steps)
                saved = files.enter_context(forecast_arrays(folder / "rollouts" / f"{name}.zarr", [header]))[0]
            rollouts = score_rollouts(
                model,
                subset,
                steps=steps,
                batch_size=settings.rollout_batch_size,
                progress=bar,
                saved=saved,
                meter=meter,
            )
        if not rollouts.finite.all():
            warn(f"{name}: {int((~rollouts.finite).sum())} of {len(subset.rows)} rollouts are not finite to the end")
        scores = ForecastScores(
            trajectories=len(subset.rows),
            row_ids=[subset.store.manifest.row_ids[row] for row in subset.rows],
            one_step=one_step_scores(one_step, subset.about, bootstrap),
            rollout=rollout_scores(rollouts, subset.about, bootstrap, history=subset.history, interval=interval),
            probes=self._probes.of(subset),
        )
        self._paper.add(subset, one_step)
        if self.contenders is not None:
            comparison = compare(self.contenders, name, settings, known=(one_step, rollouts))
            scores = replace(scores, comparison=comparison)
        if meter is None:
            return scores, rollouts.illustration
        bands, strips = self.band_tests.scores(subset, meter, rollouts)
        return replace(scores, bands=bands), replace(rollouts.illustration, bands=strips)

    def tables(self, datasets: Mapping[str, ForecastScores]) -> Sequence[Table]:
        """Errors by dataset, of one step and of rollouts, and what probes read off the vectors."""
        return [*overview(datasets), *self._probes.table(), *self._paper.tables()]

    def over_all(self, pictures: Mapping[str, Illustration]) -> ForecastsTogether:  # noqa: ARG002  # The probes keep theirs.
        """Returns what probes read off the vectors of all datasets together, and the columns of the paper's table."""
        self._together = ForecastsTogether(probes=self._probes.together(), paper_table1=self._paper.scores())
        return self._together

    @cached_property
    def _probes(self) -> Probes:
        return Probes(self.loaded, self.settings)

    def write_report(
        self,
        scores: Scores[ForecastScores],
        subsets: Mapping[str, Subset],
        pictures: Mapping[str, Illustration],
        folder: Path,
    ) -> None:
        """Figures of errors over time and of fields."""
        frames = f"history of {self.loaded.history} frames, time stride {self.loaded.time_stride}"
        together = finite(self._together)
        write_report(
            scores, subsets, pictures, folder, frames=frames, together=together, training=self.training(folder)
        )

    def verdicts(self, datasets: Mapping[str, ForecastScores]) -> Mapping[str, Verdict]:
        """One sentence for each dataset: against persistence, how long rollouts hold, the weakest field."""
        return verdicts(datasets)

    def _header(self, subset: Subset, steps: int) -> ForecastHeader:
        """The header for files of rollouts, which start from the first frames."""
        time = subset.store.read("time")[:: subset.time_stride].astype(np.float64)
        return ForecastHeader(
            name=subset.store.name,
            about=subset.about,
            trajectories=tuple(subset.store.manifest.row_ids[row] for row in subset.rows),
            time=time[subset.history : subset.history + steps],
            interval=subset.about.dt * subset.time_stride,
            provenance={**to_object(self.loaded.provenance()), "store_hash": subset.store.manifest.store_hash},
            bands=self.band_tests.bands_of(subset.store.name),
        )
