"""How long a checkpoint holds training up, and how large it is: in the background, in the foreground, DeepSpeed's own.

    python benchmarks/checkpoint_stall.py [--width 2048] [--layers 12] [--steps 12] [--rounds 5] [--folder PATH]

A model of linear layers (50 million parameters by default) trains with AdamW under ZeRO 2 in one process. In every
round each way saves once and then trains for some steps; the ways take turns, so that a disturbance of the machine
meets all of them, and medians are printed. "blocked" is the time in which no step can run. "lost" is what the save cost
in all: with the steps after it, which share the machine with a save in the background, less what as many steps take
without one.
DeepSpeed's own save is followed by what would make it as safe: every file hashed and synced.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polycli.checkpoints.manifest import write_manifest
from polycli.engine.checkpoints.checkpointing import Checkpointer, TrainerState
from polycli.engine.deepspeed.backend import start_engine
from polycli.engine.run import Run
from polycli.launch import World, join_process_group
from polycli.sections import EngineSection, OptimSection, TrainSection

ROWS = 16


class Layers(nn.Module):
    """Square linear layers, one behind the other."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(width, width) for _ in range(layers)))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """A loss."""
        return self.layers(batch["x"]).square().mean()  # type: ignore[no-any-return]


class LayersTask:
    """As much of a task as a checkpoint needs."""

    family, verb = "benchmark", "pretrain"

    def __init__(self, width: int, layers: int) -> None:
        torch.manual_seed(0)
        self.model = Layers(width, layers)

    def exported(self) -> nn.Module:
        """All of it."""
        return self.model

    def description(self) -> dict[str, Any]:
        """Nothing that matters here."""
        return {"model": {}, "trained_on": {}}


class Measurement:
    """One model in training, saved in one way or another."""

    def __init__(self, width: int, layers: int, folder: Path, world: World) -> None:
        task: Any = LayersTask(width, layers)
        self.folder = folder
        self.batch = {"x": torch.randn(ROWS, width)}
        self.parameters = sum(parameter.numel() for parameter in task.model.parameters())
        self.engine = start_engine(task.model, OptimSection(), EngineSection(zero_stage=2), world)
        run = Run.create_or_resume(folder / "run", "family: benchmark\nverb: pretrain\n", resume="auto", world=world)
        self.checkpointers = {
            background: Checkpointer(
                task,
                self.engine,
                run,
                world,
                optimizer="adamw",
                train=TrainSection(
                    steps=1, global_batch_size=1, micro_batch_size=1, keep_last=1, save_in_background=background
                ),
            )
            for background in (True, False)
        }
        self.state = TrainerState()

    def step(self) -> None:
        """One step on the same batch."""
        self.engine.backward(self.engine(self.batch))
        self.engine.step()

    def ours(self, steps: int, *, background: bool) -> tuple[float, float]:
        """Seconds blocked by a save of ours, and of that and the steps after it together."""
        checkpointer = self.checkpointers[background]
        self.state.step += 1
        started = time.perf_counter()
        checkpointer.save(self.state, None)
        blocked = time.perf_counter() - started
        for _ in range(steps):
            self.step()
            begun = time.perf_counter()
            checkpointer.settle()
            blocked += time.perf_counter() - begun
        total = time.perf_counter() - started
        begun = time.perf_counter()
        if checkpointer.settle(wait=True):
            # The steps were too few for it: the next save would have waited.
            blocked += time.perf_counter() - begun
            total += time.perf_counter() - begun
        assert checkpointer.last is not None
        self.size = sum(path.stat().st_size for path in checkpointer.last.rglob("*") if path.is_file())
        return blocked, total

    def deepspeeds(self, steps: int) -> tuple[float, float]:
        """Likewise for DeepSpeed's format, made as safe."""
        target = self.folder / "deepspeed"
        shutil.rmtree(target, ignore_errors=True)
        started = time.perf_counter()
        self.engine.save_checkpoint(str(target), tag="tag", client_state={}, save_latest=False)
        write_manifest(target, step=1, family="benchmark", verb="pretrain", world_size=1, zero_stage=2)
        blocked = time.perf_counter() - started
        for _ in range(steps):
            self.step()
        self.size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
        return blocked, time.perf_counter() - started

    def nothing(self, steps: int) -> tuple[float, float]:
        """Steps alone."""
        started = time.perf_counter()
        for _ in range(steps):
            self.step()
        return 0.0, time.perf_counter() - started


def main(arguments: argparse.Namespace) -> None:
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    world = join_process_group()
    measurement = Measurement(arguments.width, arguments.layers, folder, world)
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "no save": lambda: measurement.nothing(arguments.steps),
        "in the background": lambda: measurement.ours(arguments.steps, background=True),
        "in the foreground": lambda: measurement.ours(arguments.steps, background=False),
        "DeepSpeed's, hashed": lambda: measurement.deepspeeds(arguments.steps),
    }
    measurement.nothing(2)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    sizes = {}
    try:
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                found[name].append(way())
                print(
                    f"{name:20}  blocked {found[name][-1][0]:6.3f} s, with steps {found[name][-1][1]:6.3f} s",
                    flush=True,
                )
                sizes[name] = 0 if name == "no save" else measurement.size
    finally:
        shutil.rmtree(folder)
    quiet = statistics.median(total for _, total in found["no save"])
    foreground = statistics.median(blocked for blocked, _ in found["in the foreground"])
    millions = measurement.parameters / 1e6
    print(f"{millions:.1f} million parameters, {arguments.steps} steps of {quiet / arguments.steps:.3f} s")
    for name, times in found.items():
        if name == "no save":
            continue
        blocked = statistics.median(blocked for blocked, _ in times)
        lost = statistics.median(total for _, total in times) - quiet
        print(
            f"{name:20}  blocked {blocked:6.3f} s ({blocked / foreground:5.3f} of the foreground's)  lost {lost:6.3f} s"
            f"  {sizes[name] / 1e6:7.1f} MB, {sizes[name] / measurement.parameters:5.2f} bytes per parameter"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    main(parser.parse_args())
