"""What a device can do at most: stated by its vendor, or measured."""

import pytest
import torch

from polycli.engine.monitor import peaks
from polycli.engine.monitor.peaks import Peak, peak_of


def test_a_gpu_of_a_known_name_has_the_vendors_peak(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    assert peak_of(torch.device("cuda", 0), "bfloat16") == Peak(989e12, "stated")
    assert peak_of(torch.device("cuda", 0), "float32") == Peak(67e12, "stated")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A10")
    assert peak_of(torch.device("cuda", 0), "bfloat16").flops == 125e12


def test_a_gpu_of_an_unknown_name_is_measured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU of 2031")
    monkeypatch.setattr(peaks, "_measured", lambda device, precision: 3e12)
    assert peak_of(torch.device("cuda", 0), "bfloat16") == Peak(3e12, "measured")


def test_a_cpu_is_measured_by_the_time_of_its_products(monkeypatch):
    now = [0.0]

    def product(matrix, other):
        now[0] += 0.25 if matrix.dtype == torch.bfloat16 else 0.5

    monkeypatch.setattr(peaks.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(torch, "mm", product)
    # 512 cubed products of one multiplication and one addition in half a second; those in bfloat16 are smaller.
    assert peak_of(torch.device("cpu"), "float32") == Peak(pytest.approx(2 * 512**3 / 0.5), "measured")
    assert peak_of(torch.device("cpu"), "bfloat16").flops == pytest.approx(2 * 512**3 / 0.5)


def test_measuring_takes_no_random_numbers():
    before = torch.random.get_rng_state()
    assert peak_of(torch.device("cpu"), "bfloat16").flops > 1e8
    assert torch.equal(torch.random.get_rng_state(), before)
