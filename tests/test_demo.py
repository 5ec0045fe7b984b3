"""The demo is a list of polycli lines that anybody can repeat."""

import shlex
import signal
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest

from polycli import __main__ as entry
from polycli import demo
from polycli.recipes import load_recipe


@pytest.fixture
def commands(monkeypatch):
    """The commands that the demo would run; `codes` are their exit codes."""
    seen = SimpleNamespace(lines=[], codes=[])

    def run(words, **_):
        seen.lines.append(words)
        return SimpleNamespace(returncode=seen.codes.pop(0) if seen.codes else 0)

    monkeypatch.setattr(subprocess, "run", run)
    return seen


@pytest.mark.parametrize(("family", "count"), [("mpp", 3), ("xval", 3), ("astroclip", 5)])
def test_every_line_is_shown_before_it_runs_and_the_report_is_named(commands, capsys, tmp_path, family, count):
    assert entry.run(["demo", family, "--output", str(tmp_path / "demo")]) == 0
    captured = capsys.readouterr()
    assert [line[:3] for line in commands.lines] == [[sys.executable, "-m", "polycli"]] * count
    for line in commands.lines:
        assert f"$ polycli {shlex.join(line[3:])}" in captured.err
    assert str(tmp_path / "demo" / "report" / "report.html") in captured.err
    assert captured.out == ""


def test_a_command_that_fails_ends_the_demo_with_its_exit_code(commands, capsys, tmp_path):
    commands.codes = [0, 75]
    assert entry.run(["demo", "mpp", "--output", str(tmp_path)]) == 75
    assert len(commands.lines) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("the demo stopped in `polycli pretrain mpp")
    assert last.endswith("run the same line again to go on")


def test_ctrl_c_is_left_to_the_command_that_runs_which_is_not_killed_while_it_saves(monkeypatch, tmp_path, capsys):
    def run(words, **_):
        signal.raise_signal(signal.SIGINT)
        return SimpleNamespace(returncode=75)

    monkeypatch.setattr(subprocess, "run", run)
    assert entry.run(["demo", "mpp", "--output", str(tmp_path)]) == 75
    assert "error" not in capsys.readouterr().err


def test_open_shows_the_report_and_says_where_it_is_where_no_browser_starts(commands, monkeypatch, tmp_path, capsys):
    shown = []
    monkeypatch.setattr("webbrowser.open", lambda address: shown.append(address) or len(shown) == 1)
    report = tmp_path / "report" / "report.html"
    assert entry.run(["demo", "mpp", "--output", str(tmp_path), "--open"]) == 0
    assert shown == [report.as_uri()]
    assert "no browser" not in capsys.readouterr().err
    assert entry.run(["demo", "mpp", "--output", str(tmp_path), "--open"]) == 0
    assert f"no browser can be started here; {report}" in capsys.readouterr().err
    entry.run(["demo", "mpp", "--output", str(tmp_path)])
    assert len(shown) == 2


@pytest.mark.parametrize("family", ["mpp", "xval", "astroclip"])
def test_the_lines_are_right_and_their_recipes_exist(tmp_path, family):
    for words in demo.demo_lines(family, tmp_path):
        if "--recipe" in words:
            settings = [after for word, after in pairwise(words) if word == "--set"]
            load_recipe(words[words.index("--recipe") + 1], family=words[1], verb=words[0], overrides=settings)


def test_the_alignment_begins_from_the_runs_that_the_lines_before_it_make(tmp_path):
    _, spectrum, image, align, _ = demo.demo_lines("astroclip", tmp_path)
    assert f"init.spectrum={spectrum[spectrum.index('--output') + 1]}" in align
    assert f"init.image={image[image.index('--output') + 1]}" in align
