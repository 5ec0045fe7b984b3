"""Errors by trajectory to the numbers of scores.json: means, intervals over trajectories, ratios to persistence."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.scoring.measure import OneStep, Rollouts
from polycli.report.bootstrap import Bootstrap
from polycli.requests import JsonDocument

Floats = NDArray[np.float64]


def one_step_scores(found: OneStep, about: PdeDescription, bootstrap: Bootstrap) -> JsonDocument:
    """`one_step` of a dataset: by metric the mean over fields and windows, and the same for each field."""
    scores: JsonDocument = {"windows_per_trajectory": found.windows, "windows_available": found.available}
    for metric, methods in found.errors.items():
        scores[metric] = _entry_with_fields(methods, about, bootstrap)
    return scores


def rollout_scores(
    found: Rollouts, about: PdeDescription, bootstrap: Bootstrap, *, history: int, interval: float
) -> JsonDocument:
    """`rollout` of a dataset: the first step, the mean of the first five, of all, growth, and conservation.

    `interval` is the time between two frames.
    """
    steps = next(iter(found.errors["nrmse"].values())).shape[1]
    scores: JsonDocument = {
        "context_frames": history,
        "steps": steps,
        "interval": interval,
        "diverged": int((~found.finite).sum()),
    }
    for metric, methods in found.errors.items():
        spans = {"step_1": 1, "steps_1_to_5": 5, "trajectory": steps}
        scores[metric] = {
            name: _entry_with_fields({key: v[:, :span].mean(axis=1) for key, v in methods.items()}, about, bootstrap)
            for name, span in spans.items()
            if span <= steps
        }
        scores[metric]["steps_below_persistence"] = steps_below(methods)
        scores[metric]["growth"] = _growth(methods, bootstrap)
    scores["conservation"] = {name: _drift(values, bootstrap) for name, values in found.conservation.items()}
    return scores


def steps_below(methods: Mapping[str, Floats]) -> JsonDocument:
    """For how many steps, from the first, the model's error (mean over fields) is below persistence's.

    `mean_curve` compares the means over trajectories; the others count in each trajectory by itself.
    """
    model, persistence = (methods[name].mean(axis=2) for name in ("model", "persistence"))
    counts = _leading(model < persistence)
    return {
        "mean_curve": int(_leading(model.mean(axis=0, keepdims=True) < persistence.mean(axis=0, keepdims=True))[0]),
        "median": float(np.median(counts)),
        "least": int(counts.min()),
        "of": model.shape[1],
    }


def _leading(below: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many values of each row are true before the first that is not."""
    counts: NDArray[np.int64] = np.cumprod(below, axis=1).sum(axis=1)
    return counts


def _entry_with_fields(methods: Mapping[str, Floats], about: PdeDescription, bootstrap: Bootstrap) -> JsonDocument:
    """Of errors (trajectory, field): the entry of their mean over fields, and one of each field."""
    fields = {
        name: _entry({method: values[:, place] for method, values in methods.items()}, bootstrap)
        for place, name in enumerate(about.fields)
    }
    return {**_entry({method: values.mean(axis=1) for method, values in methods.items()}, bootstrap), "fields": fields}


def _entry(methods: Mapping[str, Floats], bootstrap: Bootstrap) -> JsonDocument:
    """Of errors (trajectory,): means of all methods, the model's interval, its ratio to persistence and that one's."""
    model, persistence = methods["model"], methods["persistence"]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(model.mean() / persistence.mean())
    return {
        **{method: float(values.mean()) for method, values in methods.items()},
        "interval": bootstrap.mean(model).tolist(),
        "ratio": ratio,
        "ratio_interval": bootstrap.ratio(model, persistence).tolist(),
    }


def _growth(methods: Mapping[str, Floats], bootstrap: Bootstrap) -> JsonDocument:
    """Means over trajectories and fields at every step, and the model's interval: two lists, low and high."""
    curves = {method: values.mean(axis=2) for method, values in methods.items()}
    return {
        **{method: values.mean(axis=0).tolist() for method, values in curves.items()},
        "interval": bootstrap.mean(curves["model"]).tolist(),
    }


def _drift(values: Mapping[str, Floats], bootstrap: Bootstrap) -> JsonDocument:
    """Of relative drifts (trajectory, step): each trajectory's largest, averaged, and the mean size at each step."""
    size = {whose: np.nan_to_num(np.abs(drift), nan=np.inf) for whose, drift in values.items()}
    return {
        **{whose: float(drift.max(axis=1).mean()) for whose, drift in size.items()},
        "interval": bootstrap.mean(size["model"].max(axis=1)).tolist(),
        "growth": {whose: drift.mean(axis=0).tolist() for whose, drift in size.items()},
    }
