"""Errors by trajectory to the numbers of scores.json: means, intervals over trajectories, ratios to persistence."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.scoring.measure import OneStep, Rollouts
from polycli.mpp.scoring.score_records import (
    BlowUp,
    CorrelationScores,
    Drift,
    FieldErrors,
    FieldSpectrum,
    Growth,
    OneStepScores,
    RolloutErrors,
    RolloutScores,
    SpectrumScores,
    StepsBelow,
)
from polycli.mpp.scoring.spectra import LOST_BELOW, Spectra, steps_correlated
from polycli.report.binomial import beta_interval
from polycli.report.bootstrap import Bootstrap
from polycli.report.scores import Errors

Floats = NDArray[np.float64]
#: Steps of rollouts, both ends included, over which papers average: MPP's, The Well's (6:12, 13:30) and Walrus'.
WINDOWS: dict[str, tuple[int, int]] = {
    "step_1": (1, 1),
    "steps_1_to_5": (1, 5),
    "steps_6_to_12": (6, 12),
    "steps_13_to_30": (13, 30),
    "steps_1_to_10": (1, 10),
    "steps_11_to_30": (11, 30),
    "steps_1_to_20": (1, 20),
    "steps_21_to_60": (21, 60),
}
#: A rollout whose error is above this, or not finite, has blown up; tables of The Well print such errors as ">10".
BLOWN_UP = 10.0


def one_step_scores(one_step: OneStep, about: PdeDescription, bootstrap: Bootstrap) -> OneStepScores:
    """`one_step` of a dataset: by metric the mean over fields and windows, and the same for each field."""
    return OneStepScores(
        windows_per_trajectory=one_step.windows,
        windows_available=one_step.available,
        metrics={metric: _entry_with_fields(methods, about, bootstrap) for metric, methods in one_step.errors.items()},
    )


def rollout_scores(
    rollouts: Rollouts, about: PdeDescription, bootstrap: Bootstrap, *, history: int, interval: float
) -> RolloutScores:
    """`rollout` of a dataset: the first step, the mean of the first five, of all, growth, and conservation.

    `interval` is the time between two frames.
    """
    steps = next(iter(rollouts.errors["nrmse"].values())).shape[1]
    return RolloutScores(
        context_frames=history,
        steps=steps,
        interval=interval,
        diverged=int((~rollouts.finite).sum()),
        metrics={
            metric: _rollout_errors(methods, about, bootstrap, steps) for metric, methods in rollouts.errors.items()
        },
        correlation=_correlation(rollouts, bootstrap, interval),
        spectra=[_spectrum(spectra, about) for spectra in rollouts.spectra],
        blow_up=_blow_up(rollouts, about),
        conservation={name: _drift(values, bootstrap) for name, values in rollouts.conservation.items()},
    )


def _rollout_errors(
    methods: Mapping[str, Floats], about: PdeDescription, bootstrap: Bootstrap, steps: int
) -> RolloutErrors:
    """Summarises errors (trajectory, step, field) over the spans of steps that the rollouts have."""
    spans = {**WINDOWS, "trajectory": (1, steps)}
    return RolloutErrors(
        spans={
            name: _entry_with_fields(
                {key: v[:, first - 1 : last].mean(axis=1) for key, v in methods.items()}, about, bootstrap
            )
            for name, (first, last) in spans.items()
            if last <= steps
        },
        steps_below_persistence=steps_below(methods),
        growth=_growth(methods, bootstrap),
    )


def _correlation(rollouts: Rollouts, bootstrap: Bootstrap, interval: float) -> CorrelationScores:
    """Averages over trajectories how long forecasts stay correlated with the truth, in steps and in time."""
    kept = {method: steps_correlated(values).astype(np.float64) for method, values in rollouts.correlation.items()}
    low, high = bootstrap.mean(kept["model"]).tolist()
    return CorrelationScores(
        threshold=LOST_BELOW,
        steps={method: float(values.mean()) for method, values in kept.items()},
        steps_interval=[low, high],
        time={method: float(values.mean()) * interval for method, values in kept.items()},
        growth={method: values.mean(axis=(0, 2)).tolist() for method, values in rollouts.correlation.items()},
    )


def _spectrum(spectra: Spectra, about: PdeDescription) -> SpectrumScores:
    """Mean power by wavenumber, and the model's over the truth's in thirds of the wavenumbers: low, middle, high."""
    model, truth = spectra.model.mean(axis=0), spectra.truth.mean(axis=0)
    bands = dict(zip(("low", "middle", "high"), np.array_split(np.arange(truth.shape[1]), 3), strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = {
            name: (model[:, band].sum(axis=1) / truth[:, band].sum(axis=1)).tolist()
            for name, band in bands.items()
            if len(band)
        }
    return SpectrumScores(
        step=spectra.step,
        fields={
            field: FieldSpectrum(
                model=model[index].tolist(),
                truth=truth[index].tolist(),
                ratio={name: values[index] for name, values in ratios.items()},
            )
            for index, field in enumerate(about.fields)
        },
    )


def _blow_up(rollouts: Rollouts, about: PdeDescription) -> BlowUp:
    """The share of rollouts that blow up before their end, with the interval that a binomial count allows."""
    worst = (
        rollouts.errors["vrmse"]["model"].reshape(len(rollouts.finite), -1, len(about.fields)).mean(axis=2).max(axis=1)
    )
    blown = ~(worst <= BLOWN_UP) | ~rollouts.finite
    low, high = beta_interval(int(blown.sum()), len(blown))
    return BlowUp(above=BLOWN_UP, rollouts=int(blown.sum()), rate=float(blown.mean()), interval=[low, high])


def steps_below(methods: Mapping[str, Floats]) -> StepsBelow:
    """Counts the steps, from the first, at which the model's error (mean over fields) is below persistence's.

    `mean_curve` compares the means over trajectories; the others count in each trajectory by itself.
    """
    model, persistence = (methods[name].mean(axis=2) for name in ("model", "persistence"))
    counts = _leading(model < persistence)
    return StepsBelow(
        mean_curve=int(_leading(model.mean(axis=0, keepdims=True) < persistence.mean(axis=0, keepdims=True))[0]),
        median=float(np.median(counts)),
        least=int(counts.min()),
        of=model.shape[1],
    )


def _leading(below: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Counts the values of each row that are true before the first that is not."""
    counts: NDArray[np.int64] = np.cumprod(below, axis=1).sum(axis=1)
    return counts


def _entry_with_fields(methods: Mapping[str, Floats], about: PdeDescription, bootstrap: Bootstrap) -> FieldErrors:
    """Summarises errors (trajectory, field): an entry for their mean over fields, and one for each field."""
    fields = {
        name: _entry({method: values[:, index] for method, values in methods.items()}, bootstrap)
        for index, name in enumerate(about.fields)
    }
    mean = _entry({method: values.mean(axis=1) for method, values in methods.items()}, bootstrap)
    return FieldErrors(mean=mean, fields=fields)


def _entry(methods: Mapping[str, Floats], bootstrap: Bootstrap) -> Errors:
    """Summarises errors (trajectory,): means of all methods, and the model's ratio to persistence, with intervals."""
    model, persistence = methods["model"], methods["persistence"]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(model.mean() / persistence.mean())
    return Errors(
        by_method={method: float(values.mean()) for method, values in methods.items()},
        interval=bootstrap.mean(model).tolist(),
        ratio=ratio,
        ratio_interval=bootstrap.ratio(model, persistence).tolist(),
    )


def _growth(methods: Mapping[str, Floats], bootstrap: Bootstrap) -> Growth:
    """Means over trajectories and fields at every step, and the model's interval: two lists, low and high."""
    curves = {method: values.mean(axis=2) for method, values in methods.items()}
    return Growth(
        by_method={method: values.mean(axis=0).tolist() for method, values in curves.items()},
        interval=bootstrap.mean(curves["model"]).tolist(),
    )


def _drift(values: Mapping[str, Floats], bootstrap: Bootstrap) -> Drift:
    """Summarises relative drifts (trajectory, step): mean of the trajectories' largest, and the mean size by step."""
    size = {whose: np.nan_to_num(np.abs(drift), nan=np.inf) for whose, drift in values.items()}
    return Drift(
        largest={whose: float(drift.max(axis=1).mean()) for whose, drift in size.items()},
        interval=bootstrap.mean(size["model"].max(axis=1)).tolist(),
        growth={whose: drift.mean(axis=0).tolist() for whose, drift in size.items()},
    )
