"""metrics.jsonl, and what a step costs."""

import errno
import json
import os
from pathlib import Path

import pytest

from polycli.engine.monitor import metrics
from polycli.engine.monitor.metrics import MetricsFile, SpeedMeter


def test_lines_after_the_checkpoint_and_a_line_cut_short_are_dropped(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl", writes=True)
    for step in (1, 2, 2, 3):
        file.append("train", step, {"loss": step / 3}, {"step_seconds": 0.1})
    whole = file.path.read_text()
    with file.path.open("a") as stream:
        stream.write('{"kind": "train", "step": 2, "lo')
    file.cut_back(2)
    assert file.path.read_text() == "".join(line + "\n" for line in whole.splitlines()[:3])


def test_numbers_survive_exactly_and_non_finite_ones_become_null(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl", writes=True)
    file.append("train", 1, {"loss": 0.1 + 0.2, "norm": float("inf"), "error": float("nan")}, {"mfu": None})
    line = json.loads(file.path.read_text(), parse_constant=pytest.fail)
    assert line == {
        "kind": "train",
        "step": 1,
        "loss": 0.1 + 0.2,
        "norm": None,
        "error": None,
        "speed": {"mfu": None},
    }


def test_ranks_other_than_0_write_nothing(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl", writes=False)
    file.append("train", 1, {}, {})
    file.cut_back(0)
    assert not file.path.exists()


def test_speed_is_what_happened_since_the_restart_without_pauses(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(metrics.time, "perf_counter", lambda: now[0])
    meter = SpeedMeter(peak_flops=1e12, flops_per_step=5e11, tokens_per_step=30)
    meter.restart()
    now[0] += 1
    paused = meter.pause()
    now[0] += 60  # a validation
    meter.resume(paused)
    now[0] += 3
    for _ in range(4):
        meter.count(samples=10)
    speed = meter.read(wait_seconds=0.4, peak_memory=7)
    assert speed == {
        "samples_per_second": pytest.approx(10),
        "tokens_per_second": pytest.approx(30),
        "step_seconds": pytest.approx(1),
        "data_wait_share": pytest.approx(0.1),
        "mfu": pytest.approx(0.5),
        "peak_memory_bytes": 7,
    }


def test_lines_that_a_full_disk_refuses_are_kept_and_written_later(tmp_path, monkeypatch, capsys):
    file = MetricsFile(tmp_path / "metrics.jsonl", writes=True)
    file.append("train", 1, {"loss": 1.0}, {})
    with monkeypatch.context() as full:
        full.setattr(Path, "open", refuse)
        file.append("train", 2, {"loss": 2.0}, {})
        file.append("train", 3, {"loss": 3.0}, {})
    file.append("train", 4, {"loss": 4.0}, {})
    assert [json.loads(line)["step"] for line in file.path.read_text().splitlines()] == [1, 2, 3, 4]
    assert capsys.readouterr().err.count("No space left on device") == 1


def test_lines_are_on_the_disk_before_a_checkpoint_makes_them_final(toy, world, tmp_path, monkeypatch):
    """A machine that loses its power must not lose lines that no later start writes again."""
    run, synced = tmp_path / "run", []

    def watched(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.name == "metrics.jsonl":
            synced.append([json.loads(line)["step"] for line in path.read_text().splitlines()][-1])
        elif path.name == "MANIFEST.json.partial":
            synced.append(path.parent.name.split(".")[1])
        real(descriptor)

    real = os.fsync
    monkeypatch.setattr(os, "fsync", watched)
    toy.train_toy(run, toy.ToyTask(), world, train__steps=4, train__checkpoint_every=2, train__save_in_background=False)
    assert synced == [2, "step-00000002", 4, "step-00000004"]


def refuse(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")
