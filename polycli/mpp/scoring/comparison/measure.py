"""Scores several models on the same windows of one dataset, beside forecasts that need no training or no iteration.

All forecast the same frames: a model with a shorter history sees the last frames of the longest one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from polycli.console import note, progress
from polycli.mpp.model.network import Network
from polycli.mpp.recipe.settings import EvalSettings
from polycli.mpp.scoring.comparison.contenders import SIMPLE, Contenders
from polycli.mpp.scoring.comparison.stencil import LinearStencil, fit_stencil
from polycli.mpp.scoring.measure import Errors, Floats, OneStep, Rollouts, Subset, score_one_step, score_rollouts
from polycli.mpp.scoring.rollout import next_frame
from polycli.mpp.scoring.score_records import (
    BlowUp,
    ComparisonScores,
    ContenderRollout,
    ContenderScores,
    Cost,
    MeanScore,
)
from polycli.mpp.scoring.summarise import BLOWN_UP, WINDOWS
from polycli.mpp.training.costs import flops_per_sample
from polycli.report.binomial import beta_interval
from polycli.report.bootstrap import Bootstrap

#: Turns in which all models are timed one after the other; the quickest of each counts, which load disturbs least.
_TURNS = 15


@dataclass(frozen=True)
class _Forecasts:
    """The errors of one method: of one step (trajectory, field) and of rollouts (trajectory, step, field)."""

    one_step: Mapping[str, Floats]
    rollout: Mapping[str, Floats]


@torch.no_grad()
def compare(
    contenders: Contenders, dataset: str, settings: EvalSettings, *, known: tuple[OneStep, Rollouts]
) -> ComparisonScores:
    """`comparison` of a dataset in scores.json: by method its errors, how often it blew up, and what it costs.

    Args:
        contenders: the models.
        dataset: which dataset.
        settings: as for the checkpoint alone.
        known: the scores of the checkpoint alone, which stand where its history is the longest.
    """
    subsets = contenders.on(dataset)
    networks: dict[str, nn.Module] = {
        contender.label: contender.loaded.model for contender in contenders.all if contender.label in subsets
    }
    first = contenders.all[0].label
    subset = _with_all_frames(subsets[first])
    stencil = _stencil(subset, device=next(networks[first].parameters()).device)
    if stencil is not None:
        networks[SIMPLE[0]] = stencil
    scored: dict[str, tuple[OneStep, Rollouts]] = {}
    for label, network in networks.items():
        own = subsets.get(label, subset)
        same = label == first and own.history == own.read.frames
        scored[label] = known if same else _scores(network, own, settings, f"{dataset}: {label}")
    found = {label: _of(one_step.errors, rollouts.errors, "model") for label, (one_step, rollouts) in scored.items()}
    # Forecasts by formula are scored beside every network, on the same windows.
    one_step, rollouts = scored[first]
    for label, method in ((SIMPLE[1], "linear"), (SIMPLE[2], "persistence")):
        if method in one_step.errors["nrmse"]:
            found[label] = _of(one_step.errors, rollouts.errors, method)
    bootstrap = Bootstrap(samples=settings.bootstrap_samples, seed=settings.seed)
    times = _times(networks, subsets, subset)
    return ComparisonScores(
        context_frames=subset.history,
        steps=int(next(iter(found.values())).rollout["vrmse"].shape[1]),
        interval=subset.about.dt * subset.time_stride,
        models={
            label: _summary(
                forecasts, bootstrap, _cost(networks.get(label), subsets.get(label, subset), times.get(label, 0.0))
            )
            for label, forecasts in found.items()
        },
    )


def _with_all_frames(subset: Subset) -> Subset:
    """The subset as forecasts see it that need no checkpoint: whole contexts, and nothing told beside the frames."""
    return replace(subset, read=replace(subset.read, frames=None, told=None))


def _scores(network: nn.Module, subset: Subset, settings: EvalSettings, title: str) -> tuple[OneStep, Rollouts]:
    windows = len(subset.rows) * min(subset.windows, max(1, settings.max_windows // len(subset.rows)))
    steps = min(settings.rollout_steps or subset.frames, subset.frames - subset.history)
    with progress(windows + steps * len(subset.rows), title) as bar:
        one_step = score_one_step(
            network, subset, batch_size=settings.batch_size, max_windows=settings.max_windows, progress=bar
        )
        rollouts = score_rollouts(network, subset, steps=steps, batch_size=settings.rollout_batch_size, progress=bar)
    return one_step, rollouts


def _stencil(subset: Subset, *, device: torch.device) -> LinearStencil | None:
    """The linear stencil, fitted on training trajectories that are not scored; None, and said, where there are none."""
    rows = np.setdiff1d(subset.store.rows("train"), subset.rows)
    if len(rows) == 0:
        note(f"{subset.store.name}: no training trajectory but those that are scored, so no linear stencil is fitted")
        return None
    return fit_stencil(subset, rows, device=device)


def _of(one_step: Errors, rollout: Errors, method: str) -> _Forecasts:
    return _Forecasts(
        {metric: methods[method] for metric, methods in one_step.items()},
        {metric: methods[method] for metric, methods in rollout.items()},
    )


def _summary(forecasts: _Forecasts, bootstrap: Bootstrap, cost: Cost) -> ContenderScores:
    """Means over fields and trajectories, with intervals over trajectories."""

    def entry(values: Floats) -> MeanScore:
        return MeanScore(mean=float(values.mean()), interval=bootstrap.mean(values).tolist())

    steps = next(iter(forecasts.rollout.values())).shape[1]
    spans = {name: span for name, span in {**WINDOWS, "trajectory": (1, steps)}.items() if span[1] <= steps}
    worst = forecasts.rollout["vrmse"].mean(axis=2).max(axis=1)
    blown = int((~(worst <= BLOWN_UP)).sum())
    return ContenderScores(
        one_step={metric: entry(values.mean(axis=1)) for metric, values in forecasts.one_step.items()},
        rollout={
            metric: ContenderRollout(
                spans={name: entry(values[:, low - 1 : high].mean(axis=(1, 2))) for name, (low, high) in spans.items()},
                growth=values.mean(axis=(0, 2)).tolist(),
            )
            for metric, values in forecasts.rollout.items()
        },
        blow_up=BlowUp(
            above=BLOWN_UP, rollouts=blown, rate=blown / len(worst), interval=[*beta_interval(blown, len(worst))]
        ),
        cost=cost,
    )


def _times(networks: Mapping[str, nn.Module], subsets: Mapping[str, Subset], default: Subset) -> dict[str, float]:
    """Milliseconds of one step of one trajectory, the least of some turns in which all models take part."""
    contexts = {
        label: subsets.get(label, default).load([(int(default.rows[0]), 0)], default.history) for label in networks
    }
    least = dict.fromkeys(networks, float("inf"))
    for _ in range(_TURNS + 1):  # The first turn warms up; it is never the quickest.
        for label, network in networks.items():
            device = next(network.parameters()).device
            _wait(device)
            begin = time.perf_counter()
            next_frame(network, contexts[label], subsets.get(label, default).read.at([0]))
            _wait(device)
            least[label] = min(least[label], 1e3 * (time.perf_counter() - begin))
    return least


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _cost(network: nn.Module | None, subset: Subset, milliseconds: float) -> Cost:
    """Parameters, operations of one step of one trajectory, and the time that it takes."""
    if network is None:
        return Cost(kind="formula", parameters=0, flops=0, milliseconds=0.0)
    if isinstance(network, Network):
        kind = network.section.kind
        frames = subset.read.frames or subset.history
        flops = flops_per_sample(network.section, frames, len(subset.about.fields), subset.about.grid)
    else:
        assert isinstance(network, LinearStencil)  # noqa: S101  # There are no others.
        kind, flops = "least squares", network.operations * subset.about.grid[0] * subset.about.grid[1]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(kind=kind, parameters=parameters, flops=int(flops), milliseconds=milliseconds)
