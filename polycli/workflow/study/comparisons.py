"""Compares kinds of runs of a study along one key of their grids, such as two starts along the number of samples.

Seeds are independent runs. The ratio of two kinds is that of their geometric means over seeds; its interval is the 95 %
interval of Welch's t for the difference of mean logarithms. How many samples of one kind are as good as n of another
is read off the curve of each pair of seeds; the median over pairs stands with the smallest and the largest.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polycli.errors import RecipeError
from polycli.report.table import NOTHING, Table, number
from polycli.requests import JsonDocument
from polycli.workflow.study.plan import experiments
from polycli.workflow.study.recipe import ComparisonSection, Scalar, StudyRecipe
from polycli.workflow.study.results import Documents, value_at

#: What tells the runs of one point apart: their values under `grid` but for the comparison's key.
_Seed = tuple[tuple[str, Scalar], ...]
#: Of intervals over seeds.
_COVERAGE = 0.95
#: The figure's file in the study's folder.
FIGURE = "comparisons.png"


@dataclass(frozen=True)
class Ratio:
    """The ratio of two geometric means; without an interval where a side has but one seed."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def below_one(self) -> bool:
        """Whether it is below 1 with its whole interval."""
        return (self.value if self.high is None else self.high) < 1

    def text(self) -> str:
        """Returns the ratio with its interval."""
        if self.low is None:
            return number(self.value)
        return f"{number(self.value)} ({number(self.low)} to {number(self.high)})"


@dataclass(frozen=True)
class Comparison:
    """The values of all seeds, by line and point, that a section of the recipe asks for."""

    section: ComparisonSection
    points: tuple[Scalar, ...]
    values: Mapping[str, Mapping[Scalar, Sequence[float]]]
    #: For `worth`: the reference's values at all points, of each seed that has a value at every point.
    curves: Sequence[Sequence[float]] = ()

    @property
    def others(self) -> tuple[str, ...]:
        """The lines that are compared with the reference."""
        return tuple(name for name in self.values if name != self.section.reference)

    def ratio(self, line: str, point: Scalar) -> Ratio:
        """The error of a line over that of the reference at a point."""
        return ratio_of(self.values[line][point], self.values[self.section.reference][point])

    def worth(self, line: str, point: Scalar) -> list[float]:
        """Lists, for each pair of seeds, the count at which the reference is as good as `line` is at `point`; sorted.

        Zero stands for fewer than the smallest count, infinity for more than the largest.
        """
        counts = [float(one) for one in self.points]
        return sorted(
            count_for(error, list(zip(counts, curve, strict=True)))
            for error in self.values[line][point]
            for curve in self.curves
        )

    def table(self) -> Table:
        """A row for each point: every line, and the ratio to the reference of each other one."""
        section = self.section
        numeric = section.worth
        columns = [section.key, *self.values]
        for line in self.others:
            columns.append(f"{line} / {section.reference}")
            if numeric:
                columns += [f"{section.key} of {section.reference} as good as {line}", "for one"]
        rows = [
            [
                str(point),
                *(spread_text(by_point[point]) for by_point in self.values.values()),
                *(cell for line in self.others for cell in self._compared(line, point, numeric=numeric)),
            ]
            for point in self.points
        ]
        parts = [section.caption]
        if any(len(seeds) > 1 for by_point in self.values.values() for seeds in by_point.values()):
            parts.append(
                "Medians over seeds, with the smallest and the largest; ratios of geometric means with 95 % intervals "
                "over seeds."
            )
        if numeric:
            parts.append(f"As good: the number of {section.key} at which the curve of {section.reference} is as low.")
            seeds = max(map(len, self.values[section.reference].values()))
            if len(self.curves) < seeds:
                parts.append(
                    f"Only {len(self.curves)} of {seeds} seeds of {section.reference} have a value at every "
                    f"{section.key}; the curves are theirs."
                )
        return Table(section.title, columns, rows, caption=" ".join(filter(None, parts)))

    def _compared(self, line: str, point: Scalar, *, numeric: bool) -> list[str]:
        cells = [self.ratio(line, point).text()]
        if not numeric:
            return cells
        counts = self.worth(line, point)
        least, most = float(self.points[0]), float(self.points[-1])
        middle, low, high = statistics.median_low(counts), counts[0], counts[-1]
        for divisor in (1.0, float(point)):
            shown = [_count(value, least, most, divisor) for value in (middle, low, high)]
            cells.append(shown[0] if shown[1] == shown[2] else f"{shown[0]} ({shown[1]} to {shown[2]})")
        return cells

    def figures(self) -> JsonDocument:
        """Every value, ratio and count, unrounded."""
        found: JsonDocument = {}
        for point in self.points:
            entry: JsonDocument = {name: list(by_point[point]) for name, by_point in self.values.items()}
            for line in self.others:
                ratio = self.ratio(line, point)
                entry[f"{line} / {self.section.reference}"] = [ratio.value, ratio.low, ratio.high]
                if self.section.worth:
                    entry[f"as good as {line}"] = [
                        value if math.isfinite(value) else None for value in self.worth(line, point)
                    ]
            found[str(point)] = entry
        return found

    def claim(self) -> tuple[bool, str]:
        """Whether every other line is below the reference at every point with its whole interval, and the evidence."""
        ratios = {(line, point): self.ratio(line, point) for line in self.others for point in self.points}
        shown = "; ".join(f"{line} at {point}: {ratio.text()}" for (line, point), ratio in ratios.items())
        return all(ratio.below_one for ratio in ratios.values()), f"{shown} of {self.section.reference}"


def spread_text(values: Sequence[float]) -> str:
    """Writes the median with the smallest and the largest, as tables have it; a dash for no values.

    >>> spread_text([0.2, 0.3, 0.1])
    '0.200 (0.100 to 0.300)'
    """
    if not values:
        return NOTHING
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))} to {number(max(values))})"


def compare(recipe: StudyRecipe, section: ComparisonSection, documents: Documents) -> Comparison:
    """Collects the values of a comparison from the documents of its runs.

    Raises:
        RecipeError: the reference's grid has not the key, or a line has no value at a point, or, for `worth`,
            no seed of the reference has a value at every point.
    """
    points = _points(recipe, section)
    found = {
        name: {point: _values(recipe, section, entry, point, documents) for point in points}
        for name, entry in section.lines.items()
    }
    values = {
        name: {point: list(some.values()) for point, some in by_point.items()} for name, by_point in found.items()
    }
    curves = _curves(section, list(found[section.reference].values())) if section.worth else []
    return Comparison(section, points, values, curves)


def ratio_of(values: Sequence[float], reference: Sequence[float]) -> Ratio:
    """The ratio of geometric means with Welch's interval in logarithms.

    >>> ratio_of([1.0, 1.0], [2.0, 2.0]).text()
    '0.500 (0.500 to 0.500)'
    """
    logarithms = [np.log(values), np.log(reference)]
    difference = float(logarithms[0].mean() - logarithms[1].mean())
    if min(map(len, logarithms)) < 2:
        return Ratio(math.exp(difference))
    parts = [float(some.var(ddof=1)) / len(some) for some in logarithms]
    variance = sum(parts)
    if variance == 0:
        return Ratio(math.exp(difference), math.exp(difference), math.exp(difference))
    from scipy.stats import t as student

    freedom = variance**2 / sum(part**2 / (len(some) - 1) for part, some in zip(parts, logarithms, strict=True))
    reach = float(student.ppf(0.5 + _COVERAGE / 2, freedom)) * math.sqrt(variance)
    return Ratio(math.exp(difference), math.exp(difference - reach), math.exp(difference + reach))


def count_for(error: float, curve: Sequence[tuple[float, float]]) -> float:
    """The count at which a curve of (count, error) first reaches an error, interpolated in logarithms of both.

    Zero where the first count is better already, infinity where none is as good. A curve that rises again counts as
    flat there: what a smaller count reaches, a larger one reaches too.

    >>> count_for(0.1, [(8, 0.4), (32, 0.1)])
    32.0
    >>> round(count_for(0.2, [(8, 0.4), (32, 0.1)]), 6)
    16.0
    """
    before: tuple[float, float] | None = None
    for count, value in curve:
        if value <= error:
            if value == error:
                return float(count)
            if before is None:
                return 0.0
            share = math.log(before[1] / error) / math.log(before[1] / value)
            return math.exp(math.log(before[0]) + share * math.log(count / before[0]))
        before = (count, value if before is None else min(before[1], value))
    return math.inf


def draw(file: Path, title: str, comparisons: Sequence[Comparison]) -> None:
    """A figure with a panel for each comparison along numbers: medians over seeds, and the span of the seeds."""
    from polycli.report.figures import CurvePanel, Line, curves

    panels = []
    for one in comparisons:
        lines = []
        for name, by_point in one.values.items():
            # A point may have fewer seeds than another.
            seeds = [by_point[point] for point in one.points]
            middles, spans = np.array([np.median(some) for some in seeds]), np.array([[min(s), max(s)] for s in seeds])
            lines.append(Line(name, middles, spans.T))
        panels.append(
            CurvePanel(
                title=one.section.title,
                x_label=one.section.key,
                y_label=one.section.y_label,
                x=np.array([float(point) for point in one.points]),
                lines=lines,
                logarithmic=True,
                logarithmic_x=True,
            )
        )
    curves(file, title=title, panels=panels)


def _points(recipe: StudyRecipe, section: ComparisonSection) -> tuple[Scalar, ...]:
    grid = recipe.runs[recipe.run_of(section.lines[section.reference])].grid
    points = grid.get(section.key, ())
    if not points:
        raise RecipeError(
            f"comparison {section.title!r}: the grid of {section.lines[section.reference]} has no {section.key}"
        )
    if section.worth and not all(isinstance(point, int | float) for point in points):
        raise RecipeError(f"comparison {section.title!r}: `worth` needs numbers as {section.key}")
    return tuple(sorted(points, key=float)) if section.worth else points


def _values(
    recipe: StudyRecipe, section: ComparisonSection, entry: str, point: Scalar, documents: Documents
) -> dict[_Seed, float]:
    """The values of all seeds of a line at a point; runs that do not differ by the key have them all."""
    run = recipe.run_of(entry)
    wanted = {**section.where, section.key: point}
    found: dict[_Seed, float] = {}
    for experiment in experiments(run, recipe.runs[run]):
        if any(experiment.values.get(key, value) != value for key, value in wanted.items()):
            continue
        place = section.value
        for key, value in wanted.items():
            place = place.replace(f"{{{key}}}", str(value))
        value_there = value_at(documents[entry][experiment.name], place, where=f"{entry} of {experiment.name}")
        if value_there is not None:
            found[tuple((key, one) for key, one in experiment.values.items() if key != section.key)] = value_there
    if not found:
        raise RecipeError(f"comparison {section.title!r}: {entry} has no run at {section.key} {point}")
    return found


def _curves(section: ComparisonSection, by_point: Sequence[Mapping[_Seed, float]]) -> list[list[float]]:
    """The values at all points of each seed that has them all."""
    curves = [[some[seed] for some in by_point] for seed in by_point[0] if all(seed in some for some in by_point)]
    if not curves:
        raise RecipeError(
            f"comparison {section.title!r}: `worth` needs a seed of {section.reference} with a value at every "
            f"{section.key}, and each lacks one"
        )
    return curves


def _count(value: float, least: float, most: float, divisor: float) -> str:
    if value == 0:
        return f"fewer than {_plain(least / divisor)}"
    if math.isinf(value):
        return f"more than {_plain(most / divisor)}"
    return _plain(value / divisor)


def _plain(count: float) -> str:
    return f"{count:.0f}" if count >= 10 else number(count, 2)
