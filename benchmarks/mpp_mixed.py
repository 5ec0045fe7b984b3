"""Mixed micro-batches: a step of several physics in one forward pass against one pass for each, and what each teaches.

    python benchmarks/mpp_mixed.py [--turns 5] [--record mpp_mixed]
    python benchmarks/mpp_mixed.py --train FOLDER [--steps 300] [--seeds 3] [--record mpp_mixed_training]

The first form times steps of equal samples in turns, in processor time of one thread. The second trains on four small
systems: with one forward pass a step, of one dataset or of all four mixed, and with all four in a pass each, which
computes the same gradient as the mixed one. All see as many samples in as many steps. What FOLDER has is kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from _record import add_option, finish

from polycli.engine.task import Batch
from polycli.mpp import prepare, pretrain
from polycli.mpp.data.mixed import joined
from polycli.mpp.model.avit import AViT
from polycli.mpp.recipe.training import ModelSection, ObjectiveSection
from polycli.mpp.training.objective import NextFrame
from polycli.report.table import Table, number
from polycli.requests import PrepareRequest, TrainRequest

HISTORY = 4
MODELS = {
    "64 wide, 3 blocks, patch 4": ModelSection(embed_dim=64, num_heads=4, blocks=3, patch_size=4, drop_path=0.0),
    "AViT-Ti": ModelSection(embed_dim=192, num_heads=3, blocks=12, drop_path=0.0),
}
#: By model and data, the grid of each physics; the physics have 1 to 4 fields in turn.
LIKE, UNLIKE = "one grid", "four grids"
GRIDS: dict[str, dict[str, Sequence[tuple[int, int]]]] = {
    "64 wide, 3 blocks, patch 4": {LIKE: [(32, 32)] * 4, UNLIKE: [(16, 16), (24, 24), (32, 16), (32, 32)]},
    "AViT-Ti": {LIKE: [(64, 64)] * 4, UNLIKE: [(32, 32), (48, 48), (64, 32), (64, 64)]},
}

DATA = """
family: mpp
verb: prepare
split: {validation: 4, test: 1}
simulate:
  shallow_water: {system: shallow_water, variant: bumps, grid: 32, trajectories: 17, frames: 16, seed: 41}
  diffusion_reaction: {system: diffusion_reaction, grid: 24, trajectories: 17, frames: 16, seed: 42}
  incompressible_ns: {system: incompressible_ns, grid: 32, trajectories: 17, frames: 16, seed: 43}
  compressible_ns: {system: compressible_ns, interval: 0.04, parameters: {viscosity: 0.01}, grid: 16, trajectories: 17,
    frames: 16, seed: 44}
"""
RECIPE = """
family: mpp
verb: pretrain
model: {embed_dim: 48, num_heads: 4, blocks: 2, patch_size: 4, drop_path: 0.0, layer_scale: 0.1, predicts: change,
  fields: [shallow_water.height, shallow_water.velocity_x, shallow_water.velocity_y, diffusion_reaction.activator,
    diffusion_reaction.inhibitor, incompressible_ns.velocity_x, incompressible_ns.velocity_y, incompressible_ns.tracer,
    compressible_ns.velocity_x, compressible_ns.velocity_y, compressible_ns.density, compressible_ns.pressure]}
data: {history: 4, validation_windows: 48, workers: 0}
objective: {normalise_by: change}
optim: {learning_rate: 3.0e-3, weight_decay: 1.0e-4, betas: [0.9, 0.95], clip_norm: 1.0}
schedule: {name: cosine, warmup_steps: 20, final_fraction: 0.02}
train: {steps: 300, global_batch_size: 8, micro_batch_size: 8, validate_every: 100000, checkpoint_every: 100000,
  keep_last: 1}
engine: {zero_stage: 0}
log: {every: 50}
"""
#: By name: how many forward passes a step takes, and the settings.
WAYS: dict[str, tuple[int, Sequence[str]]] = {
    "one dataset a step": (1, ()),
    "four, mixed": (1, ("data.draws_per_step=4", "data.mixed_micro_batches=true")),
    "four, one after the other": (4, ("data.draws_per_step=4", "train.micro_batch_size=2")),
}


def batches_of(grids: Sequence[tuple[int, int]], samples: int) -> list[Batch]:
    """Noise of each physics: half of them periodic, half between walls."""
    return [
        {
            "fields": torch.randn(samples, HISTORY + 1, 1 + place % 4, *grid),
            "state_labels": torch.arange(1 + place % 4) + place,
            "bcs": torch.full((samples, 2), place % 2),
        }
        for place, grid in enumerate(grids)
    ]


def step_of(objective: NextFrame, batches: Sequence[Batch]) -> Callable[[], None]:
    """Both passes of all batches, as a step has them, without the optimizer's part, which is the same for all."""

    def step() -> None:
        for batch in batches:
            loss, _ = objective(batch)
            (loss / len(batches)).backward()
        objective.zero_grad()

    return step


def time_steps(turns: int) -> tuple[dict[str, Any], Table]:
    """Processor milliseconds of steps in turns, the median of each, and their ratio."""
    rows, figures = [], {}
    for model, section in MODELS.items():
        torch.manual_seed(0)
        objective = NextFrame(AViT(section), ObjectiveSection()).train()
        for data, grids in GRIDS[model].items():
            for many, samples in ((4, 2), (8, 1)):
                parts = batches_of((list(grids) * 2)[:many], samples)
                steps = {"plain": step_of(objective, parts), "mixed": step_of(objective, [joined(parts)])}
                taken: dict[str, list[float]] = {name: [] for name in steps}
                for turn in range(turns + 1):
                    for name, step in steps.items():
                        begin = time.process_time()
                        step()
                        if turn > 0:  # The first turn warms up.
                            taken[name].append(1000 * (time.process_time() - begin))
                plain, mixed = (statistics.median(taken[name]) for name in ("plain", "mixed"))
                figures[f"{model}, {data}, {many}"] = {"plain_ms": plain, "mixed_ms": mixed, "ratio": plain / mixed}
                rates = [f"{8000 / taken_ms:.1f}" for taken_ms in (plain, mixed)]
                rows.append(
                    [model, data, f"{many} x {samples}", f"{plain:.0f}", f"{mixed:.0f}", *rates, f"{plain / mixed:.2f}"]
                )
    columns = [
        "model",
        "data",
        "physics x samples",
        "ms, a pass each",
        "ms, one pass",
        "samples/s, each",
        "one",
        "ratio",
    ]
    return figures, Table(
        title="Step of eight samples: a forward pass for each physics, and one for all",
        columns=columns,
        rows=rows,
        labels=3,
        caption="Processor time of one thread, both passes, medians of steps in turns. In the mixed pass of four "
        "grids, 42 % of the points are padding.",
    )


def train(folder: Path, steps: int, seeds: int) -> tuple[dict[str, Any], Table]:
    """Train every way with every seed, and say how well the last weights predict."""
    folder.mkdir(parents=True, exist_ok=True)
    data, recipe = folder / "data.yaml", folder / "recipe.yaml"
    data.write_text(DATA, encoding="utf-8")
    recipe.write_text(RECIPE, encoding="utf-8")
    if not (folder / "stores").is_dir():
        prepare.run(PrepareRequest(source="simulate", inputs=(), recipe=str(data), output=folder / "stores"))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for seed in range(seeds):
        for name, (_, settings) in WAYS.items():
            output = folder / f"{name.replace(', ', '_').replace(' ', '_')}_{seed}"
            spent = output / "processor_seconds.json"
            if not spent.is_file():
                overrides = (*settings, f"train.seed={seed}", f"train.steps={steps}")
                request = TrainRequest(
                    recipe=str(recipe), data=(folder / "stores",), output=output, overrides=overrides
                )
                begin = time.process_time()
                pretrain.run(request)
                spent.write_text(json.dumps(time.process_time() - begin))
            lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
            found[name].append({key: value for line in lines for key, value in line.items() if "validation/" in key})
            seconds[name].append(json.loads(spent.read_text()))
    systems = sorted(key.split("/")[1] for key in found["four, mixed"][0] if key.endswith("nrmse_over_persistence"))
    rows = []
    for name, (passes, _) in WAYS.items():
        columns = [[run[f"validation/{system}/nrmse_over_persistence"] for run in found[name]] for system in systems]
        losses = [run["validation/loss"] for run in found[name]]
        rows.append(
            [name, str(passes), " ".join(f"{loss:.4f}" for loss in losses), number(statistics.mean(losses))]
            + [number(statistics.mean(values)) for values in columns]
            + [f"{statistics.mean(seconds[name]):.0f}"]
        )
    table = Table(
        title=f"Training for {steps} steps of eight samples",
        columns=["a step is of", "passes", "NRMSE over persistence's, by seed", "mean", *systems, "s"],
        rows=rows,
        labels=1,
        caption="One-step errors on validation windows after the last step, mean over the four systems, then by "
        "system, mean over seeds. Seconds are processor time of a whole training in one thread.",
    )
    return {"runs": found, "processor_seconds": seconds}, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="train in FOLDER in place of timing steps")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    add_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures, table = (
        time_steps(options.turns) if options.train is None else train(options.train, options.steps, options.seeds)
    )
    finish(options, figures, table)


if __name__ == "__main__":
    main()
