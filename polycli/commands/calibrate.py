"""`polycli calibrate`: turns the line into a request, as `polycli.commands.verbs` does for the other verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polycli.commands.options import (
    Checkpoint,
    Data,
    Family,
    Json,
    Limit,
    Nproc,
    PrintCommand,
    Settings,
    check_settings,
    finish,
    refuse_leftovers,
    start_ranks_if_asked,
)
from polycli.families import require_verb, verb_module
from polycli.paths import expand_paths, plain_path
from polycli.requests import CalibrateRequest, Split


def calibrate(
    context: typer.Context,
    family: Family,
    *,
    checkpoint: Checkpoint,
    data: Data = None,
    split: Annotated[
        Split, typer.Option("--split", help="which rows of the stores; never those that test")
    ] = "validation",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE", help="a .json file; beside the weights if absent, where predict looks"
        ),
    ] = None,
    limit: Limit = None,
    overrides: Settings = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="use rows even if the model was trained on them")
    ] = False,
    nproc: Nproc = None,
    print_command: PrintCommand = False,
    json: Json = False,
) -> None:
    """Find intervals that hold, from held-back rows, and keep them beside a checkpoint."""
    refuse_leftovers(context)
    require_verb(family, "calibrate")
    check_settings(family, "calibrate", overrides)
    request = CalibrateRequest(
        checkpoint=plain_path(checkpoint),
        data=expand_paths(data or ()),
        split=split,
        output=None if output is None else plain_path(output),
        limit=limit,
        overrides=tuple(overrides or ()),
        allow_overlap=allow_overlap,
        json=json,
    )
    start_ranks_if_asked(context, nproc, print_command=print_command)
    finish(verb_module(family, "calibrate").run(request), json=json)
