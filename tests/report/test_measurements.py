"""Tables in the documentation that are marked as measured are those of the files that were measured."""

import json
import re
from pathlib import Path

import pytest

import polycli
from polycli.errors import UserError
from polycli.report.measurements import Measurement, fill_page, quoted_files
from polycli.report.table import Table

DOCS = Path(polycli.__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RESULTS = sorted((DOCS / "results").glob("*.json"))
TABLE = Table("Speed", ("form", "seconds"), [("plain", "1.2"), ("fast|er", "0.3")], "Medians.")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_every_marked_table_is_that_of_its_file(page):
    assert page.read_text(encoding="utf-8") == fill_page(page)


def test_every_file_of_results_is_quoted_and_says_where_it_is_from():
    assert {path.resolve() for page in PAGES for path in quoted_files(page)} == {path.resolve() for path in RESULTS}
    assert RESULTS
    for path in RESULTS:
        measured = Measurement.read(path)
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", measured.date)
        assert measured.machine.cores >= 1
        assert measured.figures
        # Neither a folder nor a host of the machine that measured.
        assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users)\b|\w+@\w+", path.read_text())
        script = re.match(r"python (benchmarks/\w+\.py)", measured.command)
        assert script is None or (DOCS.parent / script[1]).is_file()
        assert f"--record {path.stem}" in measured.command or script is None


def test_a_page_is_filled_from_the_file_that_it_marks_and_nothing_else_changes(tmp_path):
    (tmp_path / "results").mkdir()
    measured = Measurement.of("python benchmarks/a.py", {"plain": 1.23}, [TABLE])
    (tmp_path / "results" / "a.json").write_text(measured.text())
    page = tmp_path / "page.md"
    page.write_text("# A\n\n<!-- measured: results/a.json -->\nold\n<!-- end -->\nand so on\n")
    text = fill_page(page)
    assert "### Speed\n\n| form | seconds |\n| --- | ---: |\n| plain | 1.2 |\n| fast\\|er | 0.3 |\n\nMedians." in text
    assert "`python benchmarks/a.py`, 2" in text
    assert "old" not in text
    assert text.startswith("# A\n")
    assert text.endswith("<!-- end -->\nand so on\n")
    page.write_text(text)
    assert fill_page(page) == text
    assert json.loads((tmp_path / "results" / "a.json").read_text())["figures"] == {"plain": 1.23}


@pytest.mark.parametrize("text", [None, "{", "[]", '{"format": "polycli-measurement"}'])
def test_a_file_that_is_no_measurement_is_named(tmp_path, text):
    if text is not None:
        (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"a\.json: "):
        Measurement.read(tmp_path / "a.json")
