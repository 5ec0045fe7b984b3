"""Tables of results: one description, shown as text on a terminal or as HTML in a report."""

from __future__ import annotations

import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

#: What stands where there is no number.
NOTHING = "-"


@dataclass(frozen=True)
class Table:
    """A titled table of ready-made strings; the first `labels` columns are text, the others numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    labels: int = 1
    #: Rows after which a line is drawn, such as the last of a group.
    ruled: frozenset[int] = field(default_factory=frozenset)


def number(value: float | None, digits: int = 3) -> str:
    """`value` with so many significant digits; a dash for none, a word for a number that is not finite."""
    if value is None:
        return NOTHING
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "diverged"
    if value == 0:
        return "0"
    return (
        f"{value:#.{digits}g}".rstrip(".")
        if 1e-3 <= abs(value) < 1e4
        else f"{value:.{digits - 1}e}".replace("e-0", "e-")
    )


def interval(bounds: Sequence[float | None] | None, digits: int = 3) -> str:
    """`low to high`; a dash where there is none."""
    if bounds is None or any(bound is None for bound in bounds):
        return NOTHING
    low, high = bounds
    return f"{number(low, digits)} to {number(high, digits)}"


def as_text(table: Table, *, width: int = 200) -> str:
    """Renders a table for a terminal or a log; no colours, so that it can be piped."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    drawn = RichTable(title=table.title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(table.columns):
        drawn.add_column(column, justify="left" if index < table.labels else "right", no_wrap=True)
    for index, row in enumerate(table.rows):
        drawn.add_row(*row, end_section=index in table.ruled)
    buffer = io.StringIO()
    Console(file=buffer, width=width, color_system=None, highlight=False, markup=False).print(drawn)
    # A line below the last row is drawn as an empty one, which says nothing.
    lines = [line.rstrip() for line in buffer.getvalue().rstrip().lstrip("\n").splitlines()]
    return "\n".join([*lines, *([table.caption] if table.caption else [])])


def as_html(table: Table) -> str:
    """An HTML table; every cell escaped, and scrolling by itself where the screen is narrow."""
    head = "".join(
        f'<th class="{_side(table, index)}" scope="col">{html.escape(column)}</th>'
        for index, column in enumerate(table.columns)
    )
    body = "\n".join(
        f"<tr{' class=' + chr(34) + 'ruled' + chr(34) if place in table.ruled else ''}>"
        + "".join(f'<td class="{_side(table, index)}">{html.escape(cell)}</td>' for index, cell in enumerate(row))
        + "</tr>"
        for place, row in enumerate(table.rows)
    )
    note = f'<p class="caption">{html.escape(table.caption)}</p>' if table.caption else ""
    return (
        f'<h3>{html.escape(table.title)}</h3>\n<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>\n{note}"
    )


def as_markdown(table: Table) -> str:
    """Renders a table for documentation: a heading, a table as GitHub draws it, the caption."""
    rows = [
        table.columns,
        ["---" if index < table.labels else "---:" for index in range(len(table.columns))],
        *table.rows,
    ]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([f"## {table.title}", "", *lines, *(["", table.caption] if table.caption else [])])


def _side(table: Table, index: int) -> str:
    return "label" if index < table.labels else "value"
