"""Stores to batches: windows of several datasets, mixed in an order that is a pure function of (seed, step).

A step takes `data.draws_per_step` draws. A draw is one dataset, chosen by weight, and an equal part of the global batch
in windows of that dataset. All ranks share every draw, each its slice, so that they meet grids of equal cost at equal
places. What is drawn never depends on the number of ranks or of readers: see `polycli.engine.batches.order`. Nor does
it depend on `data.mixed_micro_batches`, which cuts a rank's slices of all draws of a step together into micro-batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polycli.engine.batches.order import DrawSchedule, shuffled
from polycli.engine.batches.plan import check_division
from polycli.engine.task import World
from polycli.errors import RecipeError, StoreError
from polycli.mpp.data.mixed import MixedBatch, costliest, mixed_batches
from polycli.mpp.data.windows import WindowBatch, Windows, find_windows
from polycli.mpp.recipe.training import ModelSection, PretrainRecipe
from polycli.mpp.training.described import HeldBack, StoreUse, WindowCount
from polycli.store.reader import Store

#: Finds the windows of a store's split; a task that asks about trajectories finds them with the answers.
WindowFinder: TypeAlias = Callable[[Store, Literal["train", "validation"], PretrainRecipe], Windows]


@dataclass(frozen=True)
class ValidationPart:
    """One rank's share of the validation windows of one dataset.

    Chunk c of a dataset's windows goes to rank c modulo the number of ranks, the last chunks filled up with repeats, so
    that all ranks call forward equally often. Of all ranks' chunks in turn, the first `count` windows are real.
    """

    dataset: str
    batches: tuple[WindowBatch, ...]
    count: int


class MixtureBatches:
    """The order of training, and the fixed windows of validation, over several stores."""

    def __init__(self, stores: Sequence[Store], recipe: PretrainRecipe, find: WindowFinder = find_windows) -> None:
        """Raise RecipeError or StoreError, naming store, found and expected, where recipe and stores do not fit."""
        stores = sorted(stores, key=lambda store: store.name)  # the order of --data must not matter
        self.names = tuple(store.name for store in stores)
        _refuse_unknown("data.weights", recipe.data.weights, self.names)
        _refuse_unknown("data.micro_batch_size", recipe.data.micro_batch_size, self.names)
        self.data, self.train, self._vocabulary = recipe.data, recipe.train, recipe.model.fields
        self.training = {store.name: find(store, "train", recipe) for store in stores}
        #: By dataset and time stride, where strides are drawn at random.
        self._strided = {
            (store.name, stride): find(store, "train", with_stride(recipe, stride))
            for store in stores
            for stride in (recipe.data.strides if len(recipe.data.strides) > 1 else ())
        }
        if recipe.data.mixed_micro_batches:
            _refuse_single_tokens(recipe, self.training.values())
        self.held_back = {store.name: find(store, "validation", recipe) for store in stores}
        weights = [recipe.data.weights.get(name, 1.0) for name in self.names]
        #: The part of the draws that each dataset gets.
        self.shares = {name: weight / sum(weights) for name, weight in zip(self.names, weights, strict=True)}
        self._schedule = DrawSchedule(weights, recipe.train.seed)

    def micro_batch_size(self, dataset: str) -> int:
        """Windows per forward pass of one rank."""
        return self.data.micro_batch_size.get(dataset, self.train.micro_batch_size)

    def check_division(self, world_size: int) -> None:
        """Raise RecipeError where the global batch cannot be shared out to this many ranks."""
        check_division(
            self.train.global_batch_size,
            self.data.draws_per_step,
            world_size,
            [self.micro_batch_size(name) for name in self.names],
            draws_key="data.draws_per_step",
            mixed=self.data.mixed_micro_batches,
        )

    def draws(self, step: int) -> list[tuple[Windows, NDArray[np.int64]]]:
        """The global batch of a step: windows of a dataset, and which of them, of each draw.

        A pure function of (seed, step). Where strides are random, a draw has one of its own.
        """
        size = self.train.global_batch_size // self.data.draws_per_step
        draws = []
        for draw in range(step * self.data.draws_per_step, (step + 1) * self.data.draws_per_step):
            dataset, earlier = self._schedule[draw]
            name = self.names[dataset]
            # The schedule knows how many windows of this dataset were taken before, so the next ones go on from there
            # and every window is seen once before any is seen twice, with no counter to save.
            positions = earlier * size + np.arange(size, dtype=np.int64)
            windows = self._drawn_windows(name, draw)
            draws.append((windows, shuffled(positions, len(windows), self.train.seed, name)))
        return draws

    def _drawn_windows(self, name: str, draw: int) -> Windows:
        if not self._strided:
            return self.training[name]
        strides = self.data.strides
        chosen = int(np.random.default_rng([self.train.seed, draw]).integers(len(strides)))
        return self._strided[name, strides[chosen]]

    def micro_batches(self, step: int, world: World) -> list[WindowBatch] | list[MixedBatch]:
        """One rank's slices of the draws of a step, in micro-batches."""
        share = self.train.global_batch_size // world.size
        slices = [(windows, numbers.reshape(world.size, -1)[world.rank]) for windows, numbers in self.draws(step)]
        if self.data.mixed_micro_batches:
            size = self.train.micro_batch_size
            return mixed_batches(slices, size, size / share)
        batches = []
        for windows, numbers in slices:
            size = self.micro_batch_size(windows.store.name)
            batches += [WindowBatch(windows, chunk, size / share) for chunk in numbers.reshape(-1, size)]
        return batches

    def costliest(self) -> list[WindowBatch] | list[MixedBatch]:
        """A micro-batch of each dataset, or of those that are largest together; as large as any that training meets."""
        if self.data.mixed_micro_batches:
            return costliest([*self.training.values()], self.train.micro_batch_size)
        return [
            WindowBatch(windows, np.arange(self.micro_batch_size(name)) % len(windows), 1.0)
            for name, windows in self.training.items()
        ]

    def validation(self, world: World) -> list[ValidationPart]:
        """This rank's part of the validation windows, which never change; nothing of a store without such rows."""
        parts = []
        for name, windows in self.held_back.items():
            numbers = windows.spread(self.data.validation_windows)
            if len(numbers) == 0:
                continue
            size = min(self.micro_batch_size(name), len(numbers))
            turns = math.ceil(len(numbers) / (size * world.size))
            padded = np.resize(numbers, turns * world.size * size).reshape(turns, world.size, size)
            batches = tuple(WindowBatch(windows, chunk, 1.0) for chunk in padded[:, world.rank])
            parts.append(ValidationPart(name, batches, len(numbers)))
        return parts

    def summary(self) -> dict[str, StoreUse]:
        """Describes each store and how much of it is used, as data.json has it."""
        return {
            name: StoreUse(
                path=str(windows.store.path.resolve()),
                store_hash=windows.store.manifest.store_hash,
                share=self.shares[name],
                fields=[self._vocabulary[label] for label in windows.labels],
                grid=list(windows.grid),
                training=WindowCount(trajectories=len(windows.rows), windows=len(windows)),
                validation=HeldBack(
                    split="validation" if windows.store.manifest.splits.get("validation") else "test",
                    trajectories=len(self.held_back[name].rows),
                    windows=min(self.data.validation_windows, len(self.held_back[name])),
                ),
            )
            for name, windows in self.training.items()
        }


def _refuse_single_tokens(recipe: PretrainRecipe, training: Iterable[Windows]) -> None:
    assert isinstance(recipe.model, ModelSection)  # noqa: S101  # as the recipe was checked for
    patch_size = recipe.model.patch_size
    for windows in training:
        if max(windows.grid) <= patch_size:
            raise StoreError(
                f"{windows.store.path}: a grid of {windows.grid[0]} x {windows.grid[1]} is a single patch of "
                f"{patch_size} x {patch_size} points, which data.mixed_micro_batches cannot mix with other grids",
                hint="train without data.mixed_micro_batches, or with a smaller model.patch_size",
            )


def with_stride(recipe: PretrainRecipe, stride: int) -> PretrainRecipe:
    """The recipe with another time stride."""
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"time_stride": stride})})


def _refuse_unknown(key: str, given: Iterable[str], names: Sequence[str]) -> None:
    unknown = [name for name in given if name not in names]
    if unknown:
        near = [match for name in unknown for match in get_close_matches(name, names, n=1)]
        raise RecipeError(
            f"{key} names {', '.join(repr(name) for name in unknown)}, but the datasets are {', '.join(names)}",
            hint=f"did you mean {', '.join(near)}?" if near else None,
        )
