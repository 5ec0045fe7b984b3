"""Answers to scores: errors in the data's units, by key path, by decade, inside and outside hold-outs, and coverage.

Everything here is numpy. The unit over which intervals are drawn is the record: its numbers depend on each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from polycli.report.binomial import beta_interval
from polycli.report.bootstrap import Bootstrap
from polycli.xval.data.holdout import HoldOutRule
from polycli.xval.numbers.statistics import NumberStatistics, decades_of
from polycli.xval.records.keypaths import pattern_of
from polycli.xval.scoring.score_records import (
    AllScores,
    BetterBaseline,
    Coverage,
    DecadeScores,
    Errors,
    HoldOutScores,
    InsideOutside,
    KeyScores,
    NumberScores,
    Part,
    StandardisedErrors,
    WithInterval,
)

Floats = NDArray[np.float64]
#: Decades with fewer numbers are left out: a median of a handful says nothing.
LEAST_IN_DECADE = 5
_DIGITS = re.compile(r"\d+")
#: A dot after a backslash belongs to a key.
_LAST_KEY = re.compile(r"(?<!\\)(?:\\\\)*\.(?:[^.\\]|\\.)*$")


@dataclass(frozen=True)
class Examined:
    """Every hidden number of a dataset, with what was said of it."""

    #: Its record, key path and value.
    record: NDArray[np.int64]
    key: NDArray[np.int64]
    truth: Floats
    #: By method: `model`, then the baselines. NaN where the model's answer is no number.
    answers: dict[str, Floats]
    #: (numbers, levels), rising.
    quantiles: Floats
    levels: tuple[float, ...]
    #: (records, rules)
    held_out: NDArray[np.bool_]
    key_paths: tuple[str, ...]
    #: Of the training split, by key path.
    statistics: Mapping[str, NumberStatistics]
    #: By key path, the decimals of its numbers in training; absent where there are many, or nothing is known.
    decimals: Mapping[str, int] = field(default_factory=dict)
    #: Patterns of key paths that are scored together, where they fit several.
    patterns: tuple[str, ...] = ()

    @property
    def key_names(self) -> list[str]:
        """The names under which key paths are scored, in their order."""
        return [key_name(path, self.key_paths, self.patterns) for path in self.key_paths]

    @property
    def undecodable(self) -> NDArray[np.bool_]:
        """Answers of the model that are no number."""
        return ~np.isfinite(self.answers["model"])

    def complete(self) -> Examined:
        """The same where the key's mean stands in for what a method has no answer for, such as persistence."""
        reference = self.answers["key mean"]
        answers = {name: np.where(np.isfinite(values), values, reference) for name, values in self.answers.items()}
        return replace(self, answers=answers)

    def errors(self) -> dict[str, Floats]:
        """Absolute errors of the methods that have an answer for each of the numbers."""
        return {name: np.abs(values - self.truth) for name, values in self.answers.items() if np.isfinite(values).all()}

    def select(self, chosen: NDArray[np.bool_]) -> Examined:
        """Returns the chosen numbers alone."""
        return replace(
            self,
            record=self.record[chosen],
            key=self.key[chosen],
            truth=self.truth[chosen],
            answers={name: values[chosen] for name, values in self.answers.items()},
            quantiles=self.quantiles[chosen],
        )

    def judged(self) -> Examined:
        """Counts an answer that is no number as the key's mean, so that a model gains nothing by not answering."""
        model = np.where(self.undecodable, self.answers["key mean"], self.answers["model"])
        return replace(self, answers=self.answers | {"model": model})


def scores_of(examined: Examined, rules: Sequence[HoldOutRule], bootstrap: Bootstrap) -> NumberScores:
    """Everything that scores.json says of a dataset's numbers."""
    judged = examined.judged()
    names = np.array(examined.key_names, dtype=object)
    mine = names[examined.key] if len(names) else np.empty(0, dtype=object)
    keys = {
        name: _key_scores(judged.select(mine == name), bootstrap, examined.undecodable[mine == name])
        for name in dict.fromkeys(mine.tolist())
    }
    decades = decade_scores(judged, bootstrap)
    return NumberScores(
        records=len(np.unique(examined.record)),
        numbers=len(examined.truth),
        undecodable=float(examined.undecodable.mean()) if len(examined.truth) else 0.0,
        all=AllScores(standardised_mae=_relative_errors(judged, bootstrap)),
        keys=keys,
        decades=decades,
        decade_ratio=decade_ratio(decades),
        hold_out=[hold_out_scores(judged, index, rule, bootstrap) for index, rule in enumerate(rules)],
        better_baselines=better_baselines(keys),
    )


def key_name(path: str, key_paths: Sequence[str], patterns: Sequence[str] = ()) -> str:
    """The name under which a key path is scored, with others of its kind.

    `description.planet*.a`, where there are others that differ in the digits of an object's name alone. The last key is
    what was measured: `k5` and `k618` are different, unless one of the patterns fits both.

    >>> [key_name(path, ["p0.a", "p1.a", "k5", "k618"]) for path in ["p0.a", "k5"]]
    ['p*.a', 'k5']
    """
    own = _without_digits(path)
    if own != path and sum(_without_digits(other) == own for other in key_paths) > 1:
        return own
    for pattern in patterns:
        expression = pattern_of(pattern)
        if "*" in pattern and expression.fullmatch(path) and sum(map(expression.fullmatch, key_paths)) > 1:
            return pattern
    return path


def _without_digits(path: str) -> str:
    """The path with stars for the digits of all its keys but the last."""
    last = _LAST_KEY.search(path)
    end = 0 if last is None else last.start()
    return _DIGITS.sub("*", path[:end]) + path[end:]


def _relative_errors(examined: Examined, bootstrap: Bootstrap) -> StandardisedErrors:
    """Mean absolute error in standard deviations of each key path in training, over all numbers: keys can be added."""
    spread = np.array([_spread(examined.statistics.get(path)) for path in examined.key_paths])
    scale = spread[examined.key] if len(spread) else np.empty(0)
    errors = {name: values / scale for name, values in examined.complete().errors().items()}
    sums = {name: _by_record(values, examined.record)[0] for name, values in errors.items()}
    return StandardisedErrors(
        errors=_entry(errors, examined.record, bootstrap),
        # Of the same records, so that what makes a record hard for both does not count.
        over={name: bootstrap.ratio(sums["model"], mine).tolist() for name, mine in sums.items() if name != "model"},
    )


def _key_scores(examined: Examined, bootstrap: Bootstrap, undecodable: NDArray[np.bool_]) -> KeyScores:
    """Returns the scores of one key path, in its units; `undecodable` says of which numbers the model gave none."""
    errors = examined.errors()
    squares = {name: values**2 for name, values in errors.items()}
    squared = _entry(squares, examined.record, bootstrap)
    variance = float(np.var(examined.truth))
    return KeyScores(
        numbers=len(examined.truth),
        mae=_entry(errors, examined.record, bootstrap),
        rmse=WithInterval(
            by_method={name: math.sqrt(float(values.mean())) for name, values in squares.items()},
            interval=np.sqrt(np.array(squared.interval, dtype=np.float64)).tolist(),
        ),
        median_absolute_error={name: float(np.median(values)) for name, values in errors.items()},
        r2={name: 1 - float(values.mean()) / variance if variance else None for name, values in squares.items()},
        coverage=coverage(examined, bootstrap) if examined.levels else None,
        undecodable=float(undecodable.mean()),
    )


def coverage(examined: Examined, bootstrap: Bootstrap) -> Coverage:
    """Measures how often the interval of the outermost quantiles holds the truth, and how wide it is on average."""
    low, high = examined.quantiles[:, 0], examined.quantiles[:, -1]
    inside = ((examined.truth >= low) & (examined.truth <= high)).astype(np.float64)
    sums, counts = _by_record(inside, examined.record)
    return Coverage(
        nominal=examined.levels[-1] - examined.levels[0],
        measured=float(inside.mean()),
        interval=bootstrap.ratio(sums, counts).tolist(),
        mean_width=float((high - low).mean()),
        binomial=list(beta_interval(int(inside.sum()), len(inside))),
    )


def decade_scores(examined: Examined, bootstrap: Bootstrap) -> list[DecadeScores]:
    """Median relative error of each power of ten of the true size; zeros have none."""
    examined = examined.complete()
    size = np.abs(examined.truth)
    not_zero = np.flatnonzero(size > 0)
    decades = decades_of(size[not_zero])
    entries = []
    for decade in np.unique(decades):
        mine = not_zero[decades == decade]
        if len(mine) < LEAST_IN_DECADE:
            continue
        part = examined.select(np.isin(np.arange(len(size)), mine))
        errors = {name: values / np.abs(part.truth) for name, values in part.errors().items()}
        entries.append(
            DecadeScores(
                decade=int(decade),
                numbers=len(mine),
                median_relative_error=WithInterval(
                    by_method={name: float(np.median(values)) for name, values in errors.items()},
                    interval=bootstrap.median(errors["model"], examined.record[mine]).tolist(),
                ),
                coverage=coverage(part, bootstrap) if part.levels else None,
            )
        )
    return entries


def decade_ratio(decades: Sequence[DecadeScores]) -> float | None:
    """The model's error in its worst decade over that in its best: 1 where size does not matter; None of one decade."""
    errors = [entry.median_relative_error.by_method["model"] or 0.0 for entry in decades]
    return max(errors) / min(errors) if len(errors) > 1 and min(errors) > 0 else None


def hold_out_scores(examined: Examined, index: int, rule: HoldOutRule, bootstrap: Bootstrap) -> HoldOutScores:
    """Errors for numbers of the rule's key paths inside its interval, and outside in records that no rule held out.

    `given`: errors for the other numbers, in records in which the model is shown a number inside the interval, and in
    records that no rule held out.
    """
    expression = pattern_of(rule.pattern)
    mine = np.array([expression.fullmatch(path) for path in examined.key_paths], dtype=np.bool_)
    of_rule = mine[examined.key] if len(mine) else np.empty(0, dtype=np.bool_)
    within = (examined.truth >= rule.low) & (examined.truth <= rule.high)
    ordinary = ~np.asarray(examined.held_out.any(axis=1))[examined.record]
    held = examined.held_out[examined.record, index]
    answered = _compared(examined, of_rule & within & held, of_rule & ~within & ordinary, bootstrap)
    given = _compared(examined, ~of_rule & held, ~of_rule & ordinary, bootstrap)
    return HoldOutScores(
        rule=rule.name, pattern=rule.pattern, low=rule.low, high=rule.high, answered=answered, given=given
    )


def _compared(
    examined: Examined, inside: NDArray[np.bool_], outside: NDArray[np.bool_], bootstrap: Bootstrap
) -> InsideOutside:
    """Errors of two sets of numbers, and their ratio."""
    within, beyond = _part(examined.select(inside), bootstrap), _part(examined.select(outside), bootstrap)
    ratio = None
    if within.mae is not None and beyond.mae is not None:
        base = beyond.mae.by_method["model"]
        ratio = within.mae.by_method["model"] / base if base else None  # type: ignore[operator]
    return InsideOutside(inside=within, outside=beyond, ratio=ratio)


def _part(examined: Examined, bootstrap: Bootstrap) -> Part:
    """Errors of one set of numbers."""
    errors, some = examined.errors(), len(examined.truth) > 0
    return Part(
        numbers=len(examined.truth),
        records=len(np.unique(examined.record)),
        mae=_entry(errors, examined.record, bootstrap) if some else None,
        median_absolute_error=float(np.median(errors["model"])) if some else None,
    )


def better_baselines(keys: Mapping[str, KeyScores]) -> list[BetterBaseline]:
    """Keys for which a simpler model has the smaller mean absolute error, with the best such model."""
    better = []
    for name, entry in keys.items():
        errors = {method: value for method, value in entry.mae.by_method.items() if value is not None}
        best = min(errors, key=lambda method: errors[method])
        if best != "model":
            better.append(BetterBaseline(key=name, baseline=best, mae=errors[best], model=errors["model"]))
    return better


def _entry(errors: Mapping[str, Floats], record: NDArray[np.int64], bootstrap: Bootstrap) -> Errors:
    """Means of all methods, the model's interval, its ratio to the key's mean and that one's interval."""
    sums, counts = _by_record(errors["model"], record)
    reference, _ = _by_record(errors["key mean"], record)
    mean = float(errors["key mean"].mean()) if len(errors["key mean"]) else math.nan
    return Errors(
        by_method={name: float(values.mean()) for name, values in errors.items()},
        interval=bootstrap.ratio(sums, counts).tolist(),
        ratio=float(errors["model"].mean()) / mean if mean else None,
        ratio_interval=bootstrap.ratio(sums, reference).tolist(),
    )


def _by_record(values: Floats, record: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Sums and counts of each record's values: their ratio, resampled over records, is a mean of all values."""
    _, unit = np.unique(record, return_inverse=True)
    return np.bincount(unit, values).astype(np.float64), np.bincount(unit).astype(np.float64)


def _spread(known: NumberStatistics | None) -> float:
    return known.std if known is not None and known.std > 0 else 1.0
