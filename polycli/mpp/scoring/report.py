"""Scores to what people look at: tables, figures and report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.scoring.bands.report import coverage_figure
from polycli.mpp.scoring.comparison.report import COMPARISON, comparison_blocks
from polycli.mpp.scoring.film import write_film
from polycli.mpp.scoring.measure import Illustration, Subset
from polycli.mpp.scoring.parameters.probing import probe_tables
from polycli.mpp.scoring.parameters.scores import ALL
from polycli.mpp.scoring.published import paper_table
from polycli.mpp.scoring.score_records import ForecastScores, ForecastsTogether, RolloutScores
from polycli.mpp.scoring.tables import METRICS, field_table, overview
from polycli.names import file_stem, picture_file
from polycli.report.figures import CurvePanel, Line, comparison, curves, ratios
from polycli.report.html import Block, Figure, Heading, Paragraph, Verdicts, page
from polycli.report.provenance import provenance_block
from polycli.report.scores import Scores

#: Columns of a field panel.
_SHOWN = 5
METHODS = {"model": "model", "persistence": "persistence", "linear": "linear extrapolation"}
DEFINITIONS = (
    "NRMSE is the root mean square error over the root mean square of the true frame, VRMSE the same over its standard "
    "deviation, so that predicting the mean of a field scores 1; both for each field and frame, then averaged. "
    "Persistence says that nothing changes, linear extrapolation that everything goes on changing as between the last "
    "two frames known. Intervals are 95 % bootstrap intervals over trajectories. Frames that the model is given are "
    "never counted."
)


def write_report(
    scores: Scores[ForecastScores],
    subsets: Mapping[str, Subset],
    pictures: Mapping[str, Illustration],
    folder: Path,
    *,
    frames: str,
    together: ForecastsTogether,
    training: Sequence[Block] = (),
) -> None:
    """Draw `folder`/figures and write `folder`/report.html; `frames` says in words which frames the model sees.

    Datasets stand in the order of what needs attention first. `training` shows how the model was trained.
    """
    datasets = scores.by_importance
    figures = folder / "figures"
    tables = overview(datasets)
    if together.paper_table1 is not None:
        tables.insert(1, paper_table(together.paper_table1))
    blocks: list[Block] = [
        Paragraph(
            f"Split {scores.split}, {len(datasets)} dataset{'s' if len(datasets) > 1 else ''}, "
            f"{sum(dataset.trajectories for dataset in datasets.values())} trajectories; {frames}."
        ),
        Verdicts(scores.judged),
        _summary(datasets, figures),
        tables[0],
        Paragraph(DEFINITIONS),
        *(table for table in tables[1:] if table.title != COMPARISON),
        *comparison_blocks(datasets, figures),
        *probe_tables({ALL: together.probes}),
    ]
    for name, dataset in datasets.items():
        blocks += _dataset_blocks(name, dataset, subsets[name].about, pictures[name], figures)
    blocks += [*training, Heading("Provenance"), provenance_block(scores, rows_are="trajectories")]
    folder.joinpath("report.html").write_text(page("MPP evaluation", blocks), encoding="utf-8")


def _summary(datasets: Mapping[str, ForecastScores], figures: Path) -> Figure:
    file = figures / "summary.png"
    entries = [dataset.one_step.metrics["vrmse"].mean for dataset in datasets.values()]
    ratios(
        file,
        title="One step: error over that of persistence",
        x_label="VRMSE of the model / VRMSE of persistence",
        names=list(datasets),
        values=_array([entry.ratio for entry in entries]),
        bounds=_array([entry.ratio_interval for entry in entries]).T,
    )
    return Figure(
        file,
        "One-step VRMSE over that of persistence, with 95 % intervals over trajectories. Left is better.",
        lines=True,
    )


def _dataset_blocks(
    name: str, dataset: ForecastScores, about: PdeDescription, picture: Illustration, figures: Path
) -> list[Block]:
    rollout = dataset.rollout
    sides = ", ".join(f"{axis} {kind}" for axis, kind in about.boundary_conditions.items())
    constants = "".join(f", {key} {value:g}" for key, value in about.constants.items())
    blocks: list[Block] = [
        Heading(name),
        Paragraph(
            f"{about.physics.replace('_', ' ')}: grid {about.grid[0]} x {about.grid[1]}, "
            f"{rollout.interval:g} between frames, boundaries {sides}{constants}. {dataset.trajectories} "
            f"trajectories; one step scored on {dataset.one_step.windows_per_trajectory} of "
            f"{dataset.one_step.windows_available} windows of each."
        ),
        _growth_figure(name, rollout, figures),
        _film(name, about, picture, figures),
        _spectra_figure(name, rollout, figures),
    ]
    blocks += [
        _field_figure(name, index, about, picture, rollout.interval, figures=figures)
        for index in range(len(about.fields))
    ]
    if dataset.bands is not None:
        blocks.append(coverage_figure(name, dataset.bands, rollout.interval, figures))
    if rollout.conservation:
        blocks.append(_conservation_figure(name, rollout, figures))
    return [*blocks, field_table(name, dataset)]


def _growth_figure(name: str, rollout: RolloutScores, figures: Path) -> Figure:
    file = picture_file(figures, name, "growth")
    panels = []
    for metric, shown in METRICS.items():
        growth = rollout.metrics[metric].growth
        lines = [
            Line(text, _array(growth.by_method[method]), _array(growth.interval) if method == "model" else None)
            for method, text in METHODS.items()
            if method in growth.by_method
        ]
        marks = [(1.0, "mean of the field")] if metric == "vrmse" else []
        panels.append(
            CurvePanel(
                shown, "time after the last frame known", shown, _times(rollout), lines, logarithmic=True, marks=marks
            )
        )
    curves(file, title=f"{name}: growth of the error", panels=panels)
    return Figure(
        file,
        "Error of rollouts, averaged over fields and trajectories; the band is the 95 % interval of the model's mean. "
        "Where the model leaves the axes or the curve ends, rollouts have diverged.",
        lines=True,
    )


def _field_figure(
    name: str, field: int, about: PdeDescription, picture: Illustration, interval: float, *, figures: Path
) -> Figure:
    quantity = about.fields[field].rsplit(".", maxsplit=1)[-1]
    last = len(picture.steps) - 1
    chosen = np.unique(np.geomspace(1, last + 1, _SHOWN).round().astype(int)) - 1
    file = picture_file(figures, name, quantity)
    comparison(
        file,
        title=f"{name}: {quantity.replace('_', ' ')}, trajectory {picture.trajectory}",
        times=[f"step {step}\n(+{step * interval:.3g})" for step in (picture.steps[index] for index in chosen)],
        truth=picture.truth[chosen, field],
        prediction=picture.prediction[chosen, field],
        extent=about.extent,
        # A unit that nobody gave is unknown: the colour bar then has no label.
        unit="dimensionless" if about.units[field] == "1" else about.units[field],
    )
    return Figure(
        file,
        f"{quantity.replace('_', ' ').capitalize()} in the first trajectory of the split: truth and rollout on one "
        "scale; their difference on a scale of its own at each time, given in the panel, so early errors are seen; "
        "in brackets the time after the last frame known.",
    )


def _film(name: str, about: PdeDescription, picture: Illustration, figures: Path) -> Figure:
    fields = [field.rsplit(".", maxsplit=1)[-1].replace("_", " ") for field in about.fields]
    stem = file_stem(f"{name}.film")
    files = write_film(
        figures,
        stem,
        fields=fields,
        steps=picture.steps,
        truth=picture.truth,
        prediction=picture.prediction,
        bands=picture.bands,
    )
    strips = (
        " Under each field: the error that all but a few of its points stay below, as a line, over the band that is to "
        "hold it; orange where it does not."
        if picture.bands
        else ""
    )
    also = f" The same film as MP4: figures/{files[1].name}." if len(files) > 1 else ""
    return Figure(
        files[0],
        f"Rollout of trajectory {picture.trajectory}: truth, model and their difference, a row for each field; the "
        f"colours of truth and model are those of the truth's range.{strips}{also}",
    )


def _spectra_figure(name: str, rollout: RolloutScores, figures: Path) -> Figure:
    file = picture_file(figures, name, "spectra")
    last = rollout.spectra[-1]
    panels = [
        CurvePanel(
            field.rsplit(".", maxsplit=1)[-1].replace("_", " "),
            "wavenumber (waves per domain)",
            "power",
            np.arange(1, len(spectrum.truth) + 1, dtype=np.float64),
            [Line("model", _array(spectrum.model)), Line("truth", _array(spectrum.truth))],
            logarithmic=True,
            depth=1e-12,
        )
        for field, spectrum in last.fields.items()
    ]
    curves(file, title=f"{name}: power by wavenumber at step {last.step}", panels=panels)
    return Figure(
        file,
        f"Mean power of fields by radial wavenumber at step {last.step} of the rollouts. A forecast whose power "
        "falls below the truth's at high wavenumbers has lost its small structures.",
        lines=True,
    )


def _conservation_figure(name: str, rollout: RolloutScores, figures: Path) -> Figure:
    file = picture_file(figures, name, "conservation")
    panels = []
    for quantity, drift in rollout.conservation.items():
        label = "relative size" if quantity == "divergence" else "relative drift"
        lines = [Line(whose, _array(drift.growth[whose])) for whose in ("model", "truth")]
        title = quantity.replace("_", " ")
        panels.append(
            CurvePanel(
                title, "time after the last frame known", label, _times(rollout), lines, logarithmic=True, depth=1e-12
            )
        )
    curves(file, title=f"{name}: what the physics conserves", panels=panels)
    caption = "Mean absolute drift of conserved quantities over a rollout, beside that of the true frames."
    return Figure(file, caption, lines=True)


def _times(rollout: RolloutScores) -> NDArray[np.float64]:
    return np.arange(1, rollout.steps + 1, dtype=np.float64) * rollout.interval


def _array(values: object) -> NDArray[np.float64]:
    """Nested lists of numbers and None as an array."""
    return np.array(values, dtype=np.float64)
