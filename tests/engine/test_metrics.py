"""metrics.jsonl, and what a step costs."""

import json

import pytest
import torch

from polycli.engine import metrics
from polycli.engine.metrics import MetricsFile, SpeedMeter, peak_flops


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
    meter = SpeedMeter(peak_flops=1e12, flops_per_step=5e11)
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
        "step_seconds": pytest.approx(1),
        "data_wait_share": pytest.approx(0.1),
        "mfu": pytest.approx(0.5),
        "peak_memory_bytes": 7,
    }


def test_a_cpu_has_no_stated_peak_and_a_gpu_has_one_by_its_name(monkeypatch):
    assert peak_flops(torch.device("cpu"), "bfloat16") is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    assert peak_flops(torch.device("cuda", 0), "bfloat16") == 989e12
    assert peak_flops(torch.device("cuda", 0), "float32") == 67e12
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU of 2031")
    assert peak_flops(torch.device("cuda", 0), "bfloat16") is None
