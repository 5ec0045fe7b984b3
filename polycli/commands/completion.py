"""Offers words where TAB is pressed: families, verbs, sources, recipes, keys, runs and checkpoints.

Nothing here imports torch, and nothing fails: a line that is half written is wrong more often than not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polycli.errors import PolycliError
from polycli.families import VERBS, all_families, family_names, find_family

if TYPE_CHECKING:
    from polycli.recipes.keys import Key

#: A folder with one of these is a run, a checkpoint or a study's folder of runs.
_MARKS = ("status.json", "MANIFEST.json", "checkpoints")
#: Endings of files of weights.
_WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".tar")
#: Where runs go if nobody says otherwise.
_RUNS = Path("runs")


def families(incomplete: str) -> list[str]:
    """The names of families that begin so."""
    return _beginning(incomplete, family_names())


def verbs(incomplete: str) -> list[str]:
    """The verbs of families that begin so."""
    return _beginning(incomplete, VERBS)


def published(incomplete: str) -> list[str]:
    """The names of published weights that begin so."""
    return _beginning(incomplete, [weights.short_name for family in all_families() for weights in family.weights])


def recipes(ctx: Any, incomplete: str) -> list[str]:  # noqa: ANN401  # Typer's own, private type.
    """The shipped recipes that begin so, of the family and verb of the line where they are known."""
    from polycli.recipes.files import shipped_names

    family, verb = _family_and_verb(ctx)
    names = _beginning(incomplete, shipped_names())
    if family is None or verb not in VERBS:
        return names
    from polycli.recipes import shipped_recipes

    fitting = {recipe.name for recipe in shipped_recipes() if (recipe.family, recipe.verb) == (family, verb)}
    return [name for name in names if name in fitting] or names


def sources(ctx: Any, incomplete: str) -> list[str]:  # noqa: ANN401
    """The sources of the family on the line, or of all of them, that begin so."""
    from polycli.workflow.sources import source_names

    family, _ = _family_and_verb(ctx)
    of = [family] if family is not None else [each.name for each in all_families()]
    return _beginning(incomplete, dict.fromkeys(name for each in of for name in source_names(each)))


def settings(ctx: Any, incomplete: str) -> list[tuple[str, str]]:  # noqa: ANN401
    """The keys that `--set` takes here, each with its `=`; behind the `=`, the values where there is a choice."""
    from polycli.recipes.keys import keys_of

    family, verb = _family_and_verb(ctx)
    if family is None or verb is None:
        return []
    try:
        keys = keys_of(family, verb)
    except PolycliError:
        return []
    name, equals, _ = incomplete.partition("=")
    if equals:
        chosen = [value for key in keys if key.path == name for value in _choices(key)]
        return [(f"{name}={value}", "") for value in dict.fromkeys(chosen) if f"{name}={value}".startswith(incomplete)]
    found = {f"{key.path}=": key.meaning for key in keys if key.path.startswith(incomplete)}
    return list(found.items())


def checkpoints(incomplete: str) -> list[str]:
    """Runs, checkpoints in them and files of weights below what is typed so far; those in runs/ where nothing is."""
    folder, beginning = (Path(incomplete), "") if incomplete.endswith(os.sep) else _split(incomplete)
    found = [*_checkpoints_in(folder, beginning)]
    if not incomplete and _RUNS.is_dir():
        found += _checkpoints_in(_RUNS, "")
    return found


def _split(incomplete: str) -> tuple[Path, str]:
    head, _, tail = incomplete.rpartition(os.sep)
    return (Path(head or os.sep) if os.sep in incomplete else Path()), tail


def _checkpoints_in(folder: Path, beginning: str) -> Iterable[str]:
    try:
        entries = sorted(folder.expanduser().iterdir())
    except OSError:
        return
    for entry in entries:
        if not entry.name.startswith(beginning) or (entry.name.startswith(".") and not beginning):
            continue
        shown = str(folder / entry.name)
        if entry.is_dir():
            yield shown if any((entry / mark).exists() for mark in _MARKS) else f"{shown}{os.sep}"
        elif entry.suffix in _WEIGHTS:
            yield shown


def _choices(key: Key) -> list[str]:
    return key.kind.removesuffix(" or null").split(" | ") if " | " in key.kind and "(" not in key.kind else []


def _family_and_verb(ctx: Any) -> tuple[str | None, str | None]:  # noqa: ANN401
    """The family and verb that the line says so far; a family that there is none of counts as not said."""
    family = ctx.params.get("family")
    try:
        known = None if family is None else find_family(family).name
    except PolycliError:
        known = None
    return known, ctx.params.get("verb") or ctx.info_name


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
