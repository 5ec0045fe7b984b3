"""The reference page of the command line, written from the Typer application itself."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from typer.main import get_command

from polycli.cli import app

INTRODUCTION = """# Command line

Every command, argument and option, as `polycli COMMAND --help` has it. `polycli VERB FAMILY --help` adds the
family's sources, recipes and keys; [the keys of recipes](recipes.md) have pages of their own. Exit codes: 0 done, 1
failed, 2 the input is wrong and nothing was written, 75 stopped by a signal after saving (run the same line again).
"""


@dataclass(frozen=True)
class Leaf:
    """A command that can be typed: its words after `polycli`, and Typer's own object, whose types are private."""

    words: tuple[str, ...]
    command: Any
    panel: str


def commands() -> list[Leaf]:
    """All commands, in the order of `polycli --help`."""
    return list(_leaves(get_command(app), (), ""))


def _leaves(command: Any, words: tuple[str, ...], panel: str) -> Iterator[Leaf]:  # noqa: ANN401  # Private types.
    inner = getattr(command, "commands", None)
    panel = str(getattr(command, "rich_help_panel", None) or panel)
    if inner is None:
        yield Leaf(words, command, panel)
        return
    for name, below in inner.items():
        if not below.hidden:
            yield from _leaves(below, (*words, name), panel)


def without_help() -> list[str]:
    """Arguments and options that do not say what they are for."""
    return [
        f"polycli {' '.join(leaf.words)}: {parameter.name}"
        for leaf in commands()
        for parameter in leaf.command.params
        if not getattr(parameter, "help", None)
    ]


def page() -> str:
    """The whole page, in Markdown."""
    parts = [INTRODUCTION]
    panel = ""
    for leaf in commands():
        if leaf.panel != panel:
            panel = leaf.panel
            parts.append(f"\n## {panel}\n")
        parts.append(_section(leaf))
    return "".join(parts)


def _section(leaf: Leaf) -> str:
    context = leaf.command.context_class(leaf.command, info_name=f"polycli {' '.join(leaf.words)}")
    usage = " ".join(leaf.command.collect_usage_pieces(context))
    about = " ".join((leaf.command.help or "").split("\f")[0].split())
    lines = [
        f"\n### {' '.join(leaf.words)}\n",
        f"\n{about}\n",
        f"\n```text\npolycli {' '.join(leaf.words)} {usage}\n```\n",
    ]
    rows = [row for parameter in leaf.command.params if (row := _row(parameter, context)) is not None]
    if rows:
        lines.append("\n| | |\n|---|---|\n")
        lines += [f"| {name} | {meaning} |\n" for name, meaning in rows]
    return "".join(lines)


def _row(parameter: Any, context: Any) -> tuple[str, str] | None:  # noqa: ANN401  # Private types.
    if getattr(parameter, "hidden", False) or parameter.name == "help":
        return None
    meaning = str(getattr(parameter, "help", "") or "")
    if parameter.param_type_name == "option":
        record = parameter.get_help_record(context)
        name = record[0] if record else " ".join(parameter.opts)
        default = parameter.default
        if default not in (None, False, ()) and not callable(default) and "default" not in meaning:
            meaning += f" (default {getattr(default, 'value', default)})"
        if parameter.required:
            meaning += " (required)"
    else:
        name = str(parameter.metavar or parameter.name)
    return f"<code>{cell(name)}</code>", cell(meaning)


def cell(text: str) -> str:
    """A text for a cell of a table, where Markdown's dialects do not agree on what a backslash before a bar is."""
    return " ".join(html.escape(text, quote=False).replace("|", "&#124;").split())
