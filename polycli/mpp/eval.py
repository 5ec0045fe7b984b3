"""`polycli eval mpp`: a checkpoint and stores to scores, figures and a report."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from polycli.console import progress, rank, result, say, warn
from polycli.errors import StoreError
from polycli.mpp.model.loaded import LoadedAViT, load_checkpoint
from polycli.mpp.predicting.files import ForecastHeader, writing
from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.recipe.settings import EvalSettings
from polycli.mpp.scoring.measure import Illustration, Subset, score_one_step, score_rollouts
from polycli.mpp.scoring.report import write_report
from polycli.mpp.scoring.rollout import conditions
from polycli.mpp.scoring.summarise import one_step_scores, rollout_scores
from polycli.mpp.scoring.tables import overview
from polycli.recipes import default_recipe
from polycli.report.bootstrap import Bootstrap
from polycli.report.folder import evaluation_folder, finite_json, write_scores
from polycli.report.table import as_text
from polycli.requests import EvalRequest, JsonDocument, Split
from polycli.store.reader import Store
from polycli.workflow.evaluated_stores import evaluated_stores, output_folder
from polycli.workflow.overlap import ScoredRows, check_overlap, warn_of_shared_validation


def run(request: EvalRequest) -> JsonDocument | None:
    """Score a checkpoint on the trajectories of a split, beside persistence and linear extrapolation.

    Raises:
        UserError: checkpoint, stores and settings do not fit each other, or the checkpoint was trained on what it
            would be tested on; nothing was written.
    """
    settings = default_recipe("mpp", "eval", request.overrides, schema=EvalSettings)
    if rank() > 0:
        return None  # Scores are made by one process: no trajectory waits for another.
    loaded = load_checkpoint(request.checkpoint, settings.data)
    stores = evaluated_stores(request.data, family="mpp", model_file=loaded.model_file, run=loaded.run)
    subsets = [_subset(store, loaded, request.split, request.limit) for store in stores]
    scored = [ScoredRows(subset.store, subset.rows) for subset in subsets]
    seen = check_overlap(scored, loaded, rows_are="trajectories", allow=request.allow_overlap)
    warn_of_shared_validation(scored, loaded, request.split, rows_are="trajectories")
    output = output_folder(request, loaded.run)
    scores: JsonDocument = {
        "split": request.split,
        **loaded.provenance(),
        "store_hash": {subset.store.name: subset.store.manifest.store_hash for subset in subsets},
        "overlap": seen.document("trajectories"),
        "settings": settings.model_dump(mode="json", exclude={"family", "verb", "data"}),
        "datasets": {},
    }
    # Beside the output: a store that turns out to be damaged leaves nothing there.
    with evaluation_folder(output, parts=("rollouts",)) as unfinished:
        pictures = {}
        for subset in subsets:
            scores["datasets"][subset.store.name], pictures[subset.store.name] = score(
                loaded, subset, settings, unfinished
            )
        scores = finite_json(scores)
        if settings.report:
            write_report(scores, {subset.store.name: subset.about for subset in subsets}, pictures, unfinished)
        write_scores(scores, unfinished)
    say(f"scores: {output / 'scores.json'}")
    if settings.report:
        say(f"report: {output / 'report.html'}")
    if not request.json:
        result("\n\n".join(as_text(table) for table in overview(scores["datasets"])))
    return scores


def score(
    loaded: LoadedAViT, subset: Subset, settings: EvalSettings, folder: Path
) -> tuple[JsonDocument, Illustration]:
    """All scores of one dataset, and some frames to look at."""
    name, interval = subset.store.name, subset.about.dt * subset.time_stride
    bootstrap = Bootstrap(samples=settings.bootstrap_samples, seed=settings.seed)
    windows = len(subset.rows) * min(subset.windows, max(1, settings.max_windows // len(subset.rows)))
    with progress(windows, f"{name}: one step") as bar:
        one_step = score_one_step(
            loaded.model, subset, batch_size=settings.batch_size, max_windows=settings.max_windows, progress=bar
        )
    steps = min(settings.rollout_steps or subset.frames, subset.frames - subset.history)
    with progress(steps * len(subset.rows), f"{name}: rollouts") as bar, ExitStack() as files:
        saved = None
        if settings.save_rollouts:
            origin = {**loaded.provenance(), "store_hash": subset.store.manifest.store_hash}
            header = rollout_header(subset, steps, origin)
            saved = files.enter_context(writing(folder / "rollouts" / f"{name}.zarr", [header]))[0]
        rollouts = score_rollouts(
            loaded.model, subset, steps=steps, batch_size=settings.rollout_batch_size, progress=bar, saved=saved
        )
    if not rollouts.finite.all():
        warn(f"{name}: {int((~rollouts.finite).sum())} of {len(subset.rows)} rollouts are not finite to the end")
    found: JsonDocument = {
        "trajectories": len(subset.rows),
        "row_ids": [subset.store.manifest.row_ids[row] for row in subset.rows],
        "one_step": one_step_scores(one_step, subset.about, bootstrap),
        "rollout": rollout_scores(rollouts, subset.about, bootstrap, history=subset.history, interval=interval),
    }
    return found, rollouts.illustration


def rollout_header(subset: Subset, steps: int, origin: JsonDocument) -> ForecastHeader:
    """Of the rollouts from the first frames."""
    time = subset.store.read("time")[:: subset.time_stride].astype(np.float64)
    return ForecastHeader(
        name=subset.store.name,
        about=subset.about,
        trajectories=tuple(subset.store.manifest.row_ids[row] for row in subset.rows),
        time=time[subset.history : subset.history + steps],
        interval=subset.about.dt * subset.time_stride,
        provenance=origin,
    )


def _subset(store: Store, loaded: LoadedAViT, split: Split, limit: int | None) -> Subset:
    """The trajectories to score, after everything that could stop it has been looked at."""
    about = PdeDescription.model_validate(store.manifest.about)
    read = conditions(str(store.path), about, known=loaded.section.fields, patch_size=loaded.section.patch_size)
    rows = store.rows(split)[:limit]
    if len(rows) == 0:
        raise StoreError(
            f"{store.path}: no trajectory is in the split {split}; there are {dict(store.manifest.splits)}",
            hint="choose another --split, or prepare the store from more trajectories",
        )
    subset = Subset(store, about, read, rows, loaded.history, loaded.time_stride)
    frames = store.manifest.arrays["fields"].shape[1]
    if subset.frames <= subset.history:
        raise StoreError(
            f"{store.path}: a trajectory has {frames} frames, history {subset.history} at time_stride "
            f"{subset.time_stride} needs at least {subset.history * subset.time_stride + 1}",
            hint="--set data.history=N, with fewer frames than the model was trained with, or longer trajectories",
        )
    return subset
