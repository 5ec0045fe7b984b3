"""A training of MPP before it starts, for `--dry-run`: by dataset of the mixture, or for assumed fields on a grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polycli.console import counted
from polycli.mpp.data.windows import find_windows
from polycli.mpp.model.kinds import parameter_count
from polycli.mpp.recipe.networks import NetworkSection, VitSection
from polycli.mpp.recipe.training import PATCH_SIZES, ModelSection, PretrainRecipe
from polycli.mpp.training.batches import MixtureBatches, WindowFinder
from polycli.mpp.training.conditions import with_parameters
from polycli.mpp.training.costs import activation_bytes, grid_computed_on, step_flops
from polycli.mpp.training.described import HeldBack, StoreUse, WindowCount
from polycli.store.reader import Store
from polycli.workflow.sketch import Batches, Sketch, Words

#: What is assumed of the data where none is given: PDEBench's compressible flow.
ASSUMED_CHANNELS, ASSUMED_GRID = 4, (128, 128)
#: The name of what is assumed.
_ANY = "any"


@dataclass(frozen=True)
class _Case:
    """The sizes of one dataset, or those that are assumed, as far as cost depends on them."""

    name: str
    channels: int
    grid: tuple[int, int]
    micro_batch_size: int
    share: float


def sketch(recipe: PretrainRecipe, stores: Sequence[Store], find: WindowFinder = find_windows) -> Sketch:
    """Sketch a training on stores, or on assumed data where there are none.

    Raises:
        StoreError: recipe and stores do not fit each other.
    """
    recipe = with_parameters(recipe.complete(), stores) if stores else recipe.complete()
    cases = [_Case(_ANY, ASSUMED_CHANNELS, ASSUMED_GRID, recipe.train.micro_batch_size, 1.0)]
    data: dict[str, StoreUse] = {}
    if stores:
        batches = MixtureBatches(stores, recipe, find)
        data = batches.summary()
        cases = [
            _Case(
                name,
                len(windows.labels),
                grid_computed_on(recipe.model, windows.grid, windows.boundary_flags),
                batches.micro_batch_size(name),
                batches.shares[name],
            )
            for name, windows in batches.training.items()
        ]
    passes = [_mixed(cases, recipe.train.micro_batch_size)] if recipe.data.mixed_micro_batches else cases
    draws = recipe.data.draws_per_step
    assumed = f"none given; {ASSUMED_CHANNELS} fields of {ASSUMED_GRID[0]} x {ASSUMED_GRID[1]} assumed"
    return Sketch(
        recipe=recipe,
        parameters=parameter_count(recipe.model),
        flops_per_step=step_flops(recipe, [(case.share, case.channels, case.grid) for case in cases]),
        micro_batch_size={case.name: case.micro_batch_size for case in passes},
        draws=draws,
        mixed=recipe.data.mixed_micro_batches,
        activations=max(
            activation_bytes(recipe, case.channels, case.grid, case.micro_batch_size) for case in _costliest(passes)
        ),
        data=data,
        assumed=None if stores else {"channels": ASSUMED_CHANNELS, "grid": list(ASSUMED_GRID)},
        more_of_batch={"draws_per_step": draws},
        words=Words(
            batch=lambda shared: _batch_sentence(shared, draws, mixed=recipe.data.mixed_micro_batches),
            assumed=None if stores else assumed,
            data={name: _data_sentence(use) + patches(recipe.model, use.grid) for name, use in data.items()},
        ),
    )


def _mixed(cases: Sequence[_Case], micro_batch_size: int) -> _Case:
    """The largest pass that mixes datasets: it is padded to the most fields and the longest axes."""
    height, width = (max(case.grid[axis] for case in cases) for axis in (0, 1))
    return _Case(_ANY, max(case.channels for case in cases), (height, width), micro_batch_size, 1.0)


def _costliest(cases: Sequence[_Case]) -> list[_Case]:
    """Returns the cases that no other one reaches in every size: a pass that costs less need not be run to know it."""
    sizes = {(case.channels, *case.grid, case.micro_batch_size): case for case in cases}
    return [
        case
        for size, case in sizes.items()
        if not any(
            other != size and all(more >= less for more, less in zip(other, size, strict=True)) for other in sizes
        )
    ]


def _batch_sentence(batches: Batches, draws: int, *, mixed: bool) -> str:
    sizes, turns = batches.micro_batch_size, batches.accumulation
    assert isinstance(sizes, Mapping)  # noqa: S101  # as `sketch` gives them
    assert isinstance(turns, Mapping)  # noqa: S101
    parts = [f"{turns[name]} x {size}" + ("" if name == _ANY else f" ({name})") for name, size in sizes.items()]
    alone = batches.samples_per_process == batches.global_batch_size
    return (
        f"{counted(batches.global_batch_size, 'sample', 'samples')} of {counted(draws, 'draw', 'draws')}, "
        f"{batches.samples_per_process} on {'the' if alone else 'each'} process, as micro-batches {', '.join(parts)}"
        + (" of several datasets" if mixed else "")
    )


def _data_sentence(use: StoreUse) -> str:
    return (
        f"{_windows(use.training)}, {use.share:.0%} of draws; validates on {_windows(use.validation)} "
        f"({use.validation.split}); {counted(len(use.fields), 'field', 'fields')} of {use.grid[0]} x {use.grid[1]}"
    )


def patches(section: NetworkSection, grid: Sequence[int]) -> str:
    """Says how the patches of a transformer lie on a grid, and which sizes leave no points to be made up; else ""."""
    if not isinstance(section, ModelSection | VitSection):
        return ""
    size = section.patch_size
    laid = [math.ceil(points / size) * size for points in grid]
    tokens = f", {laid[0] // size} x {laid[1] // size} patches of {size}"
    if laid == list(grid):
        return tokens
    allowed = PATCH_SIZES if isinstance(section, ModelSection) else range(4, size)
    whole = [str(fits) for fits in allowed if all(points % fits == 0 for points in grid)]
    fitting = f"; model.patch_size {' or '.join(whole)} fits as it is" if whole else ""
    return f"{tokens} after the axes are lengthened to {laid[0]} x {laid[1]} by their boundaries{fitting}"


def _windows(part: WindowCount | HeldBack) -> str:
    trajectories = counted(part.trajectories, "trajectory", "trajectories")
    return f"{counted(part.windows, 'window', 'windows')} of {trajectories}"
