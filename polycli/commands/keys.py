"""`polycli keys VERB FAMILY [WORD]...`: which keys `--set` and recipes take, found by a word that one remembers."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from polycli import console
from polycli.commands.completion import families, verbs
from polycli.commands.options import Json
from polycli.errors import RecipeError
from polycli.families import VERBS, family_names, require_verb
from polycli.report.screen import width

if TYPE_CHECKING:
    from polycli.recipes.keys import Key

PANEL = "Look around"
#: Narrower than this, an explanation would be a column of single words.
_FEWEST_COLUMNS = 24


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("keys", rich_help_panel=PANEL)(keys)


def keys(
    verb: Annotated[str, typer.Argument(metavar="VERB", help="such as pretrain", autocompletion=verbs)],
    family: Annotated[str, typer.Argument(metavar="FAMILY", help="such as mpp", autocompletion=families)],
    words: Annotated[list[str] | None, typer.Argument(metavar="WORD", help="a part of a name or of a meaning")] = (
        None
    ),
    *,
    json: Json = False,
) -> None:
    """List the keys of a verb, for --set and recipes, or search them."""
    if verb in family_names() and family in VERBS:
        verb, family = family, verb
    require_verb(family, verb)
    from polycli.recipes.keys import keys_of, near_keys, search_keys

    every = keys_of(family, verb)
    found = search_keys(every, words or ())
    if not found:
        near = near_keys(every, words or ())
        raise RecipeError(
            f"no key of `{verb} {family}` has {' and '.join(map(repr, words or ()))} in its name or meaning",
            hint=f"did you mean {' or '.join(near)}?" if near else f"polycli keys {verb} {family} lists all of them",
        )
    if json:
        console.result([asdict(key) for key in found])
        return
    console.result("\n".join(line for key in found for line in _lines(key)))


def _lines(key: Key) -> list[str]:
    columns = max(_FEWEST_COLUMNS, width() or 100)
    default = "to be given" if key.default is None else f"default {key.default}"
    about = f"{key.kind}, {default}{f'. {_sentence(key.meaning)}' if key.meaning else ''}"
    return [key.name, *textwrap.wrap(about, columns, initial_indent="    ", subsequent_indent="    ")]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
