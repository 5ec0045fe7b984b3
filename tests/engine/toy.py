"""A task small enough to train in milliseconds: a regression whose batches are a pure function of (seed, step)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polycli.engine.run import Run
from polycli.engine.task import Task
from polycli.engine.train import TrainOutcome, train
from polycli.launch import World
from polycli.sections import EngineSection, LogSection, OptimSection, ScheduleSection, TrainSection

INPUTS, HIDDEN, OUTPUTS = 16, 32, 4


class Linear(nn.Linear):
    """A block of its own: what is torch's own alone, torch.compile takes for none of the user's code and skips."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class LayerNorm(nn.LayerNorm):
    """Likewise."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Dropout(nn.Dropout):
    """Likewise."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Network(nn.Module):
    """x -> y with a normalisation, and dropout on request."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = Linear(INPUTS, HIDDEN)
        self.norm = LayerNorm(HIDDEN)
        self.dropout = Dropout(dropout)
        self.last = Linear(HIDDEN, OUTPUTS)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        hidden = self.norm(torch.tanh(self.first(batch["x"])))
        prediction = self.last(self.dropout(hidden)).float()
        errors = (prediction - batch["y"]).square().mean(dim=1)
        return errors.mean(), {"error": errors.detach().sqrt()}


@dataclass(frozen=True)
class ToyBatch:
    """Rows `first` to `first + count` of one step's global batch."""

    seed: int
    step: int
    first: int
    count: int
    weight: float
    #: What the targets are multiplied by: 1, unless this batch is to stand out.
    factor: float = 1.0

    @property
    def samples(self) -> tuple[str, ...]:
        return tuple(f"toy/{self.step}@{self.first + row}" for row in range(self.count))

    def load(self) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1000 * self.seed + self.step)
        x = torch.randn(64, INPUTS, generator=generator)[self.first : self.first + self.count]
        y = x[:, :OUTPUTS] * x[:, OUTPUTS : 2 * OUTPUTS]
        return {"x": x, "y": y * self.factor}


@dataclass
class ToyTask(Task):
    """`micro` says how many rows a rank's micro-batches have, by step modulo its length; one micro-batch if empty."""

    global_batch: int = 8
    micro: tuple[tuple[int, ...], ...] = ()
    seed: int = 0
    dropout: float = 0.0
    poison: dict[int, int] = field(default_factory=dict)  # step -> rank
    outliers: dict[int, int] = field(default_factory=dict)  # step -> rank
    family: str = "toy"
    verb: str = "pretrain"

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        self.model: nn.Module = Network(self.dropout)

    def micro_batches(self, step: int, world: World) -> Sequence[ToyBatch]:
        share = self.global_batch // world.size
        rows = self.micro[step % len(self.micro)] if self.micro else (share,)
        first, batches = world.rank * share, []
        assert sum(rows) == share
        for index, count in enumerate(rows):
            bad = self.poison.get(step) == world.rank and index == len(rows) - 1
            factor = torch.nan if bad else 1000.0 if self.outliers.get(step) == world.rank else 1.0
            batches.append(ToyBatch(self.seed, step, first, count, count / share, factor))
            first += count
        return batches

    def validate(self, forward: nn.Module, world: World) -> dict[str, float]:
        loss, _ = forward(ToyBatch(self.seed + 1, 0, 0, 32, 1.0).load())
        return {"validation/loss": float(loss)}

    def blocks(self) -> Sequence[nn.Module]:
        return tuple(self.model.children())

    def exported(self) -> nn.Module:
        return self.model

    def description(self) -> dict[str, Any]:
        return {"model": {"hidden": HIDDEN}, "trained_on": {}}

    def flops_per_step(self) -> float:
        return 1e6


def train_toy(path: Path, task: ToyTask, world: World, **settings: Any) -> TrainOutcome:
    """Train with `section.key` settings, given as `section__key`."""
    sections: dict[str, dict[str, Any]] = {name: {} for name in ("optim", "schedule", "train", "engine", "log")}
    sections["train"] = {
        "steps": 10,
        "validate_every": 5,
        "checkpoint_every": 5,
        "global_batch_size": task.global_batch,
    }
    sections["train"]["micro_batch_size"] = 4
    sections["engine"] = {"zero_stage": 0}
    sections["log"] = {"every": 1}
    resume, workers = settings.pop("resume", "auto"), settings.pop("workers", 0)
    for name, value in settings.items():
        section, key = name.split("__")
        sections[section][key] = value
    run = Run.create_or_resume(path, "family: toy\nverb: pretrain\n", resume=resume, world=world)
    return train(
        task,
        optim=OptimSection(**sections["optim"]),
        schedule=ScheduleSection(**sections["schedule"]),
        train=TrainSection(**sections["train"]),
        engine=EngineSection(**sections["engine"]),
        log=LogSection(**sections["log"]),
        run=run,
        world=world,
        workers=workers,
    )


def send_signal_in_step(task: Any, step: int, number: int) -> None:
    """Have this process receive a signal while step `step`, counted from 1, is computed."""
    forward = task.model.forward
    first = task.micro_batches

    def micro_batches(index: int, world: World) -> Any:
        batches = first(index, world)
        if index == step - 1:
            task.model.forward = lambda batch: (os.kill(os.getpid(), number), forward(batch))[1]
        return batches

    task.micro_batches = micro_batches
