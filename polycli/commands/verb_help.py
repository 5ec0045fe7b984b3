"""The help of `polycli VERB FAMILY`: its sources, recipes and keys, read without importing anything that computes.

A family or a verb that does not exist is said before options that are missing.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from polycli.errors import PolycliError, UserError
from polycli.families import family_names, find_family, require_verb

if TYPE_CHECKING:
    from polycli.recipes.keys import Key

_FAMILY = "polycli.family"
_HELP = {"-h", "--help"}


class VerbCommand(TyperCommand):
    """A verb that takes a family: it looks at the family first, and its help knows it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  # Typer's own, private types.
        """Parses the words, after the family among them has been found good.

        Raises:
            UserError: there is no family, there is none of this name, or it does not have this verb.
        """
        family = None if ctx.resilient_parsing else self._family(ctx, args)
        if family:
            require_verb(family, str(self.name))
            ctx.meta[_FAMILY] = family
        elif family is not None and _HELP.isdisjoint(args):
            names = family_names()
            raise UserError(
                f"`polycli {self.name}` needs a family: {', '.join(names[:-1])} or {names[-1]}",
                hint=f"polycli {self.name} {names[0]} --help lists its options, recipes and keys",
            )
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Writes the options, then what the family on the line has for this verb."""
        super().format_options(ctx, formatter)
        family, verb = ctx.meta.get(_FAMILY), str(self.name)
        if family is None:
            with formatter.section("With a family"):
                formatter.write_text(f"polycli {verb} FAMILY --help lists its recipes and keys, with their defaults.")
            return
        if verb == "prepare":
            with formatter.section(f"Sources of {family} (--source)"):
                formatter.write_dl(_sources(family), col_max=_names(formatter))
        recipes = _recipes(family, verb)
        if recipes:
            with formatter.section(f"Recipes for `{verb} {family}` (--recipe)"):
                formatter.write_dl(recipes, col_max=_names(formatter))
        from polycli.recipes.keys import keys_of

        keys = keys_of(family, verb)
        if keys:
            where = "--set KEY=VALUE, or in a recipe" if recipes or verb == "prepare" else "--set KEY=VALUE"
            heading = f"Keys of `{verb} {family}` ({where})"
            with formatter.section("\n".join(textwrap.wrap(heading, formatter.width - 1))):
                formatter.write_dl([(key.name, _about(key)) for key in keys], col_max=_names(formatter))
                formatter.write_paragraph()
                formatter.write_text(f"polycli keys {verb} {family} WORD finds keys by a word, with their types.")

    def _family(self, ctx: Any, args: list[str]) -> str | None:  # noqa: ANN401
        """The word in the place of the family, empty where there is none; None where words cannot be told apart."""
        try:
            values, *_ = self.make_parser(ctx).parse_args(args=list(args))
        except Exception as error:  # The real parser says it; its exceptions are in a private module of Typer.
            if not hasattr(error, "format_message"):
                raise
            return None
        family = values.get("family")
        return family if isinstance(family, str) else ""


def _about(key: Key) -> str:
    default = "required" if key.default is None else f"default: {key.default}"
    return f"{key.meaning}  [{default}]" if key.meaning else f"{key.kind}  [{default}]"


def _sources(family: str) -> list[tuple[str, str]]:
    from polycli.references import summary
    from polycli.workflow.sources import source_names

    shipped = find_family(family).sources
    return [
        (name, _without_name(summary(shipped[name])) if name in shipped else "of an installed package")
        for name in source_names(family)
    ]


def _without_name(text: str) -> str:
    head, colon, rest = text.partition("`: ")
    return rest if colon and head.startswith(("The source `", "`--source ")) else text


def _recipes(family: str, verb: str) -> list[tuple[str, str]]:
    from polycli.recipes import shipped_recipes

    try:
        shipped = shipped_recipes()
    except PolycliError:
        return []  # A damaged recipe is for `recipes check` to tell; help is for reading.
    return [(each.name, each.description) for each in shipped if (each.family, each.verb) == (family, verb)]


def _names(formatter: Any) -> int:  # noqa: ANN401  # Typer's own, private types.
    """Columns for names at most: Typer's 30, or half of a narrow terminal."""
    return min(30, int(formatter.width) // 2)
