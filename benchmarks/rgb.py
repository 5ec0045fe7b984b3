"""Images per second from nanomaggies to model input: batched on the device, against one image at a time in numpy.

    python benchmarks/rgb.py [--images 256] [--repeats 7] [--threads 2] [--record rgb]

The numpy form is the formula as one first writes it, with the cutout's 152 pixels stretched and then cropped to 144, as
the published loader does. Both forms give the same numbers; that is checked first. Runs take turns, so that a
disturbance of the machine meets both, and medians are printed. On a machine with a GPU the batch lies there already.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import _record
import numpy as np
import torch
from numpy.typing import NDArray

from polycli.astroclip.data.rgb import model_input
from polycli.report.table import Table

SCALES = {"g": (2, 6.0), "r": (1, 3.4), "z": (0, 2.2)}
#: How many times faster it is meant to be.
AIM = 20.0


def one_image(flux: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3, 152, 152) nanomaggies in g, r, z to (3, 144, 144)."""
    intensity = np.zeros(flux.shape[1:], np.float32)
    for plane, (_, scale) in zip(flux, SCALES.values(), strict=True):
        intensity = intensity + np.maximum(0, plane * scale + 0.03)
    intensity /= 3
    stretched = np.arcsinh(20 * intensity) / np.sqrt(20)
    intensity += (intensity == 0) * 1e-6
    colours = np.zeros((*flux.shape[1:], 3), np.float32)
    for plane, (place, scale) in zip(flux, SCALES.values(), strict=True):
        colours[:, :, place] = (plane * scale + 0.03) * stretched / intensity
    colours = np.clip(colours, 0, 1)
    return np.ascontiguousarray(colours[4:148, 4:148].transpose(2, 0, 1))


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    flux = np.random.default_rng(0).normal(0.01, 0.1, (options.images, 3, 152, 152)).astype(np.float32)
    batch = torch.from_numpy(flux).to(device)

    def batched() -> torch.Tensor:
        found = model_input(batch, 144)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return found

    def single() -> list[NDArray[np.float32]]:
        return [one_image(image) for image in flux]

    difference = np.abs(batched().cpu().numpy() - np.stack(single())).max()
    assert difference < 1e-5, difference
    forms: dict[str, Callable[[], object]] = {"numpy, one at a time": single, "torch, batched": batched}
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(options.repeats):
        for name, form in forms.items():
            start = time.perf_counter()
            form()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = medians["numpy, one at a time"] / medians["torch, batched"]
    rates = {name: options.images / median for name, median in medians.items()}
    table = Table(
        "From nanomaggies to model input",
        ("form", "images per second"),
        [(name, f"{rate:,.0f}") for name, rate in rates.items()],
        f"{options.images} images of 3 x 152 x 152 on {device}, {options.threads} threads, medians of "
        f"{options.repeats} runs in turns: {ratio:.1f} times as fast, where {AIM:g} was the aim. Largest difference "
        f"of the two forms: {difference:.1e}.",
    )
    figures = {"images_per_second": rates, "ratio": ratio, "largest_difference": float(difference)}
    _record.finish(options, figures, table)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    _record.add_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
