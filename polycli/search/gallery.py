"""Neighbours as one HTML file that needs nothing else: their pictures, and under each what is known of it."""

from __future__ import annotations

import base64
import html

import numpy as np
from numpy.typing import NDArray

from polycli.report.images import png
from polycli.search.results import Found
from polycli.workflow.pictures import Curve, PictureBook

#: Stands in files of neighbours of all formats, so that `--force` replaces nothing else.
MARK = "polycli-neighbours"
_CURVE_POINTS = 300
_WIDTH, _HEIGHT = 240, 90
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --soft: #57606a; --line: #d0d7de; --blue: #0969da; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --soft: #9198a1; --line: #3d444d; --blue: #58a6ff; } }
body { margin: 0 auto; padding: 1rem; max-width: 80rem; color: var(--ink); background: var(--paper);
  font: 16px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.4rem; } h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 .8rem; font-size: .8rem; margin: .3rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; padding: 0;
  list-style: none; }
li { border: 1px solid var(--line); border-radius: 6px; padding: .6rem; }
li img { width: 100%; image-rendering: pixelated; border-radius: 4px; background: #000; }
svg { width: 100%; height: auto; } svg polyline { fill: none; stroke: var(--blue); stroke-width: 1; }
svg text { fill: var(--soft); font-size: 9px; }
"""


def gallery(found: Found, pictures: PictureBook) -> str:
    """The whole document; nothing in it refers to anything outside it, and all text is escaped."""
    columns = found.shown_columns()
    title = f"Neighbours in {found.searcher.path.name}"
    cards = []
    for number, each in enumerate(found.answer.neighbours):
        known = {**each.columns, **({found.searcher.id_column: each.id} if found.searcher.id_column else {})}
        image, curve = pictures.image(known), pictures.curve(known)
        shown = [*([] if image is None else [_image(image, each.id)]), *([] if curve is None else [_curve(curve)])]
        name, similarity, *values = found.cells(columns)[number]
        facts = [("similarity", similarity), *zip(columns, values, strict=True)]
        cards.append(f"<li>{''.join(shown)}<h2>{html.escape(name)}</h2>{_facts(facts)}</li>")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="generator" content="{MARK}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{html.escape(title)}</h1>\n"
        f"{_facts(found.facts())}\n<ol>\n" + "\n".join(cards) + "\n</ol>\n</body>\n</html>\n"
    )


def _facts(facts: list[tuple[str, str]]) -> str:
    listed = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in facts)
    return f"<dl>{listed}</dl>"


def _image(image: NDArray[np.uint8], name: object) -> str:
    data = base64.b64encode(png(image)).decode("ascii")
    return f'<img alt="image of {html.escape(str(name), quote=True)}" src="data:image/png;base64,{data}">'


def _curve(curve: Curve) -> str:
    """A curve as a drawing of lines; where nothing is known, the line is broken."""
    short = curve.shortened(_CURVE_POINTS)
    known = np.isfinite(short.y)
    if not known.any():
        return ""
    # The middle 99 % fill the height: one hot pixel must not flatten the rest.
    low, high = np.percentile(short.y[known], (0.5, 99.5))
    x = (short.x - short.x[0]) / max(float(short.x[-1] - short.x[0]), 1e-30) * _WIDTH
    y = _HEIGHT - 12 - (np.clip(short.y, low, high) - low) / max(float(high - low), 1e-30) * (_HEIGHT - 16)
    pieces = np.split(np.arange(len(x)), np.flatnonzero(np.diff(known.astype(int))) + 1)
    lines = "".join(
        f'<polyline points="{" ".join(f"{x[i]:.1f},{y[i]:.1f}" for i in piece)}"/>'
        for piece in pieces
        if known[piece[0]]
    )
    label = html.escape(f"{curve.x_label} {short.x[0]:.4g} to {short.x[-1]:.4g}")
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{lines}<text x="0" y="{_HEIGHT - 2}">{label}</text></svg>'
