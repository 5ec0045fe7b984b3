"""The commands that look around or pass things on: inspect, status, export, search, weights, doctor, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polycli import console
from polycli.commands import pages, reports, search, weights
from polycli.commands.options import Data, Family, Json
from polycli.errors import UserError
from polycli.paths import expand_paths, plain_path

PANEL = "Look around"
RESULT_PANEL = "Results"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(search.application(), name="search", rich_help_panel=RESULT_PANEL)
    pages.register(app, panel=RESULT_PANEL)
    reports.register(app, panel=RESULT_PANEL)
    app.command("export", rich_help_panel=RESULT_PANEL)(export)
    app.command("status", rich_help_panel=PANEL)(status)
    app.command("inspect", rich_help_panel=PANEL)(inspect)
    weights.register(app, panel=PANEL)
    app.command("doctor", rich_help_panel=PANEL)(doctor)
    app.command("demo", rich_help_panel=PANEL)(demo)


def export(
    path: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT|STORE", help="a run or a checkpoint in it; with --format, a store")
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE|DIR",
            help="a .safetensors file (model.safetensors), whose description goes beside it; of a store, a folder",
        ),
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="of a store: well, for The Well's loader (mpp)")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace files that are there")] = False,
    json: Json = False,
) -> None:
    """Copy the weights and their description out of a run, or write a store in a format that other projects read."""
    from polycli.exporting import export_checkpoint, export_store

    target = None if output is None else plain_path(output)
    if form is not None:
        written = export_store(plain_path(path), form, target, force=force)
    else:
        written = export_checkpoint(plain_path(path), target or Path("model.safetensors"), force=force)
    if json:
        console.result(written)


def inspect(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="a store, run, checkpoint, embeddings, recipe or source file")
    ],
    *,
    verify: Annotated[bool, typer.Option("--verify", help="read and hash everything")] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="CHECKPOINT", help="with --verify and --data: embed some rows again"),
    ] = None,
    data: Data = None,
    sample: Annotated[int, typer.Option("--sample", metavar="N", min=1, help="how many rows to embed again")] = 256,
    head: Annotated[int | None, typer.Option("--head", metavar="N", min=1, help="show the first N rows")] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="OUT.png", help="draw images, curves or the spread of values")
    ] = None,
    json: Json = False,
) -> None:
    """Say in a few lines what a file or folder is."""
    from polycli.inspection import draw_path, head_of, inspect_path

    if (checkpoint is not None or data) and not (verify and checkpoint is not None and data):
        raise UserError(
            "--checkpoint and --data belong together, to embed rows again: --verify --checkpoint C --data D"
        )
    found = inspect_path(plain_path(path), verify=verify)
    if checkpoint is not None:
        from polycli.inspection.reembedding import verify_vectors

        said = verify_vectors(plain_path(path), plain_path(checkpoint), expand_paths(data or ()), rows=sample)
        found = found.extended("embedded again", said)
    rows = None if head is None else head_of(plain_path(path), head)
    if figure is not None:
        draw_path(plain_path(path), plain_path(figure))
    if json:
        console.result(found.document if rows is None else {**found.document, "head": rows.document()})
        return
    console.result("\n".join([*map(_folded, found.lines), *([] if rows is None else ["", rows.text()])]))


def _folded(line: str) -> str:
    from polycli.report.screen import folded

    return folded(line)


def status(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="the --output of a prepare, training, embed or study")],
    *,
    json: Json = False,
) -> None:
    """Say how far some work has come: done, running, missing, speed, expected end, first error."""
    from polycli.status import status_of

    found = status_of(plain_path(path))
    if json:
        console.result(found[0].document() if len(found) == 1 else [each.document() for each in found])
    else:
        console.result("\n".join(_folded(line) for each in found for line in each.lines()))


def doctor(*, json: Json = False) -> None:
    """Say what this machine has, and what is missing."""
    from polycli.doctor import examine

    findings = examine()
    if json:
        console.result([finding.as_document() for finding in findings])
    else:
        console.result("\n".join(_folded(finding.line()) for finding in findings))
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(1)


def demo(
    family: Family,
    *,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="where everything goes")] = Path("demo"),
    open_report: Annotated[bool, typer.Option("--open", help="open the report in the browser at the end")] = False,
) -> None:
    """Run a whole example: simulate, prepare, pretrain, eval."""
    from polycli.demo import run_demo

    run_demo(family, plain_path(output), open_report=open_report)
