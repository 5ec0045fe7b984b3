"""Scores to what people look at: tables, figures and report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.console import counted
from polycli.names import picture_file
from polycli.report.figures import CurvePanel, Line, curves
from polycli.report.html import Block, Figure, Heading, Paragraph, Verdicts, page
from polycli.report.provenance import provenance_block
from polycli.report.scatter import ScatterPanel, scatter
from polycli.report.scores import Scores
from polycli.xval.records.keypaths import pattern_of
from polycli.xval.scoring.hidden_numbers import Illustration
from polycli.xval.scoring.score_records import DatasetScores, FillScores, JudgedScores, WithInterval
from polycli.xval.scoring.summarise import Examined
from polycli.xval.scoring.sweep import Sweep
from polycli.xval.scoring.tables import filled_in, overview, summary_table, verdicts

#: Keys with a panel, and curves with a panel: those with most numbers, and the first ones.
SHOWN_PANELS = 9
SHOWN_CURVES = 6
DEFINITIONS = (
    "Every number of a record is hidden once and answered for from the rest. Unless settings say otherwise, a record's "
    "numbers are hidden in turns, in each so many as training hides; numbers of one group are hidden all at once. An "
    "answer that is no number counts as the mean of its key. `mean` is that of all numbers of the training split, "
    "`key mean` that of the key path, persistence the last visible value before it in its list. k-NN and gradient "
    "boosting learn from the same training split, with the same columns and as many cells hidden. Intervals are 95 % "
    "bootstrap intervals over records."
)


def write_report(
    scores: Scores[DatasetScores],
    pictures: Mapping[str, Illustration],
    folder: Path,
    *,
    encoding: str,
    training: Sequence[Block] = (),
) -> None:
    """Draw `folder`/figures and write `folder`/report.html.

    Datasets stand in the order of what needs attention first. `training` shows how the model was trained.
    """
    datasets, filled = scores.by_importance, filled_in(scores.by_importance)
    records = sum(dataset.scores.records for dataset in filled.values())
    records += sum(dataset.records for dataset in datasets.values() if isinstance(dataset, JudgedScores))
    numbers = sum(dataset.scores.numbers for dataset in filled.values())
    figures = folder / "figures"
    counts = ", ".join(
        counted(number, word, f"{word}s")
        for number, word in ((len(datasets), "dataset"), (records, "record"), (numbers, "number"))
    )
    blocks: list[Block] = [Paragraph(f"Split {scores.split}, encoding {encoding}, {counts}."), Verdicts(scores.judged)]
    if len(filled) < len(datasets):
        blocks += overview(datasets)  # A model with a head answers one question for each record, and no other.
    else:
        blocks.append(summary_table(filled, judged=False))
        blocks += [Paragraph(sentence) for sentence in verdicts(filled, together=False)]
        blocks.append(Paragraph(DEFINITIONS))
    for name, dataset in filled.items():
        blocks += [Heading(name), *_figures(name, dataset, pictures[name], figures)]
        blocks += [table for table in overview({name: dataset})[1:] if table.rows]
    blocks += [*training, Heading("Provenance"), provenance_block(scores, rows_are="records")]
    folder.joinpath("report.html").write_text(page("xVal evaluation", blocks), encoding="utf-8")


def _figures(name: str, dataset: FillScores, picture: Illustration, figures: Path) -> list[Block]:
    blocks: list[Block] = [_scatter(name, dataset, picture.examined, figures)]
    if len(dataset.scores.decades) > 1:
        blocks.append(_decades(name, dataset, figures))
    if picture.sweep is not None:
        blocks.append(_sweep(name, picture.sweep, figures))
    return blocks


def _scatter(name: str, dataset: FillScores, examined: Examined, figures: Path) -> Figure:
    file = picture_file(figures, name, "agreement")
    names = np.array(examined.key_names, dtype=object)[examined.key]
    scores = dataset.scores.keys
    keys = sorted(scores, key=lambda key: -scores[key].numbers)[:SHOWN_PANELS]
    marks = {rule.pattern: (rule.low, rule.high) for rule in dataset.scores.hold_out}
    panels = []
    for key in keys:
        chosen = names == key
        path = examined.key_paths[int(examined.key[chosen][0])]
        marked = next((bounds for pattern, bounds in marks.items() if pattern_of(pattern).fullmatch(path)), None)
        truth, answers = examined.truth[chosen], examined.answers["model"][chosen]
        panels.append(ScatterPanel(key, _unit(dataset.units, path), truth, answers, marked))
    scatter(file, title=f"{name}: prediction over truth", panels=panels)
    caption = "Hidden numbers by key. On the dashed line prediction and truth agree; shaded is what was held out."
    return Figure(file, caption, lines=True)


def _decades(name: str, dataset: FillScores, figures: Path) -> Figure:
    file = picture_file(figures, name, "decades")
    entries = [entry.median_relative_error for entry in dataset.scores.decades]
    band = np.array([entry.interval for entry in entries], dtype=np.float64).T
    lines = [Line("model", _values(entries, "model"), band)]
    lines += [
        Line(method, _values(entries, method))
        for method in ("key mean", "persistence")
        if method in entries[0].by_method
    ]
    panel = CurvePanel(
        "median relative error",
        "power of ten of the true size",
        "median |error| / |truth|",
        np.array([entry.decade for entry in dataset.scores.decades], dtype=np.float64),
        lines,
        logarithmic=True,
    )
    curves(file, title=f"{name}: error by decade", panels=[panel])
    caption = "Median relative error of numbers of each size; the band is the model's 95 % interval."
    return Figure(file, caption, lines=True)


def _sweep(name: str, sweep: Sweep, figures: Path) -> Figure:
    file = picture_file(figures, name, "sweep")
    panels = [
        CurvePanel(
            f"{curve.record}: {curve.key_path}",
            sweep.vary,
            curve.key_path.rsplit(".", maxsplit=1)[-1],
            sweep.values,
            [Line("prediction", curve.answers)],
            marks=[(curve.own[1], "truth of the record")],
        )
        for curve in sweep.curves[:SHOWN_CURVES]
    ]
    curves(file, title=f"{name}: {sweep.vary} varied", panels=panels)
    return Figure(
        file,
        "What the model answers while one input is varied in fine steps and all else stays. A continuous model draws "
        "a smooth curve; steps and jumps are where its reading or writing of numbers changes tokens.",
        lines=True,
    )


def _unit(units: Mapping[str, str], path: str) -> str:
    return next((unit for pattern, unit in units.items() if pattern_of(pattern).fullmatch(path)), "")


def _values(entries: Sequence[WithInterval], method: str) -> NDArray[np.float64]:
    return np.array([entry.by_method.get(method) for entry in entries], dtype=np.float64)
