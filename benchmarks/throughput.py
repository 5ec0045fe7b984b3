"""Samples per second of a pretraining on one process and on two: what data parallelism gains on one machine.

    python benchmarks/throughput.py [--repeats 3] [--steps 12] [--zero-stage 2]

The same recipe (AViT of 4 blocks on random frames that are made when asked for, so that no disk takes part) is trained
by one process with one thread, by one with two threads, and by two with one thread each. The starts take turns, so that
a disturbance of the machine meets all of them; the first steps of each start are not counted; medians are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polycli.engine.run import METRICS_NAME, Run
from polycli.engine.task import Task
from polycli.engine.train import train
from polycli.launch import World, free_port, join_process_group
from polycli.mpp.model.avit import AViT
from polycli.mpp.recipe.training import ModelSection
from polycli.mpp.training.costs import flops_per_sample
from polycli.mpp.training.objective import NextFrame
from polycli.sections import EngineSection, LogSection, OptimSection, ScheduleSection, TrainSection

HISTORY, FIELDS, GRID, GLOBAL_BATCH, MICRO_BATCH = 4, 3, 64, 8, 2
MODEL = ModelSection(embed_dim=192, num_heads=3, blocks=4, drop_path=0.0)
#: Processes and threads of each.
SHAPES = ((1, 1), (1, 2), (2, 1))
#: Steps of a start that are not counted: they allocate.
WARM_UP = 2


@dataclass(frozen=True)
class RandomFrames:
    """A micro-batch of noise."""

    seed: int
    weight: float
    samples: tuple[str, ...] = ("noise",) * MICRO_BATCH

    def load(self) -> dict[str, Tensor]:
        """Fields (B, history + 1, C, H, W), state_labels (C,), bcs (B, 2)."""
        generator = torch.Generator().manual_seed(self.seed)
        return {
            "fields": torch.randn(MICRO_BATCH, HISTORY + 1, FIELDS, GRID, GRID, generator=generator),
            "state_labels": torch.arange(FIELDS),
            "bcs": torch.ones(MICRO_BATCH, 2, dtype=torch.long),
        }


class NoiseTask(Task):
    """Pretraining on noise: the costs of the real one, but for reading."""

    family = "mpp"
    verb = "pretrain"

    def __init__(self) -> None:
        torch.manual_seed(0)
        self._network = AViT(MODEL)
        self.model: nn.Module = NextFrame(self._network)

    def micro_batches(self, step: int, world: World) -> list[RandomFrames]:
        """This rank's part of a step."""
        count = GLOBAL_BATCH // world.size // MICRO_BATCH
        first = (step * world.size + world.rank) * count
        return [RandomFrames(first + place, 1 / count) for place in range(count)]

    def validate(self, forward: nn.Module, world: World) -> dict[str, float]:  # noqa: ARG002  # Not measured.
        """Nothing."""
        return {}

    def exported(self) -> nn.Module:
        """The network."""
        return self._network

    def description(self) -> dict[str, Any]:
        """Nothing that anybody reads."""
        return {"model": {}, "trained_on": {}}

    def flops_per_step(self) -> float:
        """Forward and backward."""
        return 3 * GLOBAL_BATCH * flops_per_sample(MODEL, HISTORY, FIELDS, (GRID, GRID))


def rank_of_a_run(folder: Path, steps: int, zero_stage: int) -> None:
    """What each started process does."""
    world = join_process_group()
    run = Run.create_or_resume(folder, "family: mpp\nverb: pretrain\n", resume="never", world=world)
    train(
        NoiseTask(),
        optim=OptimSection(),
        schedule=ScheduleSection(),
        train=TrainSection(steps=steps, global_batch_size=GLOBAL_BATCH, micro_batch_size=MICRO_BATCH),
        engine=EngineSection(zero_stage=zero_stage),
        log=LogSection(every=1),
        run=run,
        world=world,
        workers=1,
    )


def measure(processes: int, threads: int, steps: int, zero_stage: int) -> float:
    """The median of samples per second over the steps of one start."""
    with tempfile.TemporaryDirectory() as folder:
        run, port = Path(folder) / "run", str(free_port())
        ranks = [
            subprocess.Popen(
                [sys.executable, __file__, "--run", str(run), "--steps", str(steps), "--zero-stage", str(zero_stage)],
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": str(threads),
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                    "WORLD_SIZE": str(processes),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": port,
                },
                stderr=subprocess.DEVNULL,
            )
            for rank in range(processes)
        ]
        if any(rank.wait() for rank in ranks):
            raise SystemExit(f"a run of {processes} processes failed")
        lines = [json.loads(line) for line in (run / METRICS_NAME).read_text(encoding="utf-8").splitlines()]
    speeds = [line["speed"]["samples_per_second"] for line in lines if line["kind"] == "train"]
    return statistics.median(speeds[WARM_UP:])


def main() -> None:
    """Take turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--zero-stage", type=int, default=2)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if options.run is not None:
        rank_of_a_run(options.run, options.steps, options.zero_stage)
        return
    found: dict[tuple[int, int], list[float]] = {shape: [] for shape in SHAPES}
    for _ in range(options.repeats):
        for shape in SHAPES:
            found[shape].append(measure(*shape, options.steps, options.zero_stage))
    medians = {shape: statistics.median(values) for shape, values in found.items()}
    for processes, threads in SHAPES:
        speed = medians[processes, threads]
        spread = ", ".join(f"{value:.2f}" for value in found[processes, threads])
        print(
            f"{processes} process(es) of {threads} thread(s): {speed:.2f} samples/s, "
            f"{speed / medians[1, 1]:.2f}x of one of one thread  ({spread})"
        )
    print(f"two processes against one with two threads: {medians[2, 1] / medians[1, 2]:.2f}x")


if __name__ == "__main__":
    main()
