"""One self-contained report.html: text, tables and figures in one file that opens anywhere, offline, on a phone too."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from polycli.report.style import STYLE
from polycli.report.table import Table, as_html
from polycli.report.verdict import Verdict, best_and_worst, worst_first

#: From so many parts on, a page begins with its contents.
_WORTH_CONTENTS = 4
#: Stands at the beginning of every page, so that a later command knows which pages are not the user's own.
MARK = '<meta name="generator" content="polycli">'
_STANDINGS = {"good": "better", "mixed": "in part", "poor": "worse"}


@dataclass(frozen=True)
class Heading:
    """A heading that opens a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Names and values, such as where a result comes from."""

    title: str
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Figure:
    """A PNG or GIF file that is embedded, and what it shows."""

    file: Path
    caption: str
    #: Lines and dots on white, whose colours may be turned round for a dark page; fields and images may not.
    lines: bool = False


@dataclass(frozen=True)
class Verdicts:
    """A sentence for each dataset, what needs attention first, linked to the dataset's section."""

    verdicts: Mapping[str, Verdict]


@dataclass(frozen=True)
class Links:
    """A table whose first column leads to files beside the page: the address of each row, empty for none."""

    table: Table
    addresses: Sequence[str]


Block = Heading | Paragraph | Facts | Figure | Table | Verdicts | Links


@dataclass
class _Anchors:
    """Gives every heading and table a name of its own in the page, and remembers them for the contents."""

    taken: set[str] = field(default_factory=set)
    #: Anchor and text of each section, and of what has a title in it.
    sections: list[tuple[str, str, list[tuple[str, str]]]] = field(default_factory=list)
    #: The anchor of each section's text.
    of_section: dict[str, str] = field(default_factory=dict)

    def section(self, text: str) -> str:
        anchor = self._new(text)
        self.sections.append((anchor, text, []))
        self.of_section.setdefault(text, anchor)
        return anchor

    def part(self, text: str) -> str:
        anchor = self._new(text)
        if not self.sections:
            self.sections.append(("top", "Overview", []))
        self.sections[-1][2].append((anchor, text))
        return anchor

    def _new(self, text: str) -> str:
        stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
        name, count = stem, 1
        while name in self.taken or name == "top":
            count += 1
            name = f"{stem}-{count}"
        self.taken.add(name)
        return name


def page(title: str, blocks: Sequence[Block]) -> str:
    """The whole document. Nothing in it refers to anything outside it, and all text is escaped.

    A page of several parts has its contents at the top, behind what comes before the first table or section.
    """
    anchors = _Anchors()
    names = [_anchor(block, anchors) for block in blocks]
    first = next((place for place, name in enumerate(names) if name), len(blocks))
    drawn = [_block(block, name, anchors) for block, name in zip(blocks, names, strict=True)]
    body = "\n".join([*drawn[:first], *_contents(anchors), *drawn[first:]])
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{MARK}\n<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f'<body>\n<h1 id="top">{html.escape(title)}</h1>\n<main>\n{body}\n</main>\n</body>\n</html>\n'
    )


def _anchor(block: Block, anchors: _Anchors) -> str:
    match block:
        case Heading(text):
            return anchors.section(text)
        case Facts(title, _):
            return anchors.part(title)
        case Table():
            return anchors.part(block.title)
        case Links(table, _):
            return anchors.part(table.title)
        case _:
            return ""


def _contents(anchors: _Anchors) -> list[str]:
    if sum(1 + len(parts) for _, _, parts in anchors.sections) < _WORTH_CONTENTS:
        return []
    entries = []
    for anchor, text, parts in anchors.sections:
        below = "".join(f"<li>{_link(part, title)}</li>" for part, title in parts)
        entries.append(f"<li>{_link(anchor, text)}{f'<ul>{below}</ul>' if below else ''}</li>")
    listed = "\n".join(entries)
    return [
        f'<nav aria-label="Contents"><details open><summary>Contents</summary><ul>\n{listed}\n</ul></details></nav>'
    ]


def _link(anchor: str, text: str) -> str:
    return f'<a href="#{anchor}">{html.escape(text)}</a>'


def _block(block: Block, anchor: str, anchors: _Anchors) -> str:  # noqa: PLR0911  # one for each kind
    match block:
        case Heading(text):
            return f'<h2 id="{anchor}">{html.escape(text)}</h2>'
        case Paragraph(text):
            return f"<p>{html.escape(text)}</p>"
        case Facts(title, facts):
            listed = "\n".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in facts)
            return f'<h3 id="{anchor}">{html.escape(title)}</h3>\n<dl>\n{listed}\n</dl>'
        case Figure():
            return _figure(block)
        case Verdicts(verdicts):
            return _verdicts(verdicts, anchors)
        case Links(table, addresses):
            return as_html(table, anchor, addresses)
        case Table():
            return as_html(block, anchor)


def _figure(figure: Figure) -> str:
    data = base64.b64encode(figure.file.read_bytes()).decode("ascii")
    kind = figure.file.suffix.removeprefix(".")
    vector = figure.file.with_suffix(".svg")
    also = f" As SVG: {vector.parent.name}/{vector.name}." if vector.is_file() else ""
    text = html.escape(figure.caption + also)
    return (
        f"<figure{' class=' + chr(34) + 'lines' + chr(34) if figure.lines else ''}>"
        f'<img src="data:image/{kind};base64,{data}" alt="{html.escape(figure.caption, quote=True)}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _verdicts(verdicts: Mapping[str, Verdict], anchors: _Anchors) -> str:
    entries = []
    shared = {verdict.advice for verdict in verdicts.values()}
    # What is to be done with all of them is said once.
    common = shared.pop() if len(shared) == 1 and len(verdicts) > 1 else ""
    for name in worst_first(verdicts):
        verdict = verdicts[name]
        title = html.escape(name)
        if name in anchors.of_section:
            title = _link(anchors.of_section[name], name)
        advice = f'<p class="next">Next: {html.escape(verdict.advice)}</p>' if verdict.advice and not common else ""
        entries.append(
            f'<li class="{verdict.standing}"><span class="mark">{_STANDINGS[verdict.standing]}</span>'
            f"<strong>{title}</strong>: {html.escape(verdict.sentence)}{advice}</li>"
        )
    lead = best_and_worst(verdicts)
    above = [f"<p>{html.escape(lead)}</p>"] if lead else []
    below = [f"<p>Next, for all: {html.escape(common)}</p>"] if common else []
    return "\n".join([*above, '<ul class="verdicts">', *entries, "</ul>", *below])
