"""Whether the intervals of three public tables hold, counted by numpy from what `predict` wrote.

    python benchmarks/xval_tables.py --output tables --tables diamonds fair seattle-weather
    python benchmarks/xval_coverage.py --tables-from tables [--record xval_coverage]

`calibrate xval` learns from the rows that validated. Then a CSV file is written in which every test row stands once
for each of its numbers, with that number left out, and `predict` fills it in at 68, 90 and 95 %. An interval holds
where the number that was left out lies within the columns `_low` and `_high`, as a reader of that file would count.
Answers that are there are kept.

A second count does without `calibrate`: from the answers and the model's own bounds, as `predict` writes them, numpy
calibrates on a random half of the rows that did not train and counts on the other half, twenty times.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _record import add_option, finish
from numpy.typing import NDArray
from scipy.stats import binomtest

from polycli.__main__ import run as command_line
from polycli.report.table import Table
from polycli.requests import Split
from polycli.store.reader import open_store
from polycli.xval.data.store import RecordStore

TABLES = ("diamonds", "fair", "seattle-weather")
LEVELS = (0.68, 0.9, 0.95)
DIVISIONS = 20
Floats = NDArray[np.float64]
#: Fewer answers than this tell nothing of a power of ten.
LEAST = 50
#: The aims: coverage this near to its level, in points, over so many answers or over the divisions; and by decade.
AIM, ENOUGH, AIM_BY_DECADE = 3, 2000, 6


@dataclass(frozen=True)
class Questions:
    """Numbers that are left out, one of a row each: the file, the row, the column and the truth."""

    file: Path
    row: NDArray[np.int64]
    column: NDArray[np.object_]
    truth: Floats


@dataclass(frozen=True)
class Held:
    """Answers for numbers that were left out: the truth, and whether each level's interval holds it."""

    column: NDArray[np.object_]
    truth: Floats
    #: (levels, answers)
    inside: NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables-from", type=Path, required=True, help="the --output of benchmarks/xval_tables.py")
    parser.add_argument("--tables", nargs="+", default=list(TABLES))
    parser.add_argument("--rows", type=int, default=1000, help="test rows of a table, at most")
    add_option(parser)
    options = parser.parse_args()
    folders = {name: options.tables_from / name for name in options.tables}
    found = {name: counted(held(folder, name, options.rows)) for name, folder in folders.items()}
    for name, folder in folders.items():
        found[name]["divisions"] = divided(folder, name, options.rows)
    finish(options, found, *tables_of(found))


def tables_of(found: dict[str, Any]) -> tuple[Table, ...]:
    """The tables of these figures, the one that says which aims are reached first."""
    parts = (coverage_table(found, part) for part in ("columns", "decades"))
    return verdicts_table(found), *parts, divisions_table(found)


def polycli(*words: object) -> None:
    """One command line; ends the script where it fails."""
    if code := command_line([str(word) for word in words]):
        sys.exit(code)


def asked_of(folder: Path, name: str, splits: Sequence[Split], most: int, file: str) -> Questions:
    """Write a CSV file in which each row of some splits stands once for each of its numbers, with that one left out."""
    store = RecordStore(open_store(folder / f"{name}.zarr"))
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as table:
        header, *rows = csv.reader(table)
    ids = [record for split in splits for record in store.read(store.rows(split)[:most]).ids]
    places = [header.index(column) for column in store.key_paths]
    asked = [
        (row, place)
        for row in (int(record.rpartition(":")[2]) - 1 for record in ids)
        for place in places
        if is_number(rows[row][place])
    ]
    with (folder / file).open("w", newline="", encoding="utf-8") as questions:
        writer = csv.writer(questions)
        writer.writerow(header)
        writer.writerows([*rows[row][:place], "", *rows[row][place + 1 :]] for row, place in asked)
    return Questions(
        folder / file,
        np.array([row for row, _ in asked]),
        np.array([header[place] for _, place in asked], dtype=object),
        np.array([float(rows[row][place]) for row, place in asked]),
    )


def held(folder: Path, name: str, most: int) -> Held:
    """Calibrate the first run of a table, ask for each number of its test rows, and look whether intervals hold."""
    run = folder / "run-0"
    if not (folder / "questions.csv").exists():
        given = ("--data", folder / f"{name}.zarr", "--split", "validation", "--set", "overwrite=true")
        polycli("calibrate", "xval", "--checkpoint", run, *given)
    questions = asked_of(folder, name, ("test",), most, "questions.csv")
    inside = []
    for level in LEVELS:
        _, low, high = answers(run, questions, f"answers-{level:g}.csv", f"interval={level:g}")
        inside.append((low <= questions.truth) & (questions.truth <= high))
    return Held(questions.column, questions.truth, np.array(inside))


def divided(folder: Path, name: str, most: int) -> dict[str, list[float]]:
    """By level, the coverage of each of twenty divisions of the rows that did not train, calibrated by numpy alone."""
    questions = asked_of(folder, name, ("validation", "test"), most // 2, "own-questions.csv")
    middle, low, high = answers(folder / "run-0", questions, "own-answers.csv", "bands.use=never")
    off = questions.truth - middle
    reach = np.maximum(np.where(off < 0, middle - low, high - middle), 1e-300)
    scores, rows, generator = np.abs(off) / reach, np.unique(questions.row), np.random.default_rng(0)
    found: dict[str, list[float]] = {f"{level:g}": [] for level in LEVELS}
    for _ in range(DIVISIONS):
        mine = np.isin(questions.row, generator.choice(rows, len(rows) // 2, replace=False))
        for level in LEVELS:
            inside = np.zeros(len(scores), dtype=np.bool_)
            for column in dict.fromkeys(questions.column):
                known = np.sort(scores[mine & (questions.column == column)])
                bound = known[min(int(np.ceil((len(known) + 1) * level)), len(known)) - 1]
                inside |= (questions.column == column) & (scores <= bound)
            found[f"{level:g}"].append(float(inside[~mine].mean()))
    return found


def is_number(cell: str) -> bool:
    """Whether a cell is a number, as all of these tables write them."""
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def answers(run: Path, questions: Questions, file: str, setting: str) -> tuple[Floats, Floats, Floats]:
    """Answers to questions and their bounds, as they stand in the file that `predict` writes."""
    output = questions.file.with_name(file)
    if not output.exists():
        # Bounds with the column's digits hold more where numbers are whole: 4.96 is written 5.0, and 5 is within.
        settings = ("--data", questions.file, "--output", output, "--set", setting, "--set", "digits=full")
        polycli("predict", "xval", "--checkpoint", run, *settings)
    with output.open(newline="", encoding="utf-8") as written:
        found = list(csv.DictReader(written))
    if len(found) != len(questions.column):
        sys.exit(f"{output}: {len(found)} answers for {len(questions.column)} questions")
    value, low, high = (
        np.array([float(row[f"{column}{side}"]) for row, column in zip(found, questions.column, strict=True)])
        for side in ("", "_low", "_high")
    )
    return value, low, high


def counted(found: Held) -> dict[str, Any]:
    """Coverage of all answers, by column and by power of ten."""
    size = np.abs(found.truth)
    decade = np.where(size > 0, np.floor(np.log10(np.where(size > 0, size, 1))), np.nan)
    decades = {f"1e{int(d)} to 1e{int(d) + 1}": decade == d for d in np.unique(decade[np.isfinite(decade)])}
    return {
        "all": shares(found.inside),
        "columns": {name: shares(found.inside[:, found.column == name]) for name in dict.fromkeys(found.column)},
        "decades": {name: shares(found.inside[:, mine]) for name, mine in decades.items() if mine.sum() >= LEAST},
    }


def shares(inside: NDArray[np.bool_]) -> dict[str, Any]:
    """By level, the share that holds and its 95 % interval (Clopper and Pearson)."""
    count = inside.shape[1]
    entry: dict[str, Any] = {"answers": count}
    for level, row in zip(LEVELS, inside, strict=True):
        limits = binomtest(int(row.sum()), count).proportion_ci()
        entry[f"{level:g}"] = {"share": float(row.mean()), "interval": [float(limits.low), float(limits.high)]}
    return entry


def coverage_table(found: dict[str, Any], part: str) -> Table:
    """One row for each table and, below it, one for each column or power of ten."""
    rows = []
    for name, entry in found.items():
        for label, numbers in [("all", entry["all"])] * (part == "columns") + list(entry[part].items()):
            cells = []
            for level in LEVELS:
                share, (low, high) = numbers[f"{level:g}"]["share"], numbers[f"{level:g}"]["interval"]
                cells.append(f"{100 * share:.1f} ({100 * low:.1f} to {100 * high:.1f})")
            rows.append([name, label, f"{numbers['answers']:,}", *cells])
    columns = ["table", part.removesuffix("s"), "answers", *(f"{100 * level:g} %" for level in LEVELS)]
    caption = "Percent of left-out numbers within their interval, with the binomial 95 % interval."
    return Table(f"Coverage by {part.removesuffix('s')}", columns, rows, caption, 2)


def verdicts_table(found: dict[str, Any]) -> Table:
    """One row for each table: how far coverage is off at each level, and whether that is within the aims."""
    rows = []
    for name, entry in found.items():
        off = [points_off(entry["all"], level) for level in LEVELS]
        means = [100 * (float(np.mean(entry["divisions"][f"{level:g}"])) - level) for level in LEVELS]
        decades = [
            (points_off(part, level), label, level) for label, part in entry["decades"].items() for level in LEVELS
        ]
        count, missed = entry["all"]["answers"], [each for each in decades if abs(each[0]) > AIM_BY_DECADE]
        counted = off if count >= ENOUGH else means
        worst, where, at = max(decades, key=lambda each: abs(each[0]))
        rows.append(
            [
                name,
                f"{count:,}",
                ", ".join(f"{each:+.1f}" for each in off),
                ", ".join(f"{each:+.1f}" for each in means),
                "hit" if max(map(abs, counted)) <= AIM else "missed",
                f"{worst:+.1f} ({where} at {100 * at:g} %)",
                f"missed in {len(missed)} of {len(decades)}" if missed else "hit",
            ]
        )
    columns = [
        "table",
        "answers",
        "all answers",
        "divisions",
        f"within {AIM}",
        "worst decade",
        f"within {AIM_BY_DECADE}",
    ]
    caption = (
        f"Points of coverage above 68, 90 and 95 %: over all answers, and as the mean of {DIVISIONS} divisions, which "
        f"decide where there are fewer than {ENOUGH:,} answers. Decades of at least {LEAST} answers count, at each "
        "level."
    )
    return Table("Coverage against the aims", columns, rows, caption)


def points_off(numbers: dict[str, Any], level: float) -> float:
    """Points of coverage above a level."""
    return 100 * (float(numbers[f"{level:g}"]["share"]) - level)


def divisions_table(found: dict[str, Any]) -> Table:
    """One row for each table: coverage over divisions."""
    rows = []
    for name, entry in found.items():
        shares = [100 * np.array(entry["divisions"][f"{level:g}"]) for level in LEVELS]
        rows.append([name, *(f"{part.mean():.1f} ({part.min():.1f} to {part.max():.1f})" for part in shares)])
    caption = (
        f"Percent, mean of {DIVISIONS} divisions with the smallest and the largest; calibrated and counted by numpy."
    )
    return Table(
        "Coverage over random divisions", ["table", *(f"{100 * level:g} %" for level in LEVELS)], rows, caption
    )


if __name__ == "__main__":
    main()
