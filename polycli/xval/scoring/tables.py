"""The tables of an xVal evaluation, for a terminal and for the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from polycli.report.table import Table, interval, number
from polycli.xval.scoring.coverage.calibrated import calibrated_table
from polycli.xval.scoring.head_scores import head_table
from polycli.xval.scoring.score_records import (
    ByMethod,
    DatasetScores,
    Errors,
    FillScores,
    JudgedScores,
    StandardisedErrors,
    SweepScores,
)

METHODS = ("mean", "key mean", "persistence", "k-NN", "gradient boosting")
CLASS_METHODS = ("most frequent", "gradient boosting")
#: Keys with a row of their own: those with most numbers.
SHOWN_KEYS = 40


def overview(datasets: Mapping[str, DatasetScores]) -> list[Table]:
    """The tables that a terminal shows, and a report first."""
    heads = [head_table(name, dataset.head) for name, dataset in datasets.items() if isinstance(dataset, JudgedScores)]
    filled = filled_in(datasets)
    tables = [*heads, summary_table(filled)]
    for name, dataset in filled.items():
        tables += [key_table(name, dataset), hold_out_table(name, dataset), decade_table(name, dataset)]
        tables += [coverage_table(name, dataset), calibrated_table(name, dataset, most=SHOWN_KEYS)]
        tables += [class_table(name, dataset), sweep_table(name, dataset)]
    return [table for table in tables if table.rows]


def filled_in(datasets: Mapping[str, DatasetScores]) -> dict[str, FillScores]:
    """The datasets whose numbers were filled in."""
    return {name: dataset for name, dataset in datasets.items() if isinstance(dataset, FillScores)}


def verdicts(datasets: Mapping[str, FillScores], *, together: bool = True) -> list[str]:
    """One sentence for each dataset: where a simpler model has smaller errors, and which to use."""
    sentences = []
    for name, dataset in datasets.items():
        better = dataset.scores.better_baselines
        if better:
            worst = max(better, key=lambda entry: entry.model / max(entry.mae, 1e-300))
            sentences.append(
                f"{name}: a simpler model has smaller errors for {len(better)} of {len(dataset.scores.keys)} keys, "
                f"above all {worst.baseline} for {worst.key}, with a mean absolute error of {number(worst.mae)} "
                f"against the model's {number(worst.model)}."
            )
        told = over_all(dataset.scores.all.standardised_mae)
        sentences += [f"{name}: {told}"] if told and together else []
    return sentences


def over_all(scores: StandardisedErrors) -> str:
    """Compares the model with the best simpler one over all numbers: which to use; empty without simpler ones."""
    errors = scores.errors.by_method
    rivals = {method: error for method in METHODS if (error := errors.get(method)) is not None}
    if not rivals:
        return ""
    best = min(rivals, key=lambda method: rivals[method])
    low, high = scores.over[best]
    figures = f"with {number(rivals[best])} against the model's {number(errors['model'])} standard deviations"
    ratio = f"(model / {best}: 95 % interval {interval((low, high))})"
    if low is not None and low > 1:
        advice = "Use it where numbers alone are asked for."
        return f"over all numbers {best} is better, {figures} {ratio}. {advice}"
    if high is not None and high < 1:
        return f"over all numbers the model is better; {best} is closest, {figures} {ratio}."
    advice = "The simpler one will do where numbers alone are asked for."
    return f"over all numbers {best} and the model are not told apart, {figures} {ratio}. {advice}"


def summary_table(datasets: Mapping[str, FillScores], *, judged: bool = True) -> Table:
    """One row for each dataset: errors in standard deviations, so that keys can be added.

    With `judged` the caption says which model is better.
    """
    rows = []
    methods = _methods(dataset.scores.all.standardised_mae.errors.by_method for dataset in datasets.values())
    for name, dataset in datasets.items():
        scores = dataset.scores
        rows.append(
            [
                name,
                f"{scores.records:,}",
                f"{scores.numbers:,}",
                *_entry_cells(scores.all.standardised_mae.errors, methods),
                _share(scores.undecodable),
            ]
        )
    columns = ["dataset", "records", "numbers", "model", "95 % interval", *methods, "model / key mean", "undecodable"]
    learners = (
        "k-NN and gradient boosting learn from rows drawn over the training split, see texts as categories, and are "
        "tuned on rows held back (neighbours; squared or absolute loss); TabPFN, which would be stronger on small "
        "tables, is not among them. "
    )
    alone = all(dataset.hidden_share is None for dataset in datasets.values())
    caption = (
        "Mean absolute error in standard deviations of each key path in training. Numbers are hidden "
        f"{'one at a time' if alone else 'in turns'} and answered for once each. "
        + (learners if "k-NN" in methods else "")
        + " ".join(verdicts(datasets) if judged else ())
    )
    return Table("All numbers", columns, rows, caption.strip())


def key_table(name: str, dataset: FillScores) -> Table:
    """One row for each key, in its units."""
    keys = sorted(dataset.scores.keys.items(), key=lambda item: -item[1].numbers)
    methods = _methods(entry.mae.by_method for _, entry in keys)
    rows = [
        [key, f"{entry.numbers:,}", *_entry_cells(entry.mae, methods), number(entry.r2["model"])]
        for key, entry in keys[:SHOWN_KEYS]
    ]
    columns = ["key", "numbers", "model", "95 % interval", *methods, "model / key mean", "R2"]
    left = f" {len(keys) - SHOWN_KEYS} further keys are in scores.json." if len(keys) > SHOWN_KEYS else ""
    caption = "In the data's units. R2 compares with the mean of the scored numbers themselves." + left
    return Table(f"{name}: mean absolute error by key", columns, rows, caption)


def hold_out_table(name: str, dataset: FillScores) -> Table:
    """Inside and outside of each rule's interval: of the numbers themselves, and of others in their records."""
    rows = []
    for rule in dataset.scores.hold_out:
        sides = [
            (rule.answered.inside, "inside", number(rule.answered.ratio)),
            (rule.answered.outside, "outside", ""),
            (rule.given.inside, "others, inside", number(rule.given.ratio)),
            (rule.given.outside, "others, outside", ""),
        ]
        for part, shown, ratio in sides:
            if part.mae is None:
                continue
            rows.append(
                [
                    rule.rule,
                    shown,
                    f"{part.numbers:,}",
                    number(part.mae.by_method.get("model")),
                    interval(part.mae.interval),
                    number(part.mae.by_method.get("key mean")),
                    number(part.median_absolute_error),
                    ratio,
                ]
            )
    columns = ["held out", "", "numbers", "model", "95 % interval", "key mean", "median", "inside / outside"]
    caption = (
        "Inside: held-out numbers themselves. Outside: numbers of the same keys in records that no rule holds out. "
        "Others: the other numbers of records that show a held-out one, and of those that do not."
    )
    return Table(f"{name}: mean absolute error inside and outside hold-outs", columns, rows, caption, 2)


def decade_table(name: str, dataset: FillScores) -> Table:
    """Median relative error of each power of ten."""
    entries = [(entry, entry.median_relative_error) for entry in dataset.scores.decades]
    methods = _methods(errors.by_method for _, errors in entries)
    rows = [
        [
            f"1e{entry.decade} to 1e{entry.decade + 1}",
            f"{entry.numbers:,}",
            number(errors.by_method["model"]),
            interval(errors.interval),
            *(number(errors.by_method.get(method)) for method in methods),
        ]
        for entry, errors in entries
    ]
    columns = ["size", "numbers", "model", "95 % interval", *methods]
    return Table(f"{name}: median relative error by decade", columns, rows)


def coverage_table(name: str, dataset: FillScores) -> Table:
    """Tabulates how often intervals hold the truth."""
    rows = [
        [
            key,
            _share(entry.coverage.nominal),
            _share(entry.coverage.measured),
            interval(entry.coverage.interval),
            number(entry.coverage.mean_width),
        ]
        for key, entry in list(dataset.scores.keys.items())[:SHOWN_KEYS]
        if entry.coverage is not None
    ]
    columns = ["key", "intervals state", "hold the truth", "95 % interval", "mean width"]
    return Table(f"{name}: coverage of the model's intervals", columns, rows)


def class_table(name: str, dataset: FillScores) -> Table:
    """One row for each column of classes: how often the likeliest value is the true one, and how likely that was."""
    found = dataset.classes or {}
    rows = [
        [
            path,
            f"{entry.records:,}",
            str(entry.classes),
            *(
                text
                for measure in (entry.accuracy, entry.log_loss)
                for text in (
                    number(measure.by_method["model"]),
                    interval(measure.interval),
                    *(number(measure.by_method.get(method)) for method in CLASS_METHODS),
                )
            ),
        ]
        for path, entry in list(found.items())[:SHOWN_KEYS]
    ]
    measured = [
        f"{what}{method}" for what in ("", "log loss: ") for method in ("model", "95 % interval", *CLASS_METHODS)
    ]
    unknown = sum(entry.unknown for entry in found.values())
    caption = (
        "Each value is hidden alone. Accuracy is the share of records whose likeliest value is the true one; the log "
        "loss is the mean of -log(probability of the true value). `most frequent` has the shares of the training."
        + (f" {unknown} values that the training did not have, or seldom, are left out." if unknown else "")
    )
    return Table(f"{name}: classes, accuracy and log loss", ["key", "records", "classes", *measured], rows, caption)


def sweep_table(name: str, dataset: FillScores) -> Table:
    """Tabulates the jumps of each swept curve."""
    sweep = dataset.sweep or SweepScores(vary="", points=0, low=0.0, high=0.0, curves=())
    rows = [
        [
            curve.record,
            curve.key_path,
            "-" if curve.jumps is None else str(curve.jumps),
            number(curve.largest_change),
            _share(curve.equal_neighbours),
            number(curve.travel),
        ]
        for curve in sweep.curves
    ]
    columns = ["record", "predicted", "jumps", "largest change", "equal neighbours", "travel / range"]
    caption = "A jump is a change between neighbours of more than sweep.jump standard deviations of the key."
    title = f"{name}: continuity, {sweep.vary} varied over {sweep.points} values"
    return Table(title, columns, rows, caption, 2)


def _methods(entries: Iterable[ByMethod]) -> list[str]:
    present = {method for entry in entries for method in entry}
    return [method for method in METHODS if method in present]


def _entry_cells(errors: Errors, methods: Sequence[str]) -> list[str]:
    return [
        number(errors.by_method["model"]),
        interval(errors.interval),
        *(number(errors.by_method.get(method)) for method in methods),
        number(errors.ratio),
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
