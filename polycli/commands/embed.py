"""`polycli embed`: turns the line into a request, as `polycli.commands.verbs` does for the other verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polycli.commands.options import (
    Checkpoint,
    Data,
    DryRun,
    Family,
    Finalize,
    Json,
    Limit,
    Nproc,
    Part,
    PrintCommand,
    Settings,
    StoreRows,
    arguments_of,
    check_settings,
    hand_over,
    parse_part,
    refuse_both,
    refuse_leftovers,
    some_data,
    start_ranks_if_asked,
)
from polycli.errors import UserError
from polycli.families import require_verb
from polycli.paths import plain_path
from polycli.requests import EmbedRequest


def embed(
    context: typer.Context,
    family: Family,
    *,
    checkpoint: Checkpoint,
    data: Data = None,
    output: Annotated[Path, typer.Option("--output", metavar="EMBEDDINGS", help="where the embeddings go")],
    split: StoreRows = None,
    limit: Limit = None,
    overrides: Settings = None,
    part: Part = None,
    finalize: Finalize = False,
    append: Annotated[
        bool, typer.Option("--append", help="add the rows of further data to embeddings that are there")
    ] = False,
    dask: Annotated[
        str | None,
        typer.Option("--dask", metavar="ADDRESS", help="a running Dask cluster computes: its scheduler, or its file"),
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option("--scratch", metavar="DIR", help="a folder of each machine's own disk, to write units in first"),
    ] = None,
    nproc: Nproc = None,
    print_command: PrintCommand = False,
    dry_run: DryRun = False,
    sbatch: Annotated[
        bool, typer.Option("--sbatch", help="with --dry-run: print the script of a Slurm job array that does it")
    ] = False,
    hours: Annotated[
        float, typer.Option("--hours", metavar="H", min=0.05, help="with --sbatch: the time that the array may take")
    ] = 4.0,
    json: Json = False,
) -> None:
    """Write one vector per row of data, with its id."""
    refuse_leftovers(context)
    require_verb(family, "embed")
    refuse_both(part, finalize=finalize)
    if sbatch and not dry_run:
        raise UserError("--sbatch prints what a dry run finds", hint="--dry-run --sbatch")
    if sbatch and (part is not None or finalize or dask is not None or nproc is not None):
        raise UserError("--sbatch shares the work by --part auto", hint="leave --part, --finalize, --dask, --nproc out")
    if dask is not None and (part is not None or finalize or nproc is not None):
        raise UserError("--dask shares the work out by itself", hint="leave --part, --finalize and --nproc out")
    check_settings(family, "embed", overrides)
    request = EmbedRequest(
        checkpoint=plain_path(checkpoint),
        data=some_data(data),
        output=plain_path(output),
        split=split,
        limit=limit,
        overrides=tuple(overrides or ()),
        part=parse_part(part),
        finalize=finalize,
        append=append,
        dask=dask,
        scratch=None if scratch is None else plain_path(scratch),
        sbatch=sbatch,
        hours=hours,
        dry_run=dry_run,
        line=arguments_of(context),
        json=json,
    )
    start_ranks_if_asked(context, None if dry_run else nproc, print_command=print_command)
    hand_over(family, "embed", request, json=json)
