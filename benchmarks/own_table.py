"""What the lines of docs/your-own-table.md give: errors beside simpler answers', and how many truths intervals hold.

    python benchmarks/own_table.py [--folder DIR] [--record own_table]

The page's own lines are run as they stand, in DIR or a temporary folder, about two minutes of one core; where they
were run in DIR before, what they left is taken. Errors are
those of the report; what was filled in is counted here, from the CSV that `predict` wrote and the true one.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _record import DOCS, finish, folder_of, options_with_folder

from polycli.report.table import NOTHING, Table, number
from tests.docs.blocks import blocks_of
from tests.docs.given import GIVEN
from tests.docs.session import Session

PAGE = DOCS / "your-own-table.md"
METHODS = {"model": "model", "k-NN": "k-NN", "boosting": "gradient boosting", "column's mean": "key mean"}


def run_page(folder: Path) -> None:
    """Run all console blocks of the page in this folder."""
    os.chdir(folder)
    session = Session(folder, GIVEN, tell=print)
    for block in blocks_of(PAGE):
        if block.mark == "given" or (block.language == "console" and block.mark in {"run", "slow"}):
            session.run(block)


def errors_table(scores: Mapping[str, Any]) -> Table:
    """Mean absolute errors of all methods, and the share of truths within the model's own 90 % intervals."""
    rows = []
    for key, scored in scores["keys"].items():
        unit = scores["units"].get(key)
        errors = [number(scored["mae"][method]) for method in METHODS.values()]
        rows.append([f"{key} ({unit})" if unit else key, *errors, f"{100 * scored['coverage']['measured']:.1f}"])
    return Table(
        "Errors on the rows that test",
        ["", *METHODS, "within 90 %"],
        rows,
        caption="Mean absolute errors, each number hidden in turns. The last column is of the network's own intervals.",
    )


def filled_in(folder: Path) -> dict[str, tuple[int, int, int]]:
    """By column: cells that were filled in, those within their intervals, and texts that are right."""
    with (folder / "filled.csv").open() as answers, (folder / "truth.csv").open() as truths:
        pairs = list(zip(csv.DictReader(answers), csv.DictReader(truths), strict=True))
    counts: dict[str, tuple[int, int, int]] = {}
    for answer, truth in pairs:
        for key in filter(None, answer["_filled"].split(";")):
            header = next(name for name in truth if name.split(" (")[0] == key)
            cells, inside, right = counts.get(key, (0, 0, 0))
            if f"{key}_low" in answer:
                inside += float(answer[f"{key}_low"]) <= float(truth[header]) <= float(answer[f"{key}_high"])
            else:
                right += answer[header] == truth[header]
            counts[key] = (cells + 1, inside, right)
    return counts


def filled_table(counts: Mapping[str, tuple[int, int, int]], texts: frozenset[str]) -> Table:
    """How many of the cells that were filled in are within their intervals, or right."""
    rows = [
        [key, str(cells), NOTHING if key in texts else str(inside), str(right) if key in texts else NOTHING]
        for key, (cells, inside, right) in sorted(counts.items())
    ]
    numbers = [found for key, found in counts.items() if key not in texts]
    rows.append(["all numbers", str(sum(n for n, _, _ in numbers)), str(sum(n for _, n, _ in numbers)), NOTHING])
    return Table("Cells of `new.csv` that were filled in", ["", "cells", "within 90 %", "right"], rows)


def main() -> None:
    options = options_with_folder(__doc__, "the page's files go")
    with folder_of(options) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "filled.csv").is_file():
            run_page(folder)
        scores = json.loads((folder / "report" / "scores.json").read_text())["datasets"]["solubility"]
        counts = filled_in(folder)
        texts = frozenset({"solvent"})
        figures = {"scores": scores, "filled": {key: list(found) for key, found in counts.items()}}
        finish(options, figures, errors_table(scores), filled_table(counts, texts))
        os.chdir(DOCS)


if __name__ == "__main__":
    main()
