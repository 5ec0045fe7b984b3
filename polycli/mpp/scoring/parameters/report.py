"""The report of predicted parameters: tables, and predictions over the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from polycli.mpp.model.regression import HeadDescription
from polycli.mpp.scoring.parameters.scores import METHODS, Answers
from polycli.mpp.scoring.score_records import ParameterDatasetScores
from polycli.names import picture_file
from polycli.report.html import Block, Figure, Heading, Paragraph, page
from polycli.report.provenance import provenance_block
from polycli.report.scatter import ScatterPanel, scatter
from polycli.report.scores import Scores
from polycli.report.table import Table

DEFINITIONS = (
    "Every trajectory counts once: the answers for some windows of it, evenly spread, are averaged. Parameters that "
    "are learnt as logarithms are scored as logarithms. The best constant is the mean over the training trajectories; "
    "gradient boosting sees mean, spread, rate of change and radial power spectra of each field in the same windows, "
    "and learns from the same training trajectories. Intervals are 95 % bootstrap intervals over trajectories."
)


def write_report(
    scores: Scores[ParameterDatasetScores],
    tables: Sequence[Table],
    answers: Mapping[str, Answers],
    head: HeadDescription,
    folder: Path,
    *,
    frames: str,
) -> None:
    """Draw `folder`/figures and write `folder`/report.html; `frames` says in words which frames the model sees."""
    datasets = scores.datasets
    trajectories = sum(dataset.trajectories for dataset in datasets.values())
    blocks: list[Block] = [
        Paragraph(
            f"Split {scores.split}, {len(datasets)} dataset{'s' if len(datasets) > 1 else ''}, {trajectories} "
            f"trajectories; {frames}. Predicted: {', '.join(head.names)}."
        ),
        *tables,
        Paragraph(DEFINITIONS),
    ]
    for name, found in answers.items():
        blocks += [Heading(name), _figure(name, found, head, folder / "figures")]
    blocks += [Heading("Provenance"), provenance_block(scores, rows_are="trajectories")]
    folder.joinpath("report.html").write_text(page("MPP: parameters of the physics", blocks), encoding="utf-8")


def _figure(name: str, answers: Answers, head: HeadDescription, figures: Path) -> Figure:
    file = picture_file(figures, name, "parameters")
    panels = [
        ScatterPanel(
            f"{'log10 ' if target.logarithm else ''}{target.name}: {METHODS.get(method, method)}",
            "",
            answers.truth[:, index],
            values[:, index],
        )
        for index, target in enumerate(head.targets)
        for method, values in answers.by_method.items()
        if method != "constant"
    ]
    scatter(file, title=f"{name}: predicted over true parameters", panels=panels)
    return Figure(file, "Predicted over true values, a point for each trajectory; on the dashed line both agree.")
