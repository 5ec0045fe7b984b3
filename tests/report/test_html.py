"""A report is one file that needs nothing else."""

import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
from matplotlib import image

from polycli.report.figures import CurvePanel, Line, curves
from polycli.report.html import Facts, Figure, Heading, Links, Paragraph, Verdicts, page
from polycli.report.table import Table
from polycli.report.verdict import Verdict


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


def read(text):
    reader = Reader()
    reader.feed(text)
    return reader


def verdict(text, value=0.5, standing="good"):
    return Verdict(standing=standing, sentence=text, advice=text, measure="error", value=value)


def test_a_page_is_whole_refers_to_nothing_and_escapes_everything(tmp_path):
    panel = CurvePanel("t", "x", "y", np.arange(3), [Line("a", np.arange(3))])
    curves(tmp_path / "f.png", title="t", panels=[panel])
    nasty = '<script src="https://example.org/x.js">"&'
    text = page(
        nasty,
        [
            Verdicts({nasty: verdict(nasty)}),
            Heading(nasty),
            Paragraph(nasty),
            Facts(nasty, [(nasty, nasty)]),
            Table(nasty, [nasty], [[nasty]], nasty),
            Figure(tmp_path / "f.png", nasty),
        ],
    )
    reader = read(text)
    assert reader.open == []
    # Title twice, three in the verdict, heading, paragraph, facts thrice, table four times, figure.
    assert "".join(reader.text).count(nasty) == 2 + 3 + 1 + 1 + 3 + 4 + 1
    sources = [value for _, name, value in reader.attributes if name == "src"]
    assert [source[:22] for source in sources] == ["data:image/png;base64,"]
    assert not re.search(r"url\(|@import|<link|<script", text)
    picture = image.imread(BytesIO(base64.b64decode(sources[0][22:], validate=True)))
    np.testing.assert_array_equal(picture, image.imread(tmp_path / "f.png"))


def test_the_contents_lead_to_every_section_and_table_of_the_page():
    tables = [Table("Scores", ["a"], [["1"]]), Table("Scores", ["a"], [["1"]]), Table("\u4e2d", ["a"], [["1"]])]
    reader = read(page("t", [tables[0], Heading("waves"), tables[1], Heading("Waves"), tables[2], Heading("top")]))
    names = [value for _, name, value in reader.attributes if name == "id"]
    links = [value for tag, name, value in reader.attributes if (tag, name) == ("a", "href")]
    assert len(names) == len(set(names)) == 1 + 6
    # The first table stands before any section: the top of the page leads to it.
    assert sorted(links) == sorted(f"#{name}" for name in names)


def test_a_short_page_has_no_contents():
    assert "<nav" not in page("t", [Heading("a"), Table("b", ["c"], [["1"]])])


def test_verdicts_lead_to_the_section_of_their_dataset_and_the_worst_stands_first():
    found = {"a b": verdict("a", value=0.2), "c": verdict("c", value=2.0, standing="poor")}
    text = page("t", [Verdicts(found), Heading("a b"), Heading("c")])
    assert text.index('<a href="#c">c</a>') < text.index('<a href="#a-b">a b</a>')
    assert "Best: a b (0.200); worst: c (2.00)" in text


def test_what_to_do_with_all_datasets_is_said_once():
    alike = {name: Verdict(standing="good", sentence=name, advice="train", measure="m", value=1.0) for name in "abc"}
    text = page("t", [Verdicts(alike)])
    assert text.count("train") == 1
    assert "Next, for all: train" in text


def test_no_column_of_a_wide_table_is_lost_and_the_table_scrolls_in_its_box():
    columns = [f"column {place}" for place in range(40)]
    text = page("t", [Table("wide", columns, [[str(place) for place in range(40)]])])
    reader = read(text)
    assert [part for part in reader.text if part.startswith("column")] == columns
    assert ("div", "class", "scroll") in reader.attributes
    assert re.search(r"\.scroll \{[^}]*overflow: auto", text)
    assert re.search(r"@media print \{.*\.scroll \{ overflow: visible", text, re.DOTALL)


def test_only_lines_on_white_are_turned_round_for_a_dark_page(tmp_path):
    curves(tmp_path / "f.png", title="t", panels=[CurvePanel("t", "x", "y", np.arange(3), [Line("a", np.arange(3))])])
    text = page("t", [Figure(tmp_path / "f.png", "field"), Figure(tmp_path / "f.png", "curve", lines=True)])
    assert text.count('<figure class="lines">') == text.count("<figure>") == 1


def test_rows_of_links_lead_where_they_say():
    text = page("t", [Links(Table("runs", ["run", "x"], [["a&b", "1"], ["c", "2"]]), ['a%26b/"report.html', ""])])
    assert '<a href="a%26b/&quot;report.html">a&amp;b</a>' in text
    assert ">c</td>" in text
