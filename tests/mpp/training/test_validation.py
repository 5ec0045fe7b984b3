"""Scores of a model whose errors are known, on any number of ranks."""

import numpy as np
import pytest
from torch import nn

from polycli.engine.task import World
from polycli.mpp.model.metrics import nrmse, vrmse
from polycli.mpp.recipe.training import PretrainRecipe
from polycli.mpp.training import validation
from polycli.mpp.training.batches import MixtureBatches
from polycli.store.reader import open_store

RECIPE = PretrainRecipe.model_validate(
    {
        "family": "mpp",
        "verb": "pretrain",
        "model": {"embed_dim": 16, "num_heads": 2, "blocks": 1, "patch_size": 4},
        "data": {"history": 3, "validation_windows": 5},
        "train": {"steps": 1, "global_batch_size": 12, "micro_batch_size": 2},
    }
)


class HalfWay(nn.Module):
    """Predicts the change with half its size: half of persistence's error, whatever the data."""

    def forward(self, batch):
        last, target = batch["fields"][:, -2], batch["fields"][:, -1]
        prediction = (last + target) / 2
        return None, {
            "nrmse": nrmse(prediction, target).mean(dim=-1),
            "vrmse": vrmse(prediction, target).mean(dim=-1),
        }


@pytest.fixture
def batches(store_factory):
    names = {"swe": "shallow_water", "reaction": "diffusion_reaction"}
    return MixtureBatches([open_store(store_factory(n, physics=p, seed=len(n))) for n, p in names.items()], RECIPE)


def on_ranks(batches, size, monkeypatch):
    """What every rank returns when `size` of them validate together."""
    rows = {}

    def record(world, value):
        rows.setdefault(world.rank, []).append(value)
        return [value] * size

    monkeypatch.setattr(validation, "gather", record)
    for rank in range(size):
        world = World(rank, size)
        validation.validate(HalfWay(), batches.validation(world), world)
    results = []
    for rank in range(size):
        calls = iter(zip(*(rows[r] for r in range(size)), strict=True))
        monkeypatch.setattr(validation, "gather", lambda world, value, calls=calls: list(next(calls)))
        world = World(rank, size)
        results.append(validation.validate(HalfWay(), batches.validation(world), world))
    return results


def test_a_model_half_as_wrong_as_persistence_scores_one_half(batches):
    scores = validation.validate(HalfWay(), batches.validation(World()), World())

    assert scores["validation/loss"] == pytest.approx(0.5, rel=1e-5)
    assert scores["validation/swe/nrmse_over_persistence"] == pytest.approx(0.5, rel=1e-5)


def test_an_error_is_the_mean_over_the_windows_and_fields(batches):
    fields = batches.held_back["reaction"].store.read("fields")[4].astype(np.float64)  # the row that validates
    starts = [0, 2, 4, 6, 8]  # 5 of its 9 windows of 3 + 1 frames, evenly spread
    target = np.stack([fields[start + 3] for start in starts])
    error = np.stack([(fields[start + 3] - fields[start + 2]) / 2 for start in starts])
    square, variance = (target**2).mean(axis=(-2, -1)), target.var(axis=(-2, -1), ddof=1)

    scores = validation.validate(HalfWay(), batches.validation(World()), World())

    mean_square = (error**2).mean(axis=(-2, -1))
    assert scores["validation/reaction/nrmse"] == pytest.approx(np.sqrt(mean_square / square).mean(), rel=1e-4)
    assert scores["validation/reaction/vrmse"] == pytest.approx(np.sqrt(mean_square / variance).mean(), rel=1e-4)


@pytest.mark.parametrize("size", [2, 3])
def test_every_rank_finds_what_one_rank_alone_finds(batches, size, monkeypatch):
    alone = validation.validate(HalfWay(), batches.validation(World()), World())

    assert on_ranks(batches, size, monkeypatch) == [alone] * size


def test_nothing_to_validate_on_gives_no_scores():
    assert validation.validate(HalfWay(), [], World()) == {}
