"""Tables of numbers in README and docs are written from files of measurements; those that are older are listed."""

import re

from markdown_it import MarkdownIt

from tests.docs.blocks import PAGES, ROOT

MEASURED = re.compile(r"<!-- measured: .*?<!-- end -->", re.DOTALL)
NUMBER = re.compile(r"[*~<>\s]*[-+]?[\d.,]+(e[-+]?\d+)?\s*(%|x|s|ms|min|GB/s|MB)?[*\s]*")
#: Numbers by definition, not by measurement: page and first cell of the header.
DEFINED = {
    ("docs/training.md", "`engine.zero_stage`"),
    ("docs/xval.md", "encoding"),
    ("docs/when-it-fails.md", "exit code"),
}
#: Measured before there were such files, or by the lines of their page. The list only shrinks.
OLDER = {
    # Trials, each once and some by hand: there is no script that repeats them.
    ("docs/decisions/008-templates.md", "what"),
    # `make reproduce-xval`, 82 minutes of a core, leaves reproductions/xval/measurement.json.
    ("docs/reproductions.md", "encoding"),
    # `make reproduce-astroclip` leaves reproductions/astroclip/measurement.json; by neighbours: `--set neighbours=N`.
    ("docs/reproductions.md", "property"),
    ("docs/reproductions.md", ""),
}


def tables_of_numbers():
    """Page and first cell of every table, outside of the marks, a quarter of whose cells are numbers."""
    for page in PAGES:
        text = MEASURED.sub("", page.read_text(encoding="utf-8"))
        tokens = MarkdownIt().enable("table").parse(text)
        bounds = [place for place, token in enumerate(tokens) if token.type in {"table_open", "table_close"}]
        for first, last in zip(bounds[::2], bounds[1::2], strict=True):
            cells = [token.content.strip() for token in tokens[first:last] if token.type == "inline"]
            numbers = [cell for cell in cells if NUMBER.fullmatch(cell)]
            if len(numbers) >= 4 and len(numbers) > len(cells) / 4:
                yield str(page.relative_to(ROOT)), cells[0]


def test_every_table_of_numbers_comes_from_a_file_that_the_measurement_wrote():
    assert set(tables_of_numbers()) - DEFINED == OLDER
