"""`polycli recipes ls|show|copy|check|schema`: what recipes there are, and whether one is right."""

from __future__ import annotations

import difflib
import json as json_format
import shutil
from pathlib import Path
from typing import Annotated

import typer

from polycli import console
from polycli.commands import completion
from polycli.commands.options import Family, Json, Overrides
from polycli.errors import RecipeError, UserError
from polycli.families import VERBS, find_family
from polycli.outputs import Output, OutputKind
from polycli.paths import plain_path
from polycli.report.screen import columns

PANEL = "Look around"
_Name = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="a file, or the name of a shipped recipe", autocompletion=completion.recipes),
]
OptionalFamily = Annotated[
    str | None, typer.Argument(metavar="[FAMILY]", help="such as mpp", autocompletion=completion.families)
]
OptionalVerb = Annotated[
    str | None, typer.Argument(metavar="[VERB]", help="such as pretrain", autocompletion=completion.verbs)
]
SomeVerb = Annotated[str, typer.Argument(metavar="VERB", help="such as pretrain", autocompletion=completion.verbs)]


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, show, copy and check recipes.")
    for name, command in (("ls", ls), ("show", show), ("copy", copy), ("check", check), ("schema", schema)):
        group.command(name)(command)
    app.add_typer(group, name="recipes", rich_help_panel=PANEL)


def ls(family: OptionalFamily = None, verb: OptionalVerb = None, *, json: Json = False) -> None:
    """List the recipes that polycli ships, of one family or of all."""
    if family is not None:
        find_family(family)
    if verb is not None:
        refuse_unknown_verb(verb)
    from polycli.recipes import shipped_recipes

    recipes = [
        recipe
        for recipe in shipped_recipes()
        if recipe.family == (family or recipe.family) and recipe.verb == (verb or recipe.verb)
    ]
    if json:
        console.result(
            [
                {
                    "name": recipe.name,
                    "family": recipe.family,
                    "verb": recipe.verb,
                    "description": recipe.description,
                    "path": str(recipe.path),
                }
                for recipe in recipes
            ]
        )
        return
    rows = [(recipe.name, recipe.family, recipe.verb, recipe.description) for recipe in recipes]
    console.result(columns(rows, ("name", "family", "verb", "what it is")))


def show(
    recipe: _Name,
    *,
    overrides: Overrides = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="with every inherited and default key")] = False,
    json: Json = False,
) -> None:
    """Print a recipe: as it stands in its file, or resolved."""
    from polycli.recipes import dump_recipe, find_recipe, load_any_recipe

    if json:
        console.result(load_any_recipe(recipe, overrides or ()).model_dump(mode="json"))
    elif resolved or overrides:
        console.result(dump_recipe(load_any_recipe(recipe, overrides or ())))
    else:
        path = find_recipe(recipe)
        try:
            console.result(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path}: cannot be read as text: {error}") from error


def copy(
    recipe: _Name,
    target: Annotated[Path | None, typer.Argument(metavar="TARGET", help="a file or a folder; here if absent")] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="replace a file that is there")] = False,
) -> None:
    """Copy a recipe, to change it."""
    from polycli.recipes import find_recipe

    source = find_recipe(recipe)
    goal = plain_path(target or Path())
    if goal.is_dir():
        goal = goal / source.name
    if not goal.parent.is_dir():
        raise UserError(f"{goal.parent}: no such folder", hint=f"mkdir -p {goal.parent}")
    kind = OutputKind("recipes", (goal.suffix,), Path.is_file, ask="--force replaces it")
    output = Output(goal, kind, force, inputs=(source,))
    output.refuse()
    with output.writing() as unfinished:
        shutil.copyfile(source, unfinished)
    console.say(f"{recipe} copied to {goal}")


def check(
    files: Annotated[list[str], typer.Argument(metavar="RECIPE...", help="files or names of shipped recipes")],
    *,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Check recipes: every problem, with its line."""
    from polycli.recipes import load_any_recipe

    outcome: dict[str, str | None] = {}
    for name in files:
        try:
            recipe = load_any_recipe(name, overrides or ())
        except RecipeError as error:
            outcome[name] = str(error)
        else:
            outcome[name] = None
            if not json:
                about = recipe.model_dump(include={"family", "verb"})
                console.result(f"{name}: a valid recipe for `{about['verb']} {about['family']}`")
    if json:
        console.result(
            [{"recipe": name, "ok": problem is None, "problem": problem} for name, problem in outcome.items()]
        )
    wrong = [problem for problem in outcome.values() if problem is not None]
    if wrong:
        raise RecipeError("\n".join(wrong))


def schema(family: Family, verb: SomeVerb = "pretrain") -> None:
    """Print the JSON Schema of a family's recipes for a verb, or of the settings of a verb without any."""
    from polycli.recipes import json_schema

    console.result(json_format.dumps(json_schema(family, verb), indent=2))


def refuse_unknown_verb(verb: str) -> None:
    """Return if `verb` is one that takes a family.

    Raises:
        UserError: it is none.
    """
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        suggestion = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"there is no verb {verb!r}: the verbs are {', '.join(VERBS)}{suggestion}")
