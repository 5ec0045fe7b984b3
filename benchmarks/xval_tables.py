"""xVal on six public tables beside k-NN and gradient boosting: same rows, same columns, every number hidden alone once.

    pip install --no-deps plotnine statsmodels vega_datasets
    python benchmarks/xval_tables.py --output tables [--seeds 3] [--tables fair mpg] [--record xval_tables]

All by the command line: `prepare`, `pretrain` with the recipe `xval_table` for each seed, `eval`. A run that is there
is kept, so a script that was stopped goes on. The two simpler models are computed once more from the CSV files by
scikit-learn alone, and must have the same errors to 1e-6.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from _own_baselines import errors_of_own
from _public_tables import PublicTable, chosen_tables, write_table
from _record import add_option, finish
from numpy.typing import NDArray

from polycli.__main__ import run as command_line
from polycli.report.table import Table, interval, number
from polycli.requests import Split
from polycli.store.reader import open_store
from polycli.xval.data.store import RecordStore

LEARNERS = ("k-NN", "gradient boosting")
#: Small tables need more of their rows to test on than the default tenth.
SPLIT = ("--set", "split.validation=0.15", "--set", "split.test=0.2")
SAME = 1e-6


def main() -> None:
    options = arguments()
    found = {table.name: measured(table, options) for table in chosen_tables(options.tables)}
    finish(options, found, errors_table(found, options.seeds), columns_table(found))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for tables, stores, runs and reports")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", nargs="+", help="names of some tables; all if absent")
    parser.add_argument("--recipe", default="xval_table")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the training")
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="rows that are scored")
    add_option(parser)
    return parser.parse_args()


def polycli(*words: object) -> None:
    """One command line; ends the script where it fails."""
    if code := command_line([str(word) for word in words]):
        sys.exit(code)


def measured(table: PublicTable, options: argparse.Namespace) -> dict[str, Any]:
    """Scores of one table: of every seed, and the simpler models' twice."""
    folder: Path = options.output / table.name
    folder.mkdir(parents=True, exist_ok=True)
    path, store = folder / f"{table.name}.csv", folder / f"{table.name}.zarr"
    if not store.exists():
        write_table(table, path)
        polycli("prepare", "xval", "--source", "table", "--input", path, "--output", store, *SPLIT)
    settings = [word for setting in options.set for word in ("--set", setting)]
    scores = []
    for seed in range(options.seeds):
        run, report = folder / f"run-{seed}", folder / f"{options.split}-{seed}"
        if not run.with_suffix(".seconds").exists():
            training = ("--data", store, "--output", run, "--set", f"train.seed={seed}", *settings)
            started = time.process_time()
            polycli("pretrain", "xval", "--recipe", options.recipe, *training)
            run.with_suffix(".seconds").write_text(f"{time.process_time() - started:.0f}", encoding="utf-8")
        if not (report / "scores.json").exists():
            asked = ("masking=single", "max_records=10000", "report=false")
            words = [word for setting in asked for word in ("--set", setting)]
            polycli("eval", "xval", "--checkpoint", run, "--split", options.split, "--output", report, *words)
        scores.append(json.loads((report / "scores.json").read_text(encoding="utf-8"))["datasets"][table.name])
    return {
        "rows": {split: len(open_store(store).rows(split)) for split in ("train", options.split)},
        "numbers": scores[0]["numbers"],
        "seconds": [float((folder / f"run-{seed}.seconds").read_text()) for seed in range(options.seeds)],
        "all": [entry["all"]["standardised_mae"] for entry in scores],
        "columns": {
            key: {"mae": [entry["keys"][key]["mae"] for entry in scores], "r2": [e["keys"][key]["r2"] for e in scores]}
            for key in scores[0]["keys"]
        },
        "largest_difference_from_own": difference(path, RecordStore(open_store(store)), scores[0], options.split),
    }


def difference(path: Path, store: RecordStore, scores: dict[str, Any], split: Split) -> float:
    """The largest relative difference of a simpler model's error from scikit-learn's alone; above 1e-6 all ends."""
    worst = 0.0
    for key, entry in own_errors(path, store, split).items():
        for method, error in entry.items():
            theirs = scores["keys"][key]["mae"][method]
            gap = abs(theirs - error) / max(abs(error), 1e-12)
            worst = max(worst, gap)
            if gap > SAME:
                print(f"{store.name}, {key}, {method}: {theirs!r}, of scikit-learn alone {error!r}", file=sys.stderr)
    if worst > SAME:
        sys.exit(f"{store.name}: eval and scikit-learn alone differ by {worst:.2g}")
    return worst


def own_errors(path: Path, store: RecordStore, split: Split) -> dict[str, dict[str, float]]:
    """Errors by column and method, of scikit-learn alone; kept beside the table, for they take a while."""
    kept = path.with_name(f"own-{split}.json")
    if not kept.exists():
        rows = store.rows("train")
        generator = np.random.default_rng(0)
        # The cells that eval would hide, were several hidden at once.
        generator.random((len(rows), len(store.key_paths)))
        order = generator.permutation(len(rows))
        places = {"train": places_of(store, rows), "test": places_of(store, store.rows(split))}
        own = errors_of_own(path, **places, columns=store.key_paths, order=order, seed=0)
        kept.write_text(json.dumps(own), encoding="utf-8")
    found: dict[str, dict[str, float]] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def places_of(store: RecordStore, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where rows of a store stand in the CSV file, from 0: a record is named FILE:ROW, from 1."""
    return np.array([int(name.rpartition(":")[2]) - 1 for name in store.read(rows).ids])


def errors_table(found: dict[str, Any], seeds: int) -> Table:
    """One row for each table: mean absolute errors in standard deviations."""
    rows = []
    for name, entry in found.items():
        errors = sorted(part["model"] for part in entry["all"])
        middle = next(part for part in entry["all"] if part["model"] == statistics.median_low(errors))
        baselines = entry["all"][0]
        best = min(LEARNERS, key=lambda method: baselines[method])
        low = min(part["over"][best][0] for part in entry["all"])
        high = max(part["over"][best][1] for part in entry["all"])
        verdict = "the model" if high < 1 else best if low > 1 else "not told apart"
        rows.append(
            [
                name,
                str(entry["rows"]["train"]),
                f"{entry['numbers']:,}",
                number(middle["model"]),
                interval((errors[0], errors[-1])) if seeds > 1 else "",
                interval(middle["interval"]),
                *(number(baselines[method]) for method in (*LEARNERS, "key mean")),
                interval((low, high)),
                verdict,
                number(statistics.median(entry["seconds"])),
            ]
        )
    columns = ["table", "rows that train", "answers", "model", "seeds", "95 % interval", *LEARNERS, "key mean"]
    caption = (
        "Mean absolute error in standard deviations of each column, every number of a held-out row hidden alone. The "
        "model's is the median over seeds, with the smallest and the largest. Intervals are over rows, by bootstrap; "
        "that of the ratio to the better of k-NN and boosting runs from the lowest end of any seed to the highest, so "
        "that the better one is better with every seed. Seconds are those of a processor, of one training."
    )
    return Table("Six public tables", [*columns, "model / best of these", "better", "seconds"], rows, caption)


def columns_table(found: dict[str, Any]) -> Table:
    """One row for each column, in its own units."""
    rows = []
    for name, entry in found.items():
        for key, part in entry["columns"].items():
            errors = [seed["model"] for seed in part["mae"]]
            base = part["mae"][0]
            shown = [number(base[method]) for method in (*LEARNERS, "key mean")]
            ratio = statistics.median(errors) / base["gradient boosting"] if base["gradient boosting"] else None
            rows.append([name, key, number(statistics.median(errors)), *shown, number(ratio)])
    columns = ["table", "column", "model", *LEARNERS, "key mean", "model / boosting"]
    return Table("By column", columns, rows, "Mean absolute error in the data's units; the model's is the median.", 2)


if __name__ == "__main__":
    main()
