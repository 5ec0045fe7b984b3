r"""Whether posteriors of properties hold on a simulated survey, counted by numpy from what `predict` wrote.

    polycli prepare astroclip --source mock --recipe astroclip_demo_data --output mock.zarr --set mock.objects=36000 \
        --set mock.seed=17 --set mock.size=48 --set split.validation=0.45 --set split.test=0.45
    polycli pretrain astroclip --recipe astroclip_demo_image --data mock.zarr --output image --set train.steps=1000 \
        --set train.validate_every=500 --set train.checkpoint_every=500 --set model.image.size=48 \
        --set moco.queue_size=1024
    python benchmarks/astroclip_coverage.py --store mock.zarr --image image --output coverage

Most objects are held back, so that a third of those that calibrate or test has 5,400: with 400, one division is up to 6
points off by luck. `--spectrum CHECKPOINT` takes heads on spectra too.

On the vectors of checkpoints, whose encoders stay as they are, `finetune` teaches a head of each kind: a mean,
quantiles, a flow. It calibrates each at its end on the objects that validate, and `calibrate --set by=magnitude` does
so again in three bins of magnitude. `predict` then answers for the objects that test, and an interval holds where the
truth lies within its two columns, as a reader of that file would count: over all, and in thirds by magnitude. Answers
that are there are kept.

A second count does without `calibrate`: numpy calibrates in thirds of magnitude on a random half of the objects that
validate or test, and counts on the other half, twenty times. A third count takes so many of each third, and says how
far off the others are then: what luck does to a survey that holds back as many.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from _record import add_option, finish
from numpy.typing import NDArray
from pyarrow import parquet
from scipy.stats import binomtest, kstest

from polycli.__main__ import run as command_line
from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.recipe.model import POSTERIOR_LEVELS
from polycli.report.table import Table
from polycli.store.reader import open_store

LEVELS = (0.68, 0.9, 0.95)
COLUMNS = ("redshift", "logm")
MODALITIES = ("image", "spectrum")
POSTERIORS = ("none", "quantiles", "flow")
DIVISIONS = 20
#: Objects that are held back in each third of magnitude, and draws of them.
HELD, LUCKS = (100, 400, 1000, 2000, 5000), 100
#: Before the names of columns whose bounds were found in bins of magnitude.
BINNED = "by magnitude: "
THIRDS = ("brightest third", "middle third", "faintest third")
Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    for modality in MODALITIES:
        parser.add_argument(f"--{modality}", type=Path, metavar="CHECKPOINT", help=f"whose vectors of each {modality}")
    parser.add_argument("--output", type=Path, required=True, help="a folder for runs and answers")
    parser.add_argument("--steps", type=int, default=600)
    add_option(parser)
    options = parser.parse_args()
    options.output.mkdir(exist_ok=True)
    found: dict[str, Any] = {}
    for modality in (name for name in MODALITIES if getattr(options, name) is not None):
        for posterior in POSTERIORS:
            answers = answered(options, modality, posterior)
            entry = counted(options.store, answers, posterior)
            entry |= divided(options, modality, posterior)
            found[f"{modality}, {posterior}"] = entry
    finish(options, found, coverage_table(found), divisions_table(found), luck_table(found), scores_table(found))


def polycli(*words: object) -> None:
    """One command line; ends the script where it fails."""
    if code := command_line([str(word) for word in words]):
        sys.exit(code)


def answered(options: argparse.Namespace, modality: str, posterior: str) -> dict[str, NDArray[Any]]:
    """Teach a head, ask it for the objects that test, and read its answers as they stand in the file."""
    run, output = (options.output / f"{modality}-{posterior}{end}" for end in ("", ".parquet"))
    if not output.exists():
        settings = (
            f"model.properties.modalities=[{modality}]",
            f"model.properties.regression=[{', '.join(COLUMNS)}]",
            f"model.properties.posterior={posterior}",
            f"train.steps={options.steps}",
        )
        given = [word for setting in settings for word in ("--set", setting)]
        start = ("--recipe", "astroclip_finetune", "--checkpoint", getattr(options, modality))
        polycli("finetune", "astroclip", *start, "--data", options.store, "--output", run, *given)
        asked = ("--data", options.store, "--split", "test", "--output", output)
        polycli("predict", "astroclip", "--checkpoint", run, *asked)
    answers = columns_of(output)
    binned, bounds = (options.output / f"{modality}-{posterior}-by-magnitude{end}" for end in (".parquet", ".json"))
    if not binned.exists():
        given = ("--data", options.store, "--output", bounds, "--set", "by=magnitude")
        polycli("calibrate", "astroclip", "--checkpoint", run, *given)
        asked = ("--data", options.store, "--split", "test", "--output", binned, "--set", f"bands.file={bounds}")
        polycli("predict", "astroclip", "--checkpoint", run, *asked)
    by_id = {name: row for row, name in enumerate(columns_of(binned)["object_id"].tolist())}
    order = [by_id[name] for name in answers["object_id"].tolist()]
    ends = {name: values[order] for name, values in columns_of(binned).items() if "_low" in name or "_high" in name}
    return answers | {f"{BINNED}{name}": values for name, values in ends.items()}


def divided(options: argparse.Namespace, modality: str, posterior: str) -> dict[str, Any]:
    """By column and level, the coverage in each third of many divisions, calibrated by numpy alone, and its luck."""
    run, tested, held = (
        options.output / f"{modality}-{posterior}{end}" for end in ("", ".parquet", "-validation.parquet")
    )
    if not held.exists():
        asked = ("--data", options.store, "--split", "validation", "--output", held)
        polycli("predict", "astroclip", "--checkpoint", run, *asked)
    parts = [columns_of(tested), columns_of(held)]
    answers = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    objects = ObjectStore(open_store(options.store))
    place = {name: row for row, name in enumerate(objects.ids().tolist())}
    rows = np.array([place[name] for name in answers["object_id"].tolist()])
    magnitudes = objects.magnitudes(rows)
    assert magnitudes is not None
    found: dict[str, Any] = {"divisions": {}, "luck": {}}
    for column in COLUMNS:
        truth = objects.target(column, rows)
        found["divisions"][column], found["luck"][column] = {}, {}
        for level in LEVELS:
            middle, below, above = reach(answers, column, level, posterior)
            scores = np.where(truth < middle, (middle - truth) / below, (truth - middle) / above)
            found["divisions"][column][f"{level:g}"] = over_divisions(scores, magnitudes[:, 1], level)
            found["luck"][column][f"{level:g}"] = luck(scores, magnitudes[:, 1], level)
    return found


def reach(answers: dict[str, NDArray[Any]], column: str, level: float, posterior: str) -> tuple[Floats, Floats, Floats]:
    """The middle of each object, and how far the head's own interval reaches below and above it."""
    if posterior == "none":
        middle = answers[column].astype(np.float64)
        unit = 1 + middle if column == "redshift" else np.ones_like(middle)
        return middle, unit, unit
    low, middle, high = (
        answers[f"{column}_q{100 * POSTERIOR_LEVELS[at(q)]:g}"].astype(np.float64)
        for q in ((1 - level) / 2, 0.5, (1 + level) / 2)
    )
    return middle, middle - low, high - middle


def over_divisions(scores: Floats, magnitude: Floats, level: float) -> list[list[float]]:
    """(divisions, thirds): shares of the half that was not calibrated on."""
    generator, found = np.random.default_rng(0), []
    for _ in range(DIVISIONS):
        mine = np.zeros(len(scores), dtype=np.bool_)
        mine[generator.permutation(len(scores))[: len(scores) // 2]] = True
        third = np.searchsorted(np.quantile(magnitude[mine], [1 / 3, 2 / 3]), magnitude, side="right")
        shares = []
        for number in range(len(THIRDS)):
            known = np.sort(scores[mine & (third == number)])
            bound = known[int(np.ceil((len(known) + 1) * level)) - 1]
            shares.append(float((scores[~mine & (third == number)] <= bound).mean()))
        found.append(shares)
    return found


def luck(scores: Floats, magnitude: Floats, level: float) -> dict[str, float]:
    """By how many of each third are held back: how far off the others are, which 95 of 100 draws stay within."""
    thirds = np.array_split(np.argsort(magnitude, kind="stable"), len(THIRDS))
    generator, found = np.random.default_rng(1), {}
    for count in (size for size in HELD if 2 * size <= len(thirds[0])):
        off = []
        for third in thirds:
            for _ in range(LUCKS):
                drawn = scores[generator.permutation(third)]
                bound = np.sort(drawn[:count])[int(np.ceil((count + 1) * level)) - 1]
                off.append(abs(float((drawn[count:] <= bound).mean()) - level))
        found[str(count)] = float(np.quantile(off, 0.95))
    return found


def luck_table(found: dict[str, Any]) -> Table:
    """One row for each number of objects: points off at each level, the largest and smallest of heads and columns."""
    entries = [entry["luck"][column] for entry in found.values() for column in COLUMNS]
    rows = []
    for count in entries[0][f"{LEVELS[0]:g}"]:
        values = [[100 * entry[f"{level:g}"][count] for entry in entries] for level in LEVELS]
        cells = [f"{min(some):.1f} to {max(some):.1f}" for some in values]
        rows.append([f"{int(count):,}", *cells])
    columns = ["held back in each third", *(f"{100 * level:g} %" for level in LEVELS)]
    caption = f"Points off, which 95 % of {LUCKS} draws in each third stay within; over heads and columns."
    return Table("How far coverage is off by luck", columns, rows, caption, 1)


def divisions_table(found: dict[str, Any]) -> Table:
    """One row for each head, column and third: coverage over divisions."""
    rows = []
    for name, entry in found.items():
        for column in COLUMNS:
            shares = [100 * np.array(entry["divisions"][column][f"{level:g}"]) for level in LEVELS]
            for number, part in enumerate(THIRDS):
                thirds = [values[:, number] for values in shares]
                cells = [f"{values.mean():.1f} ({values.min():.1f} to {values.max():.1f})" for values in thirds]
                rows.append([name, column, part, *cells])
    columns = ["head", "column", "objects that are", *(f"{100 * level:g} %" for level in LEVELS)]
    caption = (
        f"Percent, mean of {DIVISIONS} divisions with the smallest and the largest; calibrated in thirds by numpy."
    )
    return Table("Coverage over random divisions, in bins of magnitude", columns, rows, caption, 3)


def columns_of(file: Path) -> dict[str, NDArray[Any]]:
    """The columns of a file that `predict` wrote."""
    table = parquet.read_table(file)
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}


def counted(store: Path, answers: dict[str, NDArray[Any]], posterior: str) -> dict[str, Any]:
    """Coverage of the head's own intervals and of the calibrated ones, by column, over all and in thirds."""
    objects = ObjectStore(open_store(store))
    rows = objects.rows("test")
    place = {name: row for row, name in zip(rows.tolist(), objects.ids(rows).tolist(), strict=True)}
    mine = np.array([place[name] for name in answers["object_id"].tolist()])
    magnitudes = objects.magnitudes(mine)
    if magnitudes is None:
        sys.exit(f"{store}: has no magnitudes")
    thirds = np.array_split(np.argsort(magnitudes[:, 1], kind="stable"), len(THIRDS))
    parts = {"all": np.arange(len(mine)), **dict(zip(THIRDS, thirds, strict=True))}
    entry: dict[str, Any] = {}
    for column in COLUMNS:
        truth = objects.target(column, mine)
        kinds: dict[str, dict[float, tuple[Floats, Floats]]] = {
            kind: {
                level: (answers[f"{start}{column}_low{100 * level:g}"], answers[f"{start}{column}_high{100 * level:g}"])
                for level in LEVELS
            }
            for kind, start in (("calibrated", ""), ("by magnitude", BINNED))
        }
        entry[column] = {"r2": r2(truth, answers[column if posterior == "none" else f"{column}_q50"])}
        if posterior != "none":
            names = [f"{column}_q{100 * level:g}" for level in POSTERIOR_LEVELS]
            values = np.stack([answers[name] for name in names], axis=1).astype(np.float64)
            kinds["own"] = {level: (values[:, at((1 - level) / 2)], values[:, at((1 + level) / 2)]) for level in LEVELS}
            entry[column] |= scores(truth, values)
        entry[column] |= {
            kind: {part: shares(truth[chosen], bounds, chosen) for part, chosen in parts.items()}
            for kind, bounds in kinds.items()
        }
    return entry


def at(level: float) -> int:
    return int(np.argmin(np.abs(np.array(POSTERIOR_LEVELS) - level)))


def r2(truth: Floats, predicted: Floats) -> float:
    return float(1 - ((truth - predicted) ** 2).mean() / truth.var())


def scores(truth: Floats, values: Floats) -> dict[str, float]:
    """PIT's distance from uniform, linear between quantiles, and twice the mean pinball loss of all levels."""
    levels = np.array(POSTERIOR_LEVELS)
    first = values[:, 0] - levels[0] * (values[:, 1] - values[:, 0]) / (levels[1] - levels[0])
    last = values[:, -1] + (1 - levels[-1]) * (values[:, -1] - values[:, -2]) / (levels[-1] - levels[-2])
    knots, known = np.column_stack([first, values, last]), np.array([0, *levels, 1])
    pit = np.array([np.interp(true, row, known) for true, row in zip(truth, knots, strict=True)])
    off = truth[:, None] - values
    return {
        "ks": float(kstest(pit, "uniform").statistic),
        "pinball": float(2 * np.maximum(levels * off, (levels - 1) * off).mean()),
    }


def shares(truth: Floats, bounds: dict[float, tuple[Floats, Floats]], chosen: NDArray[np.int64]) -> dict[str, Any]:
    """By level, the share that holds, its 95 % interval (Clopper and Pearson) and the mean width."""
    entry: dict[str, Any] = {"objects": len(truth)}
    for level, (low, high) in bounds.items():
        held = (truth >= low[chosen]) & (truth <= high[chosen])
        limits = binomtest(int(held.sum()), len(truth)).proportion_ci()
        entry[f"{level:g}"] = {
            "share": float(held.mean()),
            "interval": [float(limits.low), float(limits.high)],
            "width": float((high[chosen] - low[chosen]).mean()),
        }
    return entry


def coverage_table(found: dict[str, Any]) -> Table:
    """One row for each head, column, kind of interval and part of the objects."""
    rows = []
    for name, entry in found.items():
        for column in COLUMNS:
            for kind in ("own", "calibrated", "by magnitude"):
                for part, numbers in entry[column].get(kind, {}).items():
                    cells = []
                    for level in LEVELS:
                        share, (low, high) = numbers[f"{level:g}"]["share"], numbers[f"{level:g}"]["interval"]
                        mark = " *" if abs(share - level) > 0.03 else ""
                        cells.append(f"{100 * share:.1f} ({100 * low:.1f} to {100 * high:.1f}){mark}")
                    rows.append([name, column, kind, part, f"{numbers['objects']:,}", *cells])
    columns = ["head", "column", "intervals", "objects that are", "objects", *(f"{100 * q:g} %" for q in LEVELS)]
    caption = (
        "Percent of true values within their interval, with the binomial 95 % interval; *: more than 3 points off."
    )
    return Table("Coverage of posteriors", columns, rows, caption, 4)


def scores_table(found: dict[str, Any]) -> Table:
    """One row for each head and column: how good answers are, and how wide intervals."""
    rows = []
    for name, entry in found.items():
        for column in COLUMNS:
            numbers = entry[column]
            widths = [numbers[kind]["all"]["0.68"]["width"] for kind in ("own", "calibrated") if kind in numbers]
            own, calibrated = widths if len(widths) > 1 else (None, widths[0])
            cells = [numbers["r2"], numbers.get("pinball"), numbers.get("ks"), own, calibrated]
            rows.append([name, column, *("-" if cell is None else f"{cell:.4f}" for cell in cells)])
    columns = ["head", "column", "R2", "pinball", "KS of PIT", "width of 68 %", "calibrated"]
    caption = "Pinball is twice the mean over 13 levels, near to the CRPS; widths are means in the column's unit."
    return Table("How sharp posteriors are", columns, rows, caption, 2)


if __name__ == "__main__":
    main()
