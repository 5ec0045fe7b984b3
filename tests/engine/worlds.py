"""Runs on one, two and four gloo ranks, all of them forked processes.

Each group of ranks writes into a folder of its own; `test_worlds.py` compares.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from forked import import_everything, in_a_world
from toy import ToyBatch, ToyTask, send_signal_in_step, train_toy

from polycli.errors import PolycliError
from polycli.launch import World

STAGES = (0, 1, 2, 3)
DECAY = 0.8
VARYING = ((4,), (2, 2), (1, 3))


@dataclass(frozen=True)
class RecordedBatch(ToyBatch):
    """Notes which samples a rank has read."""

    record: str = ""

    def load(self) -> dict[str, torch.Tensor]:
        with Path(self.record).open("a") as file:
            file.write(f"{self.step} {' '.join(self.samples)}\n")
        return super().load()


def same_batches(folder: Path, world: World) -> None:
    """Six steps; what every rank read is in a file of its own. Two readers on two ranks, none on the others."""
    folder.mkdir(parents=True, exist_ok=True)
    task = ToyTask(global_batch=16, micro=((16 // world.size,), (8 // world.size, 8 // world.size)))
    plain = task.micro_batches

    def recorded(step: int, world: World) -> list[RecordedBatch]:
        record = str(folder / f"rank-{world.rank}.txt")
        return [RecordedBatch(b.seed, b.step, b.first, b.count, b.weight, record=record) for b in plain(step, world)]

    task.micro_batches = recorded  # type: ignore[method-assign]
    train_toy(folder / "run", task, world, train__steps=6, workers=2 if world.size == 2 else 0)


def averages(folder: Path, world: World) -> None:
    """At every stage a run with an average: whole with all its checkpoints, and stopped and resumed."""
    for stage in STAGES:
        settings = {"engine__zero_stage": stage, "train__steps": 6, "optim__ema_decay": DECAY}
        keep = {"train__checkpoint_every": 1, "train__keep_last": 9}
        train_toy(folder / f"{stage}/whole", ToyTask(micro=VARYING), world, **settings, **keep)
        stop_in_step_3(folder / f"{stage}/cut", VARYING, world, **settings)
        train_toy(folder / f"{stage}/cut", ToyTask(micro=VARYING), world, **settings)
        # One process goes on with this one.
        stop_in_step_3(folder / f"{stage}/left", ((4,),), world, **settings)


def stop_in_step_3(run: Path, micro: tuple[tuple[int, ...], ...], world: World, **settings: Any) -> None:
    task = ToyTask(micro=micro)
    send_signal_in_step(task, 3, signal.SIGTERM)
    how_it_ends(lambda: train_toy(run, task, world, **settings))


def rehearsals(folder: Path, world: World) -> None:
    """With and without a rehearsal of memory, at every stage and with offload."""
    for name, settings in {
        **{str(stage): {"engine__zero_stage": stage} for stage in STAGES},
        "offload": {"engine__zero_stage": 2, "engine__offload": True},
    }.items():
        for check in ("always", "never"):
            task = ToyTask(micro=VARYING, dropout=0.3)
            run = folder / name / check
            train_toy(run, task, world, train__steps=4, engine__memory_check=check, **settings)


def spikes(folder: Path, world: World) -> None:
    """A step whose loss stands out because of rank 1, in a run that is whole and in one that is stopped before it."""
    settings = {"train__steps": 26, "train__validate_every": 26, "train__checkpoint_every": 50}
    train_toy(folder / "whole", ToyTask(outliers={24: 1}), world, **settings)
    stopped = ToyTask()
    send_signal_in_step(stopped, 22, signal.SIGUSR1)
    how_it_ends(lambda: train_toy(folder / "cut", stopped, world, **settings))
    train_toy(folder / "cut", ToyTask(outliers={24: 1}), world, **settings)
    calm = {**settings, "log__spike_factor": None}
    train_toy(folder / "unwatched", ToyTask(outliers={24: 1}), world, **calm)


def different_metrics(folder: Path, world: World) -> None:
    """Each rank draws another dataset in every step and has a metric of that name; rank 1 has none in the last."""
    task = ToyTask()
    forward, drawn, first = task.model.forward, [""], task.micro_batches

    def micro_batches(step: int, world: World) -> Sequence[ToyBatch]:
        drawn[0] = "" if (step, world.rank) == (2, 1) else "swe" if (step + world.rank) % 2 else "cns"
        return first(step, world)

    def named(batch: dict[str, torch.Tensor]) -> Any:
        loss, metrics = forward(batch)
        own = torch.full((4,), float(world.rank + 1))
        return loss, {**metrics, **({drawn[0]: own} if drawn[0] else {})}

    task.micro_batches = micro_batches  # type: ignore[method-assign]
    task.model.forward = named  # type: ignore[method-assign]
    train_toy(folder / "run", task, world, train__steps=3, train__validate_every=3, workers=0)


def uneven_parts(folder: Path, world: World) -> None:
    """From step 3 on, rank 1 has another number of micro-batches, too few samples, none, or weights that lose some."""

    class Uneven(ToyTask):
        def __init__(self, change: Callable[[list[ToyBatch]], list[ToyBatch]]) -> None:
            super().__init__()
            self.change = change

        def micro_batches(self, step: int, world: World) -> list[ToyBatch]:
            own = list(super().micro_batches(step, world))
            return self.change(own) if step >= 2 and world.rank == 1 else own

    def part(batch: ToyBatch, first: int, count: int, weight: float) -> ToyBatch:
        return ToyBatch(batch.seed, batch.step, batch.first + first, count, weight)

    changes: dict[str, Callable[[list[ToyBatch]], list[ToyBatch]]] = {
        "more": lambda own: [part(own[0], 0, 2, 0.5), part(own[0], 2, 2, 0.5)],
        "fewer_samples": lambda own: [part(own[0], 0, 3, 1.0)],
        "none": lambda own: own[:0],
        "lost": lambda own: [part(own[0], 0, 4, 0.75)],
    }
    ends = {
        name: how_it_ends(lambda name=name, change=change: train_toy(folder / name, Uneven(change), world))
        for name, change in changes.items()
    }
    (folder / f"ends-{world.rank}.json").write_text(json.dumps(ends))


def tiny(folder: Path, world: World) -> None:
    """One sample for each rank and step."""
    train_toy(folder / "run", ToyTask(global_batch=world.size), world, train__steps=3, train__micro_batch_size=1)


def how_it_ends(action: Callable[[], object]) -> str:
    try:
        action()
    except PolycliError as error:
        return f"{type(error).__name__}: {error.message}"
    return "nothing"


def main(folder: Path) -> None:
    import_everything()

    def done(size: int, action: Callable[[Path, World], None], place: Path) -> bool:
        place.mkdir(parents=True)
        return in_a_world(size, lambda world: action(place, world))

    report = {f"same_batches/{size}": done(size, same_batches, folder / f"batches/{size}") for size in (1, 2, 4)}
    for action in (averages, rehearsals, spikes, different_metrics, uneven_parts, tiny):
        report[action.__name__] = done(2, action, folder / action.__name__)
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
