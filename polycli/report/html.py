"""One self-contained report.html: text, tables and figures in one file that opens anywhere, offline, on a phone too."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polycli.report.table import Table, as_html

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --soft: #57606a; --line: #d0d7de; --band: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --soft: #9198a1; --line: #3d444d; --band: #161b22; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 70rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; margin: .5rem 0; } h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; padding-top: .5rem;
  border-top: 1px solid var(--line); } h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p { max-width: 48rem; } .caption, figcaption { color: var(--soft); font-size: .875rem; max-width: 48rem; }
.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { background: var(--band); } .label { text-align: left; } .value { text-align: right; }
tr.ruled td { border-bottom: 2px solid var(--soft); }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; background: #ffffff; border-radius: 4px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .875rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
"""


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


Block = Heading | Paragraph | Facts | Figure | Table


def page(title: str, blocks: Sequence[Block]) -> str:
    """The whole document. Nothing in it refers to anything outside it, and all text is escaped."""
    body = "\n".join(_block(block) for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{html.escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{html.escape(text)}</p>"
        case Facts(title, facts):
            listed = "\n".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in facts)
            return f"<h3>{html.escape(title)}</h3>\n<dl>\n{listed}\n</dl>"
        case Figure(file, caption):
            data = base64.b64encode(file.read_bytes()).decode("ascii")
            kind = file.suffix.removeprefix(".")
            text = html.escape(caption)
            return (
                f'<figure><img src="data:image/{kind};base64,{data}" alt="{html.escape(caption, quote=True)}">'
                f"<figcaption>{text}</figcaption></figure>"
            )
        case Table():
            return as_html(block)
