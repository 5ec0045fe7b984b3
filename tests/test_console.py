"""stdout is data, stderr is talk, and only rank 0 speaks."""

import io
import json

import numpy as np
import pytest

from polycli import console


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_talk_goes_to_stderr_and_results_to_stdout(capsys):
    console.say("reading")
    console.note("cached")
    console.warn("few rows")
    console.result("answer")
    captured = capsys.readouterr()
    assert captured.out == "answer\n"
    assert captured.err.splitlines() == ["reading", "note: cached", "warning: few rows"]


@pytest.mark.parametrize("variable", ["RANK", "SLURM_PROCID"])
def test_ranks_other_than_zero_are_silent(monkeypatch, capsys, variable):
    monkeypatch.setenv(variable, "1")
    console.say("reading")
    console.warn("few rows")
    console.result({"a": 1})
    with console.progress(2, "work") as report:
        report.advance(2)
        report.update(loss=1.0)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_an_error_names_the_rank_that_failed(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "3")
    console.error("out of memory")
    assert capsys.readouterr().err == "error: rank 3: out of memory\n"


def test_torchrun_s_rank_counts_before_slurm_s(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "5")
    monkeypatch.setenv("RANK", "2")
    assert console.rank() == 2


def test_a_json_result_is_one_strict_document(capsys, tmp_path):
    document = {"a": float("nan"), "b": (1, np.float32(0.5)), "path": tmp_path, "c": [np.int64(3), float("inf"), None]}
    console.result(document)
    assert json.loads(capsys.readouterr().out) == {
        "a": None,
        "b": [1, 0.5],
        "path": str(tmp_path),
        "c": [3, None, None],
    }


def test_off_a_terminal_progress_is_a_line_every_thirty_seconds(capsys, clock):
    with console.progress(100, "training") as report:
        for step in range(10):
            clock[0] = 8.0 * (step + 1)
            report.update(loss=1 / (step + 1), learning_rate=0.001)
            report.advance(10)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "training: 40/100 (40 %), loss 0.25, learning rate 0.001, 1.25/s, 48 s left",
        "training: 80/100 (80 %), loss 0.125, learning rate 0.001, 1.25/s, 16 s left",
        "training: 100/100 (100 %), loss 0.1, learning rate 0.001, took 1 min 20 s",
    ]


def test_work_that_was_done_before_counts_for_the_bar_and_not_for_the_speed(capsys, clock):
    with console.progress(100, "training", initial=50) as report:
        clock[0] = 40.0
        report.advance(10)
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "training: 60/100 (60 %), 0.25/s, 2 min 40 s left"


def test_progress_that_fails_does_not_say_that_it_finished(capsys):
    with pytest.raises(RuntimeError), console.progress(2, "work"):
        raise RuntimeError
    assert capsys.readouterr().err == ""


class Screen:
    """A stderr that says it is a terminal."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return True

    @property
    def encoding(self):
        return "utf-8"


def test_on_a_terminal_progress_is_a_bar_and_lines_stand_above_it(monkeypatch, capsys):
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    with console.progress(4, "reading files") as report:
        report.update(loss=0.5)
        console.say("a line")
        report.advance(4)
    assert "reading files" in screen.text
    assert "4/4" in screen.text
    assert "loss 0.5" in screen.text
    assert "a line" in screen.text
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_no_color_is_honoured(monkeypatch, no_color, coloured):
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("NO_COLOR", no_color)
    console.warn("few rows")
    assert ("\x1b[" in screen.text) is coloured
    assert "warning:" in screen.text


@pytest.mark.parametrize("variables", [{"CI": "true"}, {"TERM": "dumb"}])
def test_ci_and_dumb_terminals_get_plain_lines(monkeypatch, variables):
    monkeypatch.setattr("sys.stderr", Screen())
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert console.terminal()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert not console.terminal()


def test_one_is_singular_and_thousands_are_grouped():
    assert console.counted(1, "trajectory", "trajectories") == "1 trajectory"
    assert console.counted(0, "trajectory", "trajectories") == "0 trajectories"
    assert console.counted(1200, "trajectory", "trajectories") == "1,200 trajectories"


def test_escape_sequences_in_names_do_not_reach_the_terminal(capsys):
    name = "\x1b]0;title\x07\x1b[2Jstore \x9b31m"
    console.say(f"reading {name}")
    console.error(f"{name} is damaged\n  hint: none")
    console.result(f"{name}\tvalue\nnext")
    console.result({"name": name})
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert not set(text) & {"\x1b", "\x07", "\x9b"}
    assert "is damaged\n  hint: none" in captured.err
    assert "\tvalue\nnext\n" in captured.out
    assert json.loads(captured.out.split("next\n")[1])["name"] == name


def test_a_name_is_no_markup_in_a_bar(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(console.sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    with console.progress(1, "[red]store[/red] [/b]") as report:
        report.advance()
    assert "[red]store[/red] [/b]" in screen.getvalue()


def test_work_that_is_done_a_second_time_is_silent_and_its_errors_are_not(capsys):
    with console.muted():
        console.note("again")
        console.warn("again")
        with console.progress(2, "again") as report:
            report.advance()
        console.error("this time it failed")
    console.say("after")
    assert capsys.readouterr().err == "error: this time it failed\nafter\n"


def test_a_path_is_a_link_on_a_terminal_alone_and_its_name_stays_harmless(tmp_path, monkeypatch, capsys):
    path = tmp_path / "a\x1b report.html"
    console.say_where("report", path)
    plain = f"report: {tmp_path}/a\\x1b report.html\n"
    assert capsys.readouterr().err == plain
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console.say_where("report", path)
    shown = f"{tmp_path}/a\\x1b report.html"
    assert capsys.readouterr().err == f"report: \x1b]8;;{path.as_uri()}\x1b\\{shown}\x1b]8;;\x1b\\\n"
    monkeypatch.setenv("NO_COLOR", "1")
    console.say_where("report", path)
    assert capsys.readouterr().err == plain
