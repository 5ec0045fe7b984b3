"""The demo is a list of polycli lines that anybody can repeat."""

import shlex
import subprocess
import sys
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


@pytest.mark.parametrize("family", ["mpp", "xval"])
def test_every_line_is_shown_before_it_runs_and_the_report_is_named(commands, capsys, tmp_path, family):
    assert entry.run(["demo", family, "--output", str(tmp_path / "demo")]) == 0
    captured = capsys.readouterr()
    assert [line[:3] for line in commands.lines] == [[sys.executable, "-m", "polycli"]] * 3
    for line in commands.lines:
        assert f"$ polycli {shlex.join(line[3:])}" in captured.err
    assert str(tmp_path / "demo" / "report" / "report.html") in captured.err
    assert captured.out == ""


def test_a_command_that_fails_ends_the_demo_with_its_exit_code(commands, capsys, tmp_path):
    commands.codes = [0, 75]
    assert entry.run(["demo", "mpp", "--output", str(tmp_path)]) == 75
    assert len(commands.lines) == 2
    assert "pretrain mpp" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("family", ["mpp", "xval"])
def test_the_lines_are_right_and_their_recipes_exist(tmp_path, family):
    for words in demo.demo_lines(family, tmp_path):
        if "--recipe" in words:
            load_recipe(words[words.index("--recipe") + 1], family=words[1], verb=words[0])
