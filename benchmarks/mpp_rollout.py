"""Rollouts of AViT-Ti: 8 trajectories at once against one after the other, in turns, and what the stem has of a step.

Could the tokens of frames that do not change between steps be kept? Not as published: every window is normalised by its
own mean and spread, so that all its frames change when one is added. The first product of the stem is linear, and
kept products could be rescaled; its share of a step, and that of the whole stem, bound what such keeping could gain.

    python benchmarks/mpp_rollout.py [--turns 3] [--steps 20] [--record mpp_rollout]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import _record
import torch
from torch import Tensor, nn

from polycli.mpp.model.avit import AViT
from polycli.mpp.scoring.rollout import Conditions, rollout
from polycli.recipes import load_recipe
from polycli.report.table import Table

TRAJECTORIES, FRAMES, FIELDS, POINTS = 8, 16, 4, 128
READ = Conditions(labels=tuple(range(FIELDS)), boundaries=(1, 1))


def model_of(recipe: str, device: str) -> AViT:
    """The model of a recipe with weights that are drawn."""
    torch.manual_seed(0)
    section = load_recipe(recipe, family="mpp", verb="pretrain").model  # type: ignore[attr-defined]
    return AViT(section).to(device).eval()


def contexts() -> Tensor:
    """Frames that turn slowly, (trajectory, time, field, H, W)."""
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(2, TRAJECTORIES, 1, FIELDS, 9, 9, generator=generator)
    waves = nn.functional.interpolate(draw.flatten(0, 2), size=(POINTS, POINTS), mode="bicubic")
    cosine, sine = waves.view(2, TRAJECTORIES, 1, FIELDS, POINTS, POINTS)
    phase = 0.2 * torch.arange(FRAMES).view(1, -1, 1, 1, 1)
    return cosine * phase.cos() + sine * phase.sin()


def roll(model: AViT, frames: Tensor, steps: int, size: int) -> Tensor:
    """The last frames, rolled `size` trajectories at a time."""
    last = []
    for begin in range(0, len(frames), size):
        frame = frames[begin : begin + size, -1]
        for frame in rollout(model, frames[begin : begin + size], READ, steps):  # noqa: B007  # The last one counts.
            pass
        last.append(frame.cpu())
    return torch.cat(last)


def shares(model: AViT, frames: Tensor) -> dict[str, float]:
    """Parts of the processor time of a step of one trajectory: medians of five."""
    modules: dict[str, nn.Module] = {
        "stem": model.embed,
        "first product of the stem": next(iter(model.embed.in_proj.values())),
    }
    found: dict[str, list[float]] = {name: [] for name in modules}
    spent = dict.fromkeys(modules, 0.0)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Tensor) -> Tensor:
            started = time.process_time()
            result: Tensor = function(*arguments)
            spent[name] += time.process_time() - started
            return result

        return call

    originals = {name: module.forward for name, module in modules.items()}
    for name, module in modules.items():
        module.forward = timed(name, originals[name])
    for _ in range(5):
        spent.update(dict.fromkeys(spent, 0.0))
        started = time.process_time()
        roll(model, frames[:1], 1, 1)
        whole = time.process_time() - started
        for name, seconds in spent.items():
            found[name].append(seconds / whole)
    for name, module in modules.items():
        module.forward = originals[name]
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="mpp_ti")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    _record.add_option(parser)
    options = parser.parse_args()
    model, frames = model_of(options.recipe, options.device), contexts()
    threads = [1, os.cpu_count() or 1] if options.device == "cpu" else [1]
    ways = [(count, size) for count in dict.fromkeys(threads) for size in (1, TRAJECTORIES)]
    runs: dict[tuple[int, int], list[float]] = {way: [] for way in ways}
    last = {}
    roll(model, frames, 1, 1)
    for _ in range(options.turns):
        for count, size in ways:
            torch.set_num_threads(count)
            started = time.perf_counter()
            last[size] = roll(model, frames, options.steps, size)
            runs[count, size].append(time.perf_counter() - started)
    difference = float((last[1] - last[TRAJECTORIES]).norm() / last[1].norm())
    torch.set_num_threads(1)
    found = shares(model, frames) if options.device == "cpu" else {}
    ratios = {}
    for count in dict.fromkeys(threads):
        pairs = zip(runs[count, 1], runs[count, TRAJECTORIES], strict=True)
        ratios[count] = statistics.median(one / other for one, other in pairs)
    figures = {
        "seconds": {f"{count} threads, {size} at once": min(seconds) for (count, size), seconds in runs.items()},
        "ratios": ratios,
        "difference": difference,
        "shares": found,
    }
    rows = [
        (
            f"{count} {'thread' if count == 1 else 'threads'}",
            f"{min(runs[count, 1]):.1f}",
            f"{min(runs[count, TRAJECTORIES]):.1f}",
            f"{ratio:.2f}",
        )
        for count, ratio in ratios.items()
    ]
    said = [
        f"Least of {options.turns} turns; the ratio is the median of theirs.",
        f"After {options.steps} steps the frames of the two differ by {difference:.1e} of their norm.",
        *(
            f"The {name} has {100 * share:.1f} % of a step; without it a step is {1 / (1 - share):.2f} times as fast."
            for name, share in found.items()
        ),
    ]
    title = f"Rollouts of {TRAJECTORIES} trajectories of {FIELDS} x {POINTS} x {POINTS}, {options.steps} steps"
    columns = ("", "seconds, one after the other", "seconds, all at once", "ratio")
    _record.finish(options, figures, Table(title, columns, rows, " ".join(said)))


if __name__ == "__main__":
    main()
