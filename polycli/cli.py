"""The command line: `polycli VERB FAMILY ...` and the commands that look around. Imports nothing heavy."""

from __future__ import annotations

import shutil
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from polycli import __version__, console
from polycli.commands import keys, recipes, tools, verbs
from polycli.families import all_families

#: Columns of a terminal in which Typer's help fits, and in which names of options and their help still find room.
_TYPERS_LEAST, _NARROWEST_HELP = 52, 30


class PanelGroup(TyperGroup):
    """Lists commands under the heading of their panel, in the order in which they were registered.

    Plain text instead of Rich: it costs a third of the time, and reads the same in a log.
    """

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:  # noqa: ANN401  # Typer's own, private types.
        """Typer's context; help is as narrow as a narrow terminal too, where Typer has 50 columns at least."""
        columns = shutil.get_terminal_size().columns
        if _NARROWEST_HELP <= columns < _TYPERS_LEAST:
            extra.setdefault("terminal_width", columns - 2)
        return super().make_context(info_name, args, parent, **extra)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  # Typer's own, private types.
        """Writes one section per panel into the help."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is None or command.hidden:
                continue
            panel = getattr(command, "rich_help_panel", None)
            title = panel if isinstance(panel, str) else "Commands"
            panels.setdefault(title, []).append((name, command.get_short_help_str(limit=90)))
        for title, rows in panels.items():
            with formatter.section(title):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002  # Typer's own, private types.
        """Say which families there are. Looking for those of packages takes time, so it is done for this help alone."""
        families = "; ".join(f"{family.name} ({family.about})" for family in all_families())
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(f"FAMILY is one of {families}.")

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002  # Typer's signature.
        """The names in the order of registration, which is the order of use."""
        return list(self.commands)


def _version(value: bool) -> None:  # noqa: FBT001  # Typer calls it so.
    if value:
        console.result(f"polycli {__version__}")
        raise typer.Exit


def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="print the version")
    ] = False,
) -> None:
    """Foundation models of science, from source files to reports: prepare, pretrain, finetune, eval, predict, embed."""


def build() -> typer.Typer:
    """The application with all its commands."""
    application = typer.Typer(
        name="polycli",
        cls=PanelGroup,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    application.callback()(_root)
    verbs.register(application)
    keys.register(application)
    recipes.register(application)
    tools.register(application)
    return application


app = build()
