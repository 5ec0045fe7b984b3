"""A report is one file that needs nothing else."""

import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
from matplotlib import image

from polycli.report.figures import CurvePanel, Line, curves
from polycli.report.html import Facts, Figure, Heading, Paragraph, page
from polycli.report.table import Table


class Reader(HTMLParser):
    """Collects attributes and checks that elements are closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.attributes, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_a_page_is_whole_refers_to_nothing_and_escapes_everything(tmp_path):
    panel = CurvePanel("t", "x", "y", np.arange(3), [Line("a", np.arange(3))])
    curves(tmp_path / "f.png", title="t", panels=[panel])
    nasty = '<script src="https://example.org/x.js">"&'
    text = page(
        nasty,
        [
            Heading(nasty),
            Paragraph(nasty),
            Facts(nasty, [(nasty, nasty)]),
            Table(nasty, [nasty], [[nasty]], nasty),
            Figure(tmp_path / "f.png", nasty),
        ],
    )
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert "".join(reader.text).count(nasty) == 12
    sources = [value for tag, name, value in reader.attributes if name in {"src", "href"}]
    assert [source[:22] for source in sources] == ["data:image/png;base64,"]
    assert not re.search(r"url\(|@import|<link|<script", text)
    picture = image.imread(BytesIO(base64.b64decode(sources[0][22:], validate=True)))
    np.testing.assert_array_equal(picture, image.imread(tmp_path / "f.png"))
