"""`polycli report index`: one page over a folder of evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polycli import console
from polycli.commands.options import Json
from polycli.paths import plain_path


def register(app: typer.Typer, *, panel: str) -> None:
    """Add the group to the application."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Gather the reports of several evaluations.")
    group.callback()(_report)
    group.command("index")(index)
    app.add_typer(group, name="report", rich_help_panel=panel)


def _report() -> None:
    """Gather the reports of several evaluations."""


def index(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="holds evaluations, at any depth")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="an .html file; FOLDER/index.html if absent")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="open the page in the browser")] = False,
    json: Json = False,
) -> None:
    """Write one page with the main score of every dataset in every evaluation of a folder, linked to the reports."""
    from polycli.report.browser import open_in_browser
    from polycli.report.index import as_documents, write_index

    written, entries = write_index(plain_path(folder), None if output is None else plain_path(output))
    console.say_where("page", written)
    if json:
        console.result(as_documents(entries))
    if open_page:
        open_in_browser(written)
