"""Tables of results: one description, shown as text on a terminal or as HTML in a report."""

from __future__ import annotations

import html
import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from polycli.report import screen

#: What stands where there is no number.
NOTHING = "-"
#: Wider than any table: what does not fit the screen is folded here, and not by the library, which cuts.
_UNLIMITED = 100_000
_RULED = ' class="ruled"'


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


def as_text(table: Table, *, width: int | None = None) -> str:
    """Renders a table for a terminal or a log; no colours, so that it can be piped.

    Where it is wider than the screen, or than `width`, its columns follow each other in several pieces, each with the
    labels of its rows; no column is cut or left out. Where not even a label and a value fit, each row is a list.
    """
    width = screen.width() if width is None else width
    count = len(table.columns)
    lines = _drawn(table, range(count))
    if width is not None and _widest(lines) > width:
        pieces = _pieces(table, width)
        lines = _listed(table, width) if pieces is None else [line for piece in pieces for line in (*piece, "")][:-1]
        title = textwrap.wrap(table.title, width)
        lines = [*title, *([] if pieces is None else [""]), *lines]
    elif table.title:
        lines = [table.title, *lines]
    return "\n".join([*lines, *_wrapped(table.caption, width)])


def _drawn(table: Table, columns: Sequence[int]) -> list[str]:
    """The lines of some columns of a table, as wide as they need to be, without the title."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for index in columns:
        drawn.add_column(table.columns[index], justify="left" if index < table.labels else "right", no_wrap=True)
    for place, row in enumerate(table.rows):
        drawn.add_row(*(row[index] for index in columns), end_section=place in table.ruled)
    buffer = io.StringIO()
    Console(file=buffer, width=_UNLIMITED, color_system=None, highlight=False, markup=False).print(drawn)
    # A line below the last row is drawn as an empty one, which says nothing.
    return [line.rstrip() for line in buffer.getvalue().rstrip().lstrip("\n").splitlines()]


def _pieces(table: Table, width: int) -> list[list[str]] | None:
    """The table in pieces that fit, each with the labels; None where a single column beside the labels does not."""
    labels, pieces = list(range(table.labels)), list[list[str]]()
    piece: list[int] = []
    for index in range(table.labels, len(table.columns)):
        if _widest(_drawn(table, [*labels, *piece, index])) <= width:
            piece.append(index)
            continue
        if not piece or _widest(_drawn(table, [*labels, index])) > width:
            return None
        pieces.append(_drawn(table, [*labels, *piece]))
        piece = [index]
    return [*pieces, _drawn(table, [*labels, *piece])] if piece else None


def _listed(table: Table, width: int) -> list[str]:
    """Each row as a list of its cells, a line or more for each."""
    lines: list[str] = []
    for row in table.rows:
        lines.append("")
        for index, (column, cell) in enumerate(zip(table.columns, row, strict=True)):
            text = cell if index < table.labels else f"{column}: {cell}"
            indent = "" if index < table.labels else "  "
            lines += textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent + "  ") or [indent]
    return [line.rstrip() for line in lines]


def _wrapped(text: str, width: int | None) -> list[str]:
    lines = text.splitlines()
    return lines if width is None else [part for line in lines for part in (textwrap.wrap(line, width) or [""])]


def _widest(lines: Sequence[str]) -> int:
    from rich.cells import cell_len

    return max((cell_len(line) for line in lines), default=0)


def as_html(table: Table, anchor: str = "", addresses: Sequence[str] = ()) -> str:
    """An HTML table; every cell escaped, and scrolling in its box where it is wide or long, with its head in sight.

    `anchor` is what links in the page call it; `addresses` are where the first cell of each row leads, empty for
    nowhere.
    """
    head = "".join(
        f'<th class="{_side(table, index)}" scope="col">{html.escape(column)}</th>'
        for index, column in enumerate(table.columns)
    )
    rows = []
    for place, row in enumerate(table.rows):
        texts = [html.escape(cell) for cell in row]
        if place < len(addresses) and addresses[place]:
            texts[0] = f'<a href="{html.escape(addresses[place], quote=True)}">{texts[0]}</a>'
        cells = "".join(f'<td class="{_side(table, index)}">{text}</td>' for index, text in enumerate(texts))
        rows.append(f"<tr{_RULED if place in table.ruled else ''}>{cells}</tr>")
    body = "\n".join(rows)
    title = html.escape(table.title, quote=True)
    note = f'<p class="caption">{html.escape(table.caption)}</p>' if table.caption else ""
    return (
        f"<h3{f' id={chr(34)}{anchor}{chr(34)}' if anchor else ''}>{html.escape(table.title)}</h3>\n"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{title}"><table>\n<thead><tr>{head}</tr></thead>\n'
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
