"""How many operations a device can do per second: what the vendor states or, where that is not known, a measurement.

Model FLOP utilisation divides by it. A measured peak is that of matrix products alone, on the threads that this process
has, at this moment: it is a yardstick and no constant.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Literal

import torch

#: Dense bfloat16 and float32 operations per second that vendors state, by a part of the device's name.
PEAK_FLOPS = {
    "GB200": (2500e12, 80e12),
    "B200": (2250e12, 80e12),
    "GH200": (989e12, 67e12),
    "H200": (989e12, 67e12),
    "H100 PCIe": (756e12, 51e12),
    "H100": (989e12, 67e12),
    "A100": (312e12, 19.5e12),
    "L40S": (362e12, 91.6e12),
    "A10": (125e12, 31.2e12),
    "V100": (math.nan, 15.7e12),
}
#: Edges of the measured products, and repeats of which the fastest counts: 20 ms on one core, as little on a GPU.
_EDGES = {"cpu": 512, "cuda": 8192}
_REPEATS = 5


@dataclass(frozen=True)
class Peak:
    """Operations per second of one device, a multiplication and an addition being two."""

    flops: float
    source: Literal["stated", "measured"]


def peak_of(device: torch.device, precision: str) -> Peak:
    """The peak of this rank's device in this precision."""
    stated = _stated(device, precision)
    return Peak(stated, "stated") if stated is not None else Peak(_measured(device, precision), "measured")


def _stated(device: torch.device, precision: str) -> float | None:
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    for part, (bfloat16, float32) in PEAK_FLOPS.items():
        if part in name:
            peak = bfloat16 if precision == "bfloat16" else float32
            return None if math.isnan(peak) else peak
    return None


def _measured(device: torch.device, precision: str) -> float:
    """The faster of the two precisions where bfloat16 is asked for: without instructions for it, it is emulated."""
    peak = _fastest_product(device, torch.float32, _EDGES[device.type])
    if precision == "bfloat16":
        peak = max(peak, _fastest_product(device, torch.bfloat16, _EDGES[device.type] // 4))
    return peak


def _fastest_product(device: torch.device, dtype: torch.dtype, edge: int) -> float:
    # Values do not matter, and random ones would take numbers that the training is to draw.
    matrix = torch.full((edge, edge), 0.5, device=device, dtype=dtype)
    fastest = math.inf
    for _ in range(_REPEATS + 1):  # the first one warms up
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        fastest = min(fastest, time.perf_counter() - started)
    return 2.0 * edge**3 / fastest
