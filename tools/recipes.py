"""The reference page of recipes: what is shipped, and every key of every verb, written from the schemas."""

from __future__ import annotations

from itertools import groupby

from polycli.families import VERBS, find_family
from polycli.recipes import recipe_schemas, settings_schema, shipped_recipes
from polycli.recipes.keys import Key, keys_of
from tools.command_line import cell

INTRODUCTION = """# Recipes

A recipe is YAML with a closed set of keys; nothing in it is code. `extends: NAME` inherits, `--set KEY=VALUE` replaces
one key, and an unknown key is refused with the nearest that exists. `polycli recipes copy NAME` copies one, and
`polycli recipes schema FAMILY VERB` gives editors completion. All keys: [MPP](keys-mpp.md), [xVal](keys-xval.md),
[AstroCLIP](keys-astroclip.md).

## Recipes that are shipped

| recipe | for | |
|---|---|---|
"""
KEYS = """# Keys of {family}

What recipes and `--set` take, by verb, with defaults; `polycli keys VERB {family} WORD` searches them from a shell.
`NAME` stands for a name that you choose, `[]` for the entries of a list. Written from the schemas, with the site.
"""


def verbs_with_keys(family: str) -> list[str]:
    """The verbs of a family that take `--set`."""
    recipes = recipe_schemas(family)
    return [
        verb
        for verb in VERBS
        if verb in find_family(family).verbs and (verb in recipes or settings_schema(family, verb) is not None)
    ]


def page() -> str:
    """The page of what is shipped, in Markdown."""
    rows = [
        f"| `{recipe.name}` | `{recipe.verb} {recipe.family}` | {recipe.description} |\n"
        for recipe in shipped_recipes()
    ]
    return "".join([INTRODUCTION, *rows])


def keys_page(family: str) -> str:
    """The page of all keys of a family, in Markdown."""
    parts = [KEYS.format(family=family)]
    for verb in verbs_with_keys(family):
        parts.append(f"\n## {verb} {family}\n")
        for section, keys in groupby(keys_of(family, verb), key=lambda key: key.path.partition(".")[0]):
            parts.append(_table(section, list(keys)))
    return "".join(parts)


def _table(section: str, keys: list[Key]) -> str:
    title = f"\n**{section}**\n" if len(keys) > 1 else ""
    rows = [
        f"| <code>{cell(key.name)}</code> | {cell(key.kind)} | {_default(key)} | {cell(key.meaning)} |\n"
        for key in keys
    ]
    return "".join([title, "\n| key | is | default | |\n|---|---|---|---|\n", *rows])


def _default(key: Key) -> str:
    return "to be given" if key.default is None else f"<code>{cell(key.default)}</code>"
