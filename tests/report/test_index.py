"""One page over a folder of evaluations."""

import json
import re
from urllib.parse import unquote

import pytest

from polycli.errors import UserError
from polycli.report.index import write_index
from tests.report.test_html import read


def evaluation(folder, values, *, report=True, better="lower"):
    folder.mkdir(parents=True)
    verdicts = {
        name: {"standing": "good", "measure": "error", "value": value, "interval": [value, value], "better": better}
        for name, value in values.items()
        if value is not None
    }
    scores = {"split": "test", "checkpoint": "m", "version": "0", "datasets": {name: {} for name in values}}
    (folder / "scores.json").write_text(json.dumps(scores | {"verdicts": verdicts}))
    if report:
        (folder / "report.html").write_text("a report")


def links(text):
    return [value for tag, name, value in read(text).attributes if (tag, name) == ("a", "href") and value[0] != "#"]


@pytest.mark.parametrize(("better", "order"), [("lower", ["b & c:1", "a"]), ("higher", ["a", "b & c:1"])])
def test_every_evaluation_is_listed_the_best_first_and_links_lead_to_reports(tmp_path, better, order):
    evaluation(tmp_path / "a", {"waves": 0.5}, better=better)
    evaluation(tmp_path / "b & c:1", {"waves": 0.25}, better=better)
    evaluation(tmp_path / "deep" / "er", {"flow": 0.1}, report=False)
    written, entries = write_index(tmp_path)
    assert written == tmp_path / "index.html"
    assert {(entry.evaluation, entry.dataset) for entry in entries} == {
        ("a", "waves"),
        ("b & c:1", "waves"),
        ("deep/er", "flow"),
    }
    found = links(written.read_text())
    assert [unquote(address) for address in found] == [f"./{name}/report.html" for name in order]
    assert all((tmp_path / unquote(address)).is_file() for address in found)


def test_a_page_elsewhere_leads_back_and_is_written_again(tmp_path):
    evaluation(tmp_path / "runs" / "a", {"waves": 0.5})
    (tmp_path / "pages").mkdir()
    for _ in range(2):
        written, _ = write_index(tmp_path / "runs", tmp_path / "pages" / "all.html")
    assert links(written.read_text()) == ["./../runs/a/report.html"]


def test_evaluations_of_earlier_versions_are_listed_without_a_score(tmp_path):
    evaluation(tmp_path / "old", {"waves": None})
    written, (entry,) = write_index(tmp_path)
    assert entry.value is None
    assert "Evaluations without a verdict" in written.read_text()


@pytest.mark.parametrize("content", ["[]", "{", '{"datasets": {}}', "[" * 100_000])
def test_a_folder_without_evaluations_is_refused_with_the_next_command(tmp_path, content):
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(UserError, match="holds no evaluation"):
        write_index(tmp_path)
    assert not (tmp_path / "index.html").exists()


def test_a_page_of_the_users_own_is_not_replaced(tmp_path):
    evaluation(tmp_path / "a", {"waves": 0.5})
    (tmp_path / "index.html").write_text("<h1>mine</h1>")
    with pytest.raises(UserError, match="not a page of results that polycli wrote"):
        write_index(tmp_path)
    assert (tmp_path / "index.html").read_text() == "<h1>mine</h1>"


def test_names_from_files_are_text_and_nothing_else(tmp_path):
    nasty = '<script>alert("x")</script>'
    evaluation(tmp_path / "a", {nasty: 0.5})
    text = write_index(tmp_path)[0].read_text()
    assert "<script" not in text
    assert re.search("&lt;script&gt;", text)
