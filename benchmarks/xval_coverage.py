"""Whether the intervals of three public tables hold, counted by numpy from what `predict` wrote.

    python benchmarks/xval_tables.py --output tables --tables diamonds fair seattle-weather
    python benchmarks/xval_coverage.py --tables-from tables [--record xval_coverage]

`calibrate xval` learns from the rows that validated. Then a CSV file is written in which every test row stands once
for each of its numbers, with that number left out, and `predict` fills it in at 68, 90 and 95 %. An interval holds
where the number that was left out lies within the columns `_low` and `_high`, as a reader of that file would count.
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
from polycli.store.reader import open_store
from polycli.xval.data.store import RecordStore

TABLES = ("diamonds", "fair", "seattle-weather")
LEVELS = (0.68, 0.9, 0.95)
#: Fewer answers than this tell nothing of a power of ten.
LEAST = 50


@dataclass(frozen=True)
class Held:
    """Answers for numbers that were left out: the truth, and whether each level's interval holds it."""

    column: NDArray[np.object_]
    truth: NDArray[np.float64]
    #: (levels, answers)
    inside: NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables-from", type=Path, required=True, help="the --output of benchmarks/xval_tables.py")
    parser.add_argument("--tables", nargs="+", default=list(TABLES))
    parser.add_argument("--rows", type=int, default=1000, help="test rows of a table, at most")
    add_option(parser)
    options = parser.parse_args()
    found = {name: counted(held(options.tables_from / name, name, options.rows)) for name in options.tables}
    finish(options, found, *(coverage_table(found, part) for part in ("columns", "decades")))


def polycli(*words: object) -> None:
    """One command line; ends the script where it fails."""
    if code := command_line([str(word) for word in words]):
        sys.exit(code)


def held(folder: Path, name: str, most: int) -> Held:
    """Calibrate the first run of a table, ask for each number of its test rows, and look whether intervals hold."""
    run, store = folder / "run-0", RecordStore(open_store(folder / f"{name}.zarr"))
    given = ("--data", store.store.path, "--split", "validation", "--set", "overwrite=true")
    polycli("calibrate", "xval", "--checkpoint", run, *given)
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    test = [int(record.rpartition(":")[2]) - 1 for record in store.read(store.rows("test")[:most]).ids]
    places = [header.index(column) for column in store.key_paths]
    asked = [(row, place) for row in test for place in places if is_number(rows[row][place])]
    questions = folder / "questions.csv"
    with questions.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([*rows[row][:place], "", *rows[row][place + 1 :]] for row, place in asked)
    columns = [header[place] for _, place in asked]
    truth = np.array([float(rows[row][place]) for row, place in asked])
    inside = []
    for level in LEVELS:
        low, high = bounds(run, questions, columns, level)
        inside.append((low <= truth) & (truth <= high))
    return Held(np.array(columns, dtype=object), truth, np.array(inside))


def is_number(cell: str) -> bool:
    """Whether a cell is a number, as all of these tables write them."""
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def bounds(
    run: Path, questions: Path, columns: Sequence[str], level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The bounds of each question's column, as they stand in the file that `predict` writes."""
    output = questions.with_name(f"answers-{level:g}.csv")
    settings = ("--set", f"interval={level:g}", "--set", "overwrite=true")
    polycli("predict", "xval", "--checkpoint", run, "--data", questions, "--output", output, *settings)
    with output.open(newline="", encoding="utf-8") as file:
        answers = list(csv.DictReader(file))
    if len(answers) != len(columns):
        sys.exit(f"{output}: {len(answers)} answers for {len(columns)} questions")
    low, high = (
        np.array([float(answer[f"{column}_{side}"]) for answer, column in zip(answers, columns, strict=True)])
        for side in ("low", "high")
    )
    return low, high


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


if __name__ == "__main__":
    main()
