"""`polycli eval` and `polycli calibrate`: a checkpoint and rows whose truth is known, as requests to a family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

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
    hand_over,
    refuse_leftovers,
    start_ranks_if_asked,
)
from polycli.families import require_verb
from polycli.paths import expand_paths, plain_path
from polycli.requests import CalibrateRequest, EvalRequest, ScoredRequest, Split

Request = TypeVar("Request", bound=ScoredRequest)


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
    _refuse(context, family, "calibrate", overrides)
    request = _request(
        CalibrateRequest,
        checkpoint,
        data,
        output,
        overrides,
        split=split,
        limit=limit,
        allow_overlap=allow_overlap,
        json=json,
    )
    start_ranks_if_asked(context, nproc, print_command=print_command)
    hand_over(family, "calibrate", request, json=json)


def evaluate(
    context: typer.Context,
    family: Family,
    *,
    checkpoint: Checkpoint,
    data: Data = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option("--baseline", metavar="RUN", help="a run to compare with on the same rows; can be repeated"),
    ] = None,
    split: Annotated[Split, typer.Option("--split", help="which rows of the stores")] = "test",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="where scores.json, report.html and figures/ go")
    ] = None,
    limit: Limit = None,
    overrides: Settings = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="score rows even if the model was trained on them")
    ] = False,
    open_report: Annotated[
        bool, typer.Option("--open", help="open report.html in the browser when it is written")
    ] = False,
    nproc: Nproc = None,
    print_command: PrintCommand = False,
    json: Json = False,
) -> None:
    """Say with numbers and pictures how good a checkpoint is."""
    _refuse(context, family, "eval", overrides)
    request = _request(
        EvalRequest,
        checkpoint,
        data,
        output,
        overrides,
        baselines=expand_paths(baseline or ()),
        open=open_report,
        split=split,
        limit=limit,
        allow_overlap=allow_overlap,
        json=json,
    )
    start_ranks_if_asked(context, nproc, print_command=print_command)
    hand_over(family, "eval", request, json=json)


def _refuse(context: typer.Context, family: str, verb: str, overrides: Sequence[str] | None) -> None:
    """Refuse what is wrong with the line itself, before torch is imported and any rank is started."""
    refuse_leftovers(context)
    require_verb(family, verb)
    check_settings(family, verb, overrides)


def _request(
    kind: Callable[..., Request],
    checkpoint: Path,
    data: Sequence[str] | None,
    output: Path | None,
    overrides: Sequence[str] | None,
    **more: object,
) -> Request:
    """The request with the paths of the line as they are meant."""
    return kind(
        checkpoint=plain_path(checkpoint),
        data=expand_paths(data or ()),
        output=None if output is None else plain_path(output),
        overrides=tuple(overrides or ()),
        **more,
    )
