"""Says in one sentence for each dataset how good an evaluation of answers came out, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping

from polycli.report.table import number
from polycli.report.verdict import Standing, Verdict
from polycli.xval.scoring.score_records import DatasetScores, FillScores, HeadScores, JudgedScores
from polycli.xval.scoring.tables import METHODS, over_all

MEASURE = "mean absolute error over that of the key's mean"


def dataset_verdicts(datasets: Mapping[str, DatasetScores]) -> dict[str, Verdict]:
    """Says by dataset: the model beside the best simpler one, and the keys that it fills in best and worst."""
    return {
        name: _head(dataset.head) if isinstance(dataset, JudgedScores) else _filled(dataset)
        for name, dataset in datasets.items()
    }


def _filled(dataset: FillScores) -> Verdict:
    scores = dataset.scores.all.standardised_mae
    standing, advice = _standing(dataset)
    told = over_all(scores)
    low, high = scores.errors.ratio_interval
    return Verdict(
        standing=standing,
        sentence=". ".join(part.rstrip(".") for part in (told, _best_and_worst(dataset)) if part) + ".",
        advice=advice,
        measure=MEASURE,
        value=scores.errors.ratio,
        interval=(low, high),
    )


def _standing(dataset: FillScores) -> tuple[Standing, str]:
    scores = dataset.scores.all.standardised_mae
    rivals = {method: error for method in METHODS if (error := scores.errors.by_method.get(method)) is not None}
    if not rivals:
        return "mixed", "compare with a simpler model, which these records had none of."
    best = min(rivals, key=lambda method: rivals[method])
    low, high = scores.over[best]
    if low is not None and low > 1:
        return "poor", f"use {best} where numbers alone are asked for; or train longer, or on more records."
    worse = len({entry.key for entry in dataset.scores.better_baselines})
    if high is not None and high < 1:
        keys = f"see the {worse} keys for which a simpler model is better" if worse else "look at the keys one by one"
        calibrate = "" if dataset.calibrated is not None else "; `polycli calibrate xval` gives intervals that hold"
        return "good", f"{keys}{calibrate}."
    return "mixed", f"train longer or score more records; {best} will do until then."


def _best_and_worst(dataset: FillScores) -> str:
    ratios = {key: entry.mae.ratio for key, entry in dataset.scores.keys.items()}
    known = {key: ratio for key, ratio in ratios.items() if ratio is not None}
    if len(known) < 2:
        return ""
    best, worst = min(known, key=lambda key: known[key]), max(known, key=lambda key: known[key])
    return f"Best key {best} ({number(known[best])} of the key mean's error), worst {worst} ({number(known[worst])})"


def _head(head: HeadScores) -> Verdict:
    measure, values = next(iter(head.measures.items()))
    rivals = {head.methods[name]: value for name, value in values.by_method.items() if name != "model"}
    beside = ", ".join(f"{name} {number(value)}" for name, value in rivals.items())
    better = ", ".join(head.better_baselines)
    low, high = values.interval
    return Verdict(
        standing="poor" if better else "good",
        sentence=f"{head.target}: {measure} {number(values.by_method['model'])}, beside {beside}.",
        advice=f"use {better}, or train longer." if better else "apply it with `polycli predict xval`.",
        measure=measure,
        value=values.by_method["model"],
        interval=(low, high),
        better="higher" if "accuracy" in measure else "lower",
    )
