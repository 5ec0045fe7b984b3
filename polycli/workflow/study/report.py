"""Turns the documents of all runs into tables, claims and a report: medians over seeds, with smallest and largest."""

from __future__ import annotations

import json
import operator
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from polycli import __version__, console
from polycli.errors import RecipeError, UserError
from polycli.publishing import holding, publish_parts
from polycli.report.html import Block, Figure, Heading, Paragraph, page
from polycli.report.measurements import Measurement
from polycli.report.table import Table, as_markdown, as_text, number
from polycli.requests import JsonDocument
from polycli.workflow.study.comparisons import FIGURE, Comparison, compare, draw, spread_text
from polycli.workflow.study.plan import Experiment, Layout, experiments
from polycli.workflow.study.recipe import ClaimSection, Scalar, StudyRecipe, TableSection
from polycli.workflow.study.results import Documents, value_at

#: What a study leaves; study.json comes last: who finds a new one finds what belongs to it.
FILES = (FIGURE, "tables.md", "report.html", "measurement.json", "study.json")
Row = tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True)
class Verdict:
    """The outcome of a claim, with its evidence."""

    text: str
    holds: bool
    #: Found and expected, in numbers.
    evidence: str
    #: Medians are as the claim says, but a seed of the one lies beyond a seed of the other.
    seeds_overlap: bool = False

    @property
    def result(self) -> str:
        """The word of a table of claims for this outcome."""
        if not self.holds:
            return "does not hold"
        return "not told apart: seeds overlap" if self.seeds_overlap else "holds"


def refuse_foreign(folder: Path) -> None:
    """Return if the files of a study's results may be written to `folder`: none of them is there, or a study's are.

    Raises:
        UserError: one is there that no study wrote.
    """
    try:
        earlier = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        earlier = None
    if isinstance(earlier, dict) and {"title", "version", "results", "claims"} <= earlier.keys():
        return
    there = [name for name in FILES if os.path.lexists(folder / name)]
    if there:
        raise UserError(
            f"{folder}: has {there[0]}, which no study of polycli wrote and which is not replaced",
            hint="give another --output, or move it away yourself",
        )


def write_report(recipe: StudyRecipe, documents: Documents, layout: Layout, *, command: str) -> JsonDocument:
    """Write DIR/{study.json,tables.md,report.html,measurement.json}, and a figure of curves; returns study.json.

    `command` is the line of the study, for documentation that quotes its tables.
    """
    tables = [_table(recipe, table, documents) for table in recipe.tables]
    figures = {table.title: _figures(recipe, table, documents) for table in recipe.tables}
    compared = [compare(recipe, section, documents) for section in recipe.comparisons]
    tables += [one.table() for one in compared]
    figures |= {one.section.title: one.figures() for one in compared}
    verdicts = [
        *(Verdict(one.section.claim, *one.claim()) for one in compared if one.section.claim is not None),
        *(judge(recipe, claim, documents) for claim in recipe.claims),
    ]
    if verdicts:
        rows = [(verdict.text, verdict.result, verdict.evidence) for verdict in verdicts]
        tables.append(Table("Claims", ("claim", "result", "medians over seeds"), rows, labels=3))
    document: JsonDocument = {
        "title": recipe.title,
        "version": __version__,
        "results": documents,
        "comparisons": {one.section.title: one.figures() for one in compared},
        "claims": [
            {"text": v.text, "holds": v.holds, "seeds_overlap": v.seeds_overlap, "evidence": v.evidence}
            for v in verdicts
        ],
    }
    curves = [one for one in compared if one.section.worth]
    texts = {
        "tables.md": "\n\n".join(
            [f"# {recipe.title}", *([recipe.about] if recipe.about else []), *map(as_markdown, tables)]
        )
        + "\n",
        "measurement.json": Measurement.of(command, figures, tables).text(),
        "study.json": json.dumps(document, indent=1) + "\n",
    }
    with holding(layout.folder, what="the results of a study") as work:
        new = work / "new"
        new.mkdir()
        texts["report.html"] = page(recipe.title, _blocks(recipe, tables, curves, new / FIGURE))
        for name, text in texts.items():
            (new / name).write_text(text, encoding="utf-8")
        publish_parts(new, layout.folder, FILES, work)
    for name in (*texts, *([FIGURE] if curves else [])):
        console.say(f"wrote {layout.folder / name}")
    console.say("\n\n".join(as_text(table) for table in tables))
    return document


def _blocks(recipe: StudyRecipe, tables: Sequence[Table], curves: Sequence[Comparison], figure: Path) -> list[Block]:
    """The parts of report.html; the figure is drawn to `figure` if there is any."""
    blocks: list[Block] = [*([Paragraph(recipe.about)] if recipe.about else []), Heading("Results")]
    if curves:
        draw(figure, recipe.title, curves)
        blocks.append(Figure(figure, "Medians over seeds; shaded from the smallest to the largest."))
    return [*blocks, *tables]


def judge(recipe: StudyRecipe, claim: ClaimSection, documents: Documents) -> Verdict:
    """Compare medians over seeds as the claim says."""
    other = claim.over or claim.minus
    places = [claim.value] if other is None else [claim.value, other]
    combine = operator.truediv if claim.over is not None else operator.sub
    values = _by_row(recipe, claim.of, places, documents, float if other is None else combine)
    medians = {row: statistics.median(found) for row, found in values.items() if found}
    own = _only(claim, [row for row in medians if set(claim.where.items()) <= set(row)])
    found = f"{_named(own)}: {spread_text(values[own])}"
    if claim.at_most is not None:
        return Verdict(claim.text, medians[own] <= claim.at_most, f"{found}; at most {number(claim.at_most)}")
    if claim.at_least is not None:
        return Verdict(claim.text, medians[own] >= claim.at_least, f"{found}; at least {number(claim.at_least)}")
    others = [row for row in medians if row != own]
    if isinstance(claim.below, dict):
        wanted = set(claim.below.items())
        others = [row for row in others if wanted <= set(row)]
    if not others:
        raise RecipeError(f"claim {claim.text!r}: there is no other row to compare with")
    holds = all(medians[own] < claim.factor * medians[row] for row in others)
    overlap = any(max(values[own]) >= claim.factor * min(values[row]) for row in others if values[row])
    factor = "" if claim.factor == 1 else f", times {number(claim.factor)}"
    against = "; ".join(f"{_named(row)}: {spread_text(values[row])}" for row in others)
    return Verdict(claim.text, holds, f"{found}; against {against}{factor}", holds and overlap)


def _table(recipe: StudyRecipe, section: TableSection, documents: Documents) -> Table:
    columns = {heading: _rows(recipe, section, place, documents) for heading, place in section.columns.items()}
    first = next(iter(columns.values()))
    body = [
        [
            *(str(value) for _, value in row),
            str(len(first[row])),
            *(spread_text(column[row]) for column in columns.values()),
        ]
        for row in first
    ]
    labels = [key for key, _ in next(iter(first))]
    caption = section.caption
    if any(len(found) > 1 for found in first.values()):
        caption = f"{caption} Median over seeds, with the smallest and the largest.".strip()
    return Table(section.title, [*labels, "seeds", *columns], body, caption=caption, labels=max(1, len(labels)))


def _figures(recipe: StudyRecipe, section: TableSection, documents: Documents) -> JsonDocument:
    """Maps row and column of a table to the values of all seeds."""
    figures: JsonDocument = {}
    for heading, place in section.columns.items():
        for row, values in _rows(recipe, section, place, documents).items():
            figures.setdefault(_named(row), {})[heading] = values
    return figures


def _rows(recipe: StudyRecipe, section: TableSection, place: str, documents: Documents) -> dict[Row, list[float]]:
    """The values at `place` of all runs of a table, by row, entry after entry."""
    rows: dict[Row, list[float]] = {}
    for entry in section.entries:
        for row, values in _by_row(recipe, entry, [place], documents).items():
            rows.setdefault(row, []).extend(values)
    return rows


def _by_row(
    recipe: StudyRecipe, of: str, places: Sequence[str], documents: Documents, combine: Callable[..., float] = float
) -> dict[Row, list[float]]:
    """The values at `places`, made one by `combine`, of all runs, by row; runs of which one is null are left out."""
    entry = recipe.run_of(of)
    rows: dict[Row, list[float]] = {}
    for experiment in experiments(entry, recipe.runs[entry]):
        where = _where(of, experiment)
        found = [value_at(documents[of][experiment.name], place, where=where) for place in places]
        rows.setdefault(experiment.row, [])
        if None not in found:
            rows[experiment.row].append(combine(*found))
    return rows


def _where(of: str, experiment: Experiment) -> str:
    return f"{of} of {experiment.name}"


def _only(claim: ClaimSection, rows: Sequence[Row]) -> Row:
    if len(rows) != 1:
        raise RecipeError(f"claim {claim.text!r}: `where` fits {len(rows)} rows, one was expected")
    return rows[0]


def _named(row: Row) -> str:
    return ", ".join(str(value) for _, value in row) or "all"
