"""`polycli pretrain linefit`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from linefit.recipes import PretrainRecipe
from polycli.engine.batches.order import shuffled
from polycli.engine.task import Batch, Task, World
from polycli.requests import JsonDocument, TrainRequest
from polycli.store.overlap import pack_hashes
from polycli.store.reader import Store
from polycli.workflow.train import Training, read_training_recipe, run_training


def run(request: TrainRequest) -> JsonDocument:
    return run_training(request, TRAINING, read_training_recipe(request, TRAINING))


class Line(nn.Module):
    """A weighted sum, and its squared error."""

    def __init__(self, columns: int, *, bias: bool) -> None:
        super().__init__()
        self.sum = nn.Linear(columns, 1, bias=bias)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        errors = (self.sum(batch["x"]).squeeze(-1).float() - batch["y"]).square()
        return errors.mean(), {"error": errors.detach().sqrt()}


@dataclass(frozen=True)
class PointBatch:
    """Some rows of a store."""

    store: Store
    rows: np.ndarray
    weight: float = 1.0

    @property
    def samples(self) -> tuple[str, ...]:
        return tuple(f"{self.store.name}/{row}" for row in self.rows.tolist())

    def load(self) -> Batch:
        return {name: torch.from_numpy(self.store.read(name)[self.rows]) for name in ("x", "y")}


class LineTask(Task):
    """The line through the points of one store."""

    family, verb = "linefit", "pretrain"

    def __init__(self, recipe: PretrainRecipe, stores: Sequence[Store], world: World) -> None:
        (self.store,) = stores
        self.recipe = recipe
        torch.manual_seed(recipe.train.seed)
        self.line = Line(self.store.read("x").shape[1], bias=recipe.model.bias)
        self.model: nn.Module = self.line

    def micro_batches(self, step: int, world: World) -> list[PointBatch]:
        rows, train = self.store.rows("train"), self.recipe.train
        share = train.global_batch_size // world.size
        first = step * train.global_batch_size + world.rank * share
        chosen = shuffled(np.arange(first, first + share), len(rows), "points", train.seed)
        return [PointBatch(self.store, rows[chosen])]

    def validate(self, forward: nn.Module, world: World) -> dict[str, float]:
        loss, _ = forward(PointBatch(self.store, self.store.rows("validation")).load())
        return {"validation/loss": float(loss)}

    def exported(self) -> nn.Module:
        return self.line

    def description(self) -> dict[str, Any]:
        rows = pack_hashes(self.store.row_hashes()[self.store.rows("train")])
        trained_on = {self.store.name: {"store_hash": self.store.manifest.store_hash, "rows": rows}}
        return {"model": self.recipe.model.model_dump(mode="json"), "trained_on": trained_on}

    def data_summary(self) -> dict[str, Any]:
        store = self.store
        return {store.name: {"path": str(store.path.resolve()), "store_hash": store.manifest.store_hash}}

    def flops_per_step(self) -> float:
        return 1.0


TRAINING: Training[PretrainRecipe] = Training(family="linefit", verb="pretrain", make_task=LineTask)
