"""Says in one sentence for each dataset how good an evaluation of forecasts came out, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping

from polycli.console import counted
from polycli.mpp.scoring.score_records import ForecastScores
from polycli.report.scores import Errors
from polycli.report.table import interval, number
from polycli.report.verdict import Standing, Verdict

MEASURE = "one-step VRMSE over that of persistence"


def verdicts(datasets: Mapping[str, ForecastScores]) -> dict[str, Verdict]:
    """Says by dataset: one step against persistence and extrapolation, how long rollouts hold, the weakest field."""
    return {name: _verdict(dataset) for name, dataset in datasets.items()}


def _verdict(dataset: ForecastScores) -> Verdict:
    errors = dataset.one_step.metrics["vrmse"].mean
    steps = dataset.rollout.metrics["vrmse"].steps_below_persistence
    held = f"rollouts stay below persistence for {'all' if steps.mean_curve == steps.of else steps.mean_curve} "
    held += f"{steps.of} steps" if steps.mean_curve == steps.of else f"of {steps.of} steps"
    parts = [_against_persistence(errors, dataset.trajectories), held]
    useful = _useful_steps(dataset)
    if useful < steps.of:
        parts.append(f"from step {useful + 1} on, they are no better than the mean of the field (VRMSE above 1)")
    if dataset.rollout.diverged:
        parts.append(f"{dataset.rollout.diverged} of {dataset.trajectories} rollouts diverge")
    hardest = _hardest(dataset)
    if hardest:
        parts.append(hardest)
    low, high = errors.ratio_interval if dataset.trajectories > 1 else (None, None)
    standing, advice = _judged(errors, low, high, dataset)
    return Verdict(
        standing=standing,
        sentence="; ".join(parts) + ".",
        advice=advice,
        measure=MEASURE,
        value=errors.ratio,
        interval=(low, high),
    )


def _against_persistence(errors: Errors, trajectories: int) -> str:
    if errors.ratio is None:
        return "one step has no finite error beside persistence"
    around = f", 95 % interval {interval(errors.ratio_interval)}" if trajectories > 1 else ""
    than = "smaller" if errors.ratio < 1 else "larger"
    factor = 1 / errors.ratio if 0 < errors.ratio < 1 else errors.ratio
    return (
        f"one step's error is {number(factor)} times {than} than persistence's (ratio {number(errors.ratio)}{around})"
    )


def _useful_steps(dataset: ForecastScores) -> int:
    """How many steps, from the first, stay below a VRMSE of 1, which the mean of the true field would have."""
    growth = dataset.rollout.metrics["vrmse"].growth.by_method["model"]
    return next((step for step, error in enumerate(growth) if error is None or error > 1), len(growth))


def _hardest(dataset: ForecastScores) -> str:
    fields = {name: entry.ratio for name, entry in dataset.one_step.metrics["vrmse"].fields.items()}
    known = {name: ratio for name, ratio in fields.items() if ratio is not None}
    if len(known) < 2:
        return ""
    worst, best = max(known, key=lambda name: known[name]), min(known, key=lambda name: known[name])
    return f"best field {_plain(best)} ({number(known[best])}), worst {_plain(worst)} ({number(known[worst])})"


def _plain(field: str) -> str:
    return field.rsplit(".", maxsplit=1)[-1].replace("_", " ")


def _judged(errors: Errors, low: float | None, high: float | None, dataset: ForecastScores) -> tuple[Standing, str]:
    """The standing and the next thing to do, the gravest first."""
    model, linear = errors.by_method["model"], errors.by_method.get("linear")
    steps = dataset.rollout.metrics["vrmse"].steps_below_persistence
    bands = "" if dataset.bands is not None else "; `polycli calibrate mpp` gives bands that say how far to trust it"
    if errors.ratio is None or model is None or errors.ratio >= 1:
        known = errors.ratio is not None and low is not None and low <= 1
        return "mixed" if known else "poor", (
            "train longer, or finetune on trajectories of this system; until then, that nothing changes is as good an "
            "answer."
        )
    if high is not None and high >= 1:
        return "mixed", "score more trajectories, since the interval holds 1, or train longer."
    if linear is not None and linear <= model:
        return "mixed", "train longer, or with a larger time stride: for one step linear extrapolation is better."
    useful = min(steps.mean_curve, _useful_steps(dataset))
    if useful < steps.of or dataset.rollout.diverged:
        return "mixed", (
            f"use forecasts of at most {counted(useful, 'step', 'steps')}; training on its own forecasts "
            f"(`--set objective.unroll=4`) can make them last longer{bands}."
        )
    return "good", f"look at the film and the growth of the error for how long forecasts are of use{bands}."
