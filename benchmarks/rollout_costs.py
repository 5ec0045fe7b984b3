"""Processor seconds of a training step with each switch of `mpp_rollout_study`, and the steps that fit into one time.

    python benchmarks/rollout_costs.py --data STORES [--seconds 55] [--rounds 6] [--record rollout_costs]

The study gives each switch as many steps as the same time allows. How long a step takes on the clock depends on what
else a machine does, so costs are measured beforehand: one process with one thread, all switches in turns, so that a
disturbance meets all of them; processor time, not the clock; medians over rounds. A step is what the engine does, but
for reading and logging: forward and backward pass of all micro-batches, clipping, AdamW, and the average of weights.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _record import add_option, finish

from polycli.launch import World
from polycli.mpp.recipe.training import PretrainRecipe
from polycli.mpp.training.task import NextFramePretraining
from polycli.recipes import load_recipe
from polycli.report.table import Table
from polycli.store.reader import open_store
from polycli.workflow.study.recipe import RunSection, StudyRecipe

STUDY, KEY, BASE = "mpp_rollout_study", "switch", "base"


def runs_by_switch() -> dict[str, RunSection]:
    """The entry of the study that trains each switch."""
    runs = load_recipe(STUDY, family="mpp", verb="study", schema=StudyRecipe).runs.values()
    return {str(switch): run for run in runs for switch in run.grid[KEY]}


def recipe_of(run: RunSection, switch: str) -> PretrainRecipe:
    """The training of one switch; how many steps it has is what is asked."""
    settings = [setting for setting in run.choices[KEY][switch] if not setting.startswith("train.steps=")]
    return load_recipe(run.recipe, family="mpp", verb="pretrain", overrides=settings, schema=PretrainRecipe)


def make_step(recipe: PretrainRecipe, data: Path) -> Callable[[], None]:
    """One training step on batches that have been read, in this process, without DeepSpeed."""
    task = NextFramePretraining(recipe, [open_store(path) for path in sorted(data.iterdir())], World())
    batches = [(batch.load(), batch.weight) for batch in task.micro_batches(0, World())]
    model = task.model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6)
    average = [parameter.detach().clone() for parameter in trained] if recipe.optim.ema_decay is not None else []

    def step() -> None:
        for batch, weight in batches:
            loss, _ = model(batch)
            (loss * weight).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if average:
            torch._foreach_lerp_(average, [parameter.detach() for parameter in trained], 0.01)

    return step


def main() -> None:
    """Measure, print and, where it is asked, record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="stores of the recipe mpp_rollout_data")
    parser.add_argument("--seconds", type=float, default=55.0, help="processor seconds that every run gets")
    parser.add_argument("--rounds", type=int, default=6)
    add_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = {switch: make_step(recipe_of(run, switch), options.data) for switch, run in runs_by_switch().items()}
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {switch: [] for switch in steps}
    for _ in range(options.rounds):
        for switch, step in steps.items():
            begun = time.process_time()
            step()
            seconds[switch].append(time.process_time() - begun)
    costs = {switch: statistics.median(found) for switch, found in seconds.items()}
    allowed = {switch: round(options.seconds / cost) for switch, cost in costs.items()}
    rows = [
        [switch, f"{1e3 * cost:.0f}", f"{cost / costs[BASE]:.2f}", str(allowed[switch])]
        for switch, cost in costs.items()
    ]
    caption = f"Medians of {options.rounds} steps in turns, one thread; five micro-batches of two samples of 32 x 32."
    columns = ["switch", "processor ms of a step", "times of base", f"steps in {options.seconds:g} s"]
    finish(
        options,
        {"seconds": options.seconds, "step_seconds": costs, "steps": allowed},
        Table("What a step costs with each switch", columns, rows, caption),
    )


if __name__ == "__main__":
    main()
