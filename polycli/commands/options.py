"""The options that several commands share, and what is done with them before a family hears of them."""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from polycli import console
from polycli.commands import completion
from polycli.errors import UserError
from polycli.families import SHIPPED, verb_module
from polycli.paths import expand_paths
from polycli.requests import JsonDocument, Split


@dataclass(frozen=True)
class Invocation:
    """The words of the command line after `polycli`, for commands that start themselves again or quote themselves."""

    arguments: tuple[str, ...] = ()


# Packages bring more; every command reads this text, and looking for packages would take it 12 ms.
_FAMILY_HELP = f"{', '.join(SHIPPED)}; polycli --help lists those of installed packages too"
Family = Annotated[
    str, typer.Argument(metavar="FAMILY", help=_FAMILY_HELP, show_default=False, autocompletion=completion.families)
]
_RECIPE_HELP = "a file, or the name of a shipped recipe"
Recipe = Annotated[
    str, typer.Option("--recipe", metavar="RECIPE", help=_RECIPE_HELP, autocompletion=completion.recipes)
]
OptionalRecipe = Annotated[
    str | None, typer.Option("--recipe", metavar="RECIPE", help=_RECIPE_HELP, autocompletion=completion.recipes)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="replace one key of the recipe; can be repeated",
        autocompletion=completion.settings,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="change one setting of this verb; can be repeated",
        autocompletion=completion.settings,
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data", metavar="PATH", help="a store, a folder of stores, a quoted glob or @list.txt; can be repeated"
    ),
]
Checkpoint = Annotated[
    Path,
    typer.Option(
        "--checkpoint",
        metavar="CHECKPOINT",
        help="a run, a checkpoint in it, or a file of weights",
        autocompletion=completion.checkpoints,
    ),
]
StartingCheckpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="CHECKPOINT",
        help="a run, a checkpoint in it, or a file of weights; that of the recipe if absent",
        autocompletion=completion.checkpoints,
    ),
]
StoreRows = Annotated[Split | None, typer.Option("--split", help="which rows of a store; all if absent")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="use at most N rows of each source")]
Nproc = Annotated[
    int | None, typer.Option("--nproc", metavar="N", min=1, help="start N ranks on this machine and compute with all")
]
PrintCommand = Annotated[
    bool, typer.Option("--print-command", help="with --nproc: print the equivalent torchrun line and do nothing")
]
Part = Annotated[
    str | None, typer.Option("--part", metavar="I/N", help="only this part of the work; auto in a job array")
]
Finalize = Annotated[bool, typer.Option("--finalize", help="join the parts that --part wrote")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be done, and do nothing")]
Json = Annotated[bool, typer.Option("--json", help="print the result as one JSON document")]
#: The options that take a path and can be repeated.
TAKES_PATHS = {"--input", "--data", "--baseline"}
#: Commands with options that take a path must see what an unquoted glob leaves over, to answer with the right line.
SEES_LEFTOVERS = {"allow_extra_args": True}


def arguments_of(context: typer.Context) -> tuple[str, ...]:
    """The words after `polycli`, as they were typed."""
    invocation = context.find_object(Invocation)
    return invocation.arguments if invocation is not None else ()


def refuse_leftovers(context: typer.Context) -> None:
    """Answer words that belong to no option with the line that works.

    Raises:
        UserError: there are such words.
    """
    extra = list(context.args)
    if not extra:
        return
    shown = ", ".join(extra[:3]) + (", ..." if len(extra) > 3 else "")
    plural = "these words belong" if len(extra) > 1 else "this word belongs"
    line = _repaired(list(arguments_of(context)), extra)
    raise UserError(
        f"{plural} to no option: {shown}; an option takes one value, and the shell expands a pattern before polycli "
        "sees it",
        hint=f"quote the pattern or repeat the option: {line}" if line else "quote the pattern, or repeat the option",
    )


def _repaired(arguments: list[str], extra: list[str]) -> str | None:
    """The command line with the values of an unquoted glob in one quoted pattern, or each under its own option."""
    start = next((i for i in range(2, len(arguments)) if arguments[i : i + len(extra)] == extra), None)
    if start is None or arguments[start - 2] not in TAKES_PATHS:
        return None
    option = arguments[start - 2]
    values = [arguments[start - 1], *extra]
    head = _common_start(values)
    tail = _common_start([value[len(head) :][::-1] for value in values])[::-1]
    pattern = f"{head}*{tail}"
    if set(glob.glob(pattern)) == set(values):  # noqa: PTH207  # The shell's own pattern, as text.
        replaced = [option, pattern]
    else:
        replaced = [word for value in values for word in (option, value)]
    words = [*arguments[: start - 2], *replaced, *arguments[start + len(extra) :]]
    return "polycli " + shlex.join(words)


def _common_start(texts: Sequence[str]) -> str:
    length = 0
    for letters in zip(*texts, strict=False):
        if len(set(letters)) > 1:
            break
        length += 1
    return texts[0][:length]


def check_settings(family: str, verb: str, overrides: Sequence[str] | None) -> None:
    """Refuse a wrong `--set` here, before the family's module brings torch in and before any rank is started."""
    from polycli.recipes import default_recipe, settings_schema

    schema = settings_schema(family, verb)
    if schema is not None and overrides:
        default_recipe(family, verb, tuple(overrides), schema=schema)


def parse_part(text: str | None, environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """`i/n` as (i, n), counted from 0; `auto` from the variables of a Slurm job array, whatever its ids start at.

    Raises:
        UserError: neither, or i is not below n.
    """
    if text is None:
        return None
    if text == "auto":
        return _array_part(environment)
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise UserError(f"--part {text}: expected i/n with i from 0 to n - 1, such as 0/4, or auto")
    return int(found[1]), int(found[2])


def _array_part(environment: Mapping[str, str]) -> tuple[int, int]:
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")
    try:
        task, count = (int(environment[name]) for name in names)
        first = int(environment.get("SLURM_ARRAY_TASK_MIN", 0))
        step = int(environment.get("SLURM_ARRAY_TASK_STEP", 1))
    except (KeyError, ValueError) as error:
        raise UserError(
            f"--part auto reads {' and '.join(names)}, and they are not set to numbers here",
            hint="it works inside a Slurm job array (sbatch --array=0-3); elsewhere write --part i/n",
        ) from error
    part = (task - first) // step
    if not 0 <= part < count:
        raise UserError(f"--part auto: task {task} of {count} tasks that start at {first} is not a regular job array")
    return part, count


def start_ranks_if_asked(context: typer.Context, nproc: int | None, *, print_command: bool) -> None:
    """Runs this same line as `nproc` ranks, if `--nproc` was given, and ends with their exit code.

    Raises:
        UserError: this process is a rank already.
        typer.Exit: the ranks have run, or the line was printed.
    """
    if nproc is None and not print_command:
        return
    arguments = without_option(arguments_of(context), "--nproc", "--print-command")
    if print_command:
        launcher = ["torchrun", "--standalone", f"--nproc-per-node={nproc}"] if nproc else ["python"]
        console.result(shlex.join([*launcher, "-m", "polycli", *arguments]))
        raise typer.Exit
    if "RANK" in os.environ:
        raise UserError(
            "--nproc starts ranks, and this process is a rank already: RANK is set",
            hint="leave --nproc out under torchrun and srun",
        )
    if nproc is not None and nproc > 1:
        from polycli.launch import start_local_ranks

        raise typer.Exit(start_local_ranks(nproc, arguments))


def without_option(arguments: Sequence[str], valued: str, flag: str) -> list[str]:
    """The words without an option that takes a value and without a flag."""
    kept: list[str] = []
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif word == valued:
            skip = True
        elif word != flag and not word.startswith(f"{valued}="):
            kept.append(word)
    return kept


def hand_over(family: str, verb: str, request: object, *, json: bool) -> None:
    """Have the family's module do what is asked for, and end as `finish` does."""
    finish(verb_module(family, verb).run(request), json=json)


def finish(document: JsonDocument | None, *, json: bool) -> None:
    """Print what a verb returned, where JSON was asked for, otherwise the verb has said it; part from other ranks."""
    if json and document is not None:
        console.result(document)
    from polycli.launch import leave_process_group

    leave_process_group()


def refuse_both(part: str | None, *, finalize: bool) -> None:
    """Return unless a part and the last step are asked for at once.

    Raises:
        UserError: they are.
    """
    if part is not None and finalize:
        raise UserError("--part and --finalize are two steps: first every part, then --finalize once")


def some_data(data: Sequence[str] | None) -> tuple[Path, ...]:
    """The paths that were given as data.

    Raises:
        UserError: none were.
    """
    if not data:
        raise UserError("there is nothing to work on: --data is missing", hint="--data STORE, or --data FILE")
    return expand_paths(data)
