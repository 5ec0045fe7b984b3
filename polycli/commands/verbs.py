"""The verbs that take a family: each builds a request and hands it to `polycli.FAMILY.VERB.run`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from polycli.commands import completion
from polycli.commands.embed import embed
from polycli.commands.options import (
    SEES_LEFTOVERS,
    Checkpoint,
    Data,
    DryRun,
    Family,
    Finalize,
    Json,
    Limit,
    Nproc,
    OptionalRecipe,
    Overrides,
    Part,
    PrintCommand,
    Recipe,
    Settings,
    StartingCheckpoint,
    StoreRows,
    arguments_of,
    check_settings,
    finish,
    hand_over,
    parse_part,
    refuse_both,
    refuse_leftovers,
    some_data,
    start_ranks_if_asked,
)
from polycli.commands.scored import calibrate, evaluate
from polycli.commands.verb_help import VerbCommand
from polycli.families import require_verb
from polycli.paths import expand_paths, plain_path
from polycli.requests import (
    JsonDocument,
    PredictRequest,
    PrepareRequest,
    ResumePolicy,
    StudyRequest,
    TrainRequest,
)

if TYPE_CHECKING:
    from polycli.sections import Section

DATA_PANEL = "Data"
MODEL_PANEL = "Models"


def register(app: typer.Typer) -> None:
    """Add the verbs to the application, in the order of use."""
    app.command("prepare", cls=VerbCommand, rich_help_panel=DATA_PANEL, context_settings=SEES_LEFTOVERS)(prepare)
    for name, command in (
        ("pretrain", pretrain),
        ("finetune", finetune),
        ("calibrate", calibrate),
        ("eval", evaluate),
        ("predict", predict),
        ("embed", embed),
        ("study", study),
    ):
        app.command(name, cls=VerbCommand, rich_help_panel=MODEL_PANEL, context_settings=SEES_LEFTOVERS)(command)


def prepare(
    context: typer.Context,
    family: Family,
    *,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="NAME",
            help="what the input is, such as pdebench; prepare FAMILY --help lists them",
            autocompletion=completion.sources,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", metavar="STORE", help="where the store goes")],
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="PATH", help="a file, a folder, a quoted glob or @list.txt; can be repeated"),
    ] = None,
    recipe: OptionalRecipe = None,
    overrides: Overrides = None,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", min=1, help="parallel processes")] = None,
    limit: Limit = None,
    part: Part = None,
    finalize: Finalize = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Turn source files into checked zarr stores."""
    refuse_leftovers(context)
    require_verb(family, "prepare")
    refuse_both(part, finalize=finalize)
    _check_recipe(family, "prepare", recipe, overrides)
    request = PrepareRequest(
        source=source,
        inputs=expand_paths(inputs or ()),
        output=plain_path(output),
        recipe=recipe,
        overrides=tuple(overrides or ()),
        workers=workers,
        limit=limit,
        part=parse_part(part),
        finalize=finalize,
        dry_run=dry_run,
        line=arguments_of(context),
        json=json,
    )
    hand_over(family, "prepare", request, json=json)


_RunFolder = Annotated[
    Path | None, typer.Option("--output", metavar="RUN", help="where the run goes; runs/<recipe name> if absent")
]
_Resume = Annotated[ResumePolicy, typer.Option("--resume", help="resume an existing run: auto, never, or must")]
_Profile = Annotated[
    int | None,
    typer.Option("--profile", metavar="N", min=1, help="trace N steps into RUN/profile; short for --set log.profile=N"),
]


def pretrain(
    context: typer.Context,
    family: Family,
    *,
    recipe: Recipe,
    data: Data = None,
    output: _RunFolder = None,
    overrides: Overrides = None,
    limit: Limit = None,
    resume: _Resume = "auto",
    profile: _Profile = None,
    nproc: Nproc = None,
    print_command: PrintCommand = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Train a model from the start on stores."""
    refuse_leftovers(context)
    require_verb(family, "pretrain")
    request = TrainRequest(
        recipe=recipe,
        data=tuple(map(Path, data or ())),
        output=None if output is None else plain_path(output),
        overrides=_with_profile(overrides, profile),
        resume=resume,
        limit=limit,
        dry_run=dry_run,
        nproc=nproc,
        json=json,
    )
    _train(context, family, "pretrain", request, print_command=print_command)


def finetune(
    context: typer.Context,
    family: Family,
    *,
    recipe: Recipe,
    checkpoint: StartingCheckpoint = None,
    data: Data = None,
    output: _RunFolder = None,
    overrides: Overrides = None,
    limit: Limit = None,
    resume: _Resume = "auto",
    profile: _Profile = None,
    nproc: Nproc = None,
    print_command: PrintCommand = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Train a checkpoint further, on other data or for another purpose."""
    refuse_leftovers(context)
    require_verb(family, "finetune")
    request = TrainRequest(
        recipe=recipe,
        checkpoint=None if checkpoint is None else plain_path(checkpoint),
        data=tuple(map(Path, data or ())),
        output=None if output is None else plain_path(output),
        overrides=_with_profile(overrides, profile),
        resume=resume,
        limit=limit,
        dry_run=dry_run,
        nproc=nproc,
        json=json,
    )
    _train(context, family, "finetune", request, print_command=print_command)


def predict(
    context: typer.Context,
    family: Family,
    *,
    checkpoint: Checkpoint,
    data: Data = None,
    output: Annotated[Path, typer.Option("--output", metavar="OUT", help="where the predictions go")],
    split: StoreRows = None,
    limit: Limit = None,
    overrides: Settings = None,
    nproc: Nproc = None,
    print_command: PrintCommand = False,
    json: Json = False,
) -> None:
    """Write what a model says about data whose truth is not known."""
    refuse_leftovers(context)
    require_verb(family, "predict")
    check_settings(family, "predict", overrides)
    request = PredictRequest(
        checkpoint=plain_path(checkpoint),
        data=some_data(data),
        output=plain_path(output),
        split=split,
        limit=limit,
        overrides=tuple(overrides or ()),
        json=json,
    )
    start_ranks_if_asked(context, nproc, print_command=print_command)
    hand_over(family, "predict", request, json=json)


def study(
    context: typer.Context,
    family: Family,
    *,
    recipe: Recipe,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="where the runs and the table go")],
    overrides: Overrides = None,
    limit: Limit = None,
    jobs: Annotated[
        int, typer.Option("--jobs", metavar="N", min=1, help="run N commands at a time, on the cores divided by N")
    ] = 1,
    nproc: Nproc = None,
    print_command: PrintCommand = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Run a grid of experiments and put them into one table."""
    refuse_leftovers(context)
    require_verb(family, "study")
    _check_recipe(family, "study", recipe, overrides)
    request = StudyRequest(
        recipe=recipe,
        output=plain_path(output),
        overrides=tuple(overrides or ()),
        limit=limit,
        jobs=jobs,
        dry_run=dry_run,
        json=json,
    )
    start_ranks_if_asked(context, None if dry_run else nproc, print_command=print_command)
    from polycli.workflow.study.running import run_study

    finish(run_study(request, family), json=json)


def _train(
    context: typer.Context,
    family: Family,
    verb: Literal["pretrain", "finetune"],
    request: TrainRequest,
    *,
    print_command: bool,
) -> None:
    """Train as the request says, on as many processes, unless its run is complete already."""
    checked = _check_recipe(family, verb, request.recipe, request.overrides)
    if not request.dry_run and not print_command and (complete := _complete(request, checked)) is not None:
        finish(complete, json=request.json)
        return
    start_ranks_if_asked(context, None if request.dry_run else request.nproc, print_command=print_command)
    hand_over(family, verb, request, json=request.json)


def _with_profile(overrides: list[str] | None, profile: int | None) -> tuple[str, ...]:
    return (*(overrides or ()), *([] if profile is None else [f"log.profile={profile}"]))


def _complete(request: TrainRequest, recipe: Section | None) -> JsonDocument | None:
    from polycli.commands.run_folder import look_at_run

    return None if recipe is None else look_at_run(request, recipe)


def _check_recipe(family: str, verb: str, recipe: str | None, overrides: Sequence[str] | None) -> Section | None:
    """Refuse a wrong recipe here, before the family's module brings torch in and before any rank is started."""
    from polycli.recipes import default_recipe, load_recipe

    if recipe is not None:
        return load_recipe(recipe, family=family, verb=verb, overrides=tuple(overrides or ()))
    return default_recipe(family, verb, tuple(overrides)) if overrides else None
