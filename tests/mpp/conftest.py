"""Small stores of smooth fields that drift, made without a solver."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from polycli.mpp.recipe.physics import PdeDescription
from polycli.store.builder import ArrayLayout, StoreBuilder
from polycli.store.manifest import Split
from polycli.store.statistics import RunningStatistics

#: Fields by physics, as the published vocabulary has them.
FIELDS = {
    "shallow_water": ("shallow_water.height",),
    "diffusion_reaction": ("diffusion_reaction.activator", "diffusion_reaction.inhibitor"),
    "incompressible_ns": (
        "incompressible_ns.velocity_x",
        "incompressible_ns.velocity_y",
        "incompressible_ns.tracer",
    ),
}


def drifting_waves(
    rows: int, frames: int, fields: int, grid: tuple[int, int], seed: int, periodic: bool = True
) -> np.ndarray:
    """(rows, frames, fields, H, W) float32: sums of a few waves, each drifting at a speed of its own."""
    generator = np.random.default_rng(seed)
    x, y = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in grid), indexing="ij")
    time = np.arange(frames)[:, None, None, None]
    result = np.zeros((rows, frames, fields, *grid))
    for row in range(rows):
        for _ in range(3):
            wave = generator.integers(1, 3, size=2) if periodic else generator.uniform(0.5, 2.0, size=2)
            phase, speed, size = generator.uniform(0, 6, fields), generator.uniform(0.2, 0.5), generator.uniform(0.3, 1)
            place = wave[0] * x + wave[1] * y
            result[row] += size * np.sin(place + phase[:, None, None] - speed * time)
    return result.astype(np.float32)


def make_store(
    folder: Path,
    name: str,
    *,
    physics: str = "shallow_water",
    splits: Sequence[Split] = ("train",) * 4 + ("validation", "test"),
    frames: int = 12,
    grid: tuple[int, int] = (16, 16),
    fields: Sequence[str] | None = None,
    boundary: str = "periodic",
    seed: int = 0,
    parameters: Sequence[str] = ("number",),
) -> Path:
    """Write the store `folder/name.zarr`, one trajectory for each entry of `splits`."""
    names = tuple(fields or FIELDS[physics])
    params = np.repeat(np.arange(len(splits), dtype=np.float64)[:, None], len(parameters), axis=1)
    data = drifting_waves(len(splits), frames, len(names), grid, seed, periodic=boundary == "periodic")
    about = PdeDescription(
        physics=physics,
        fields=names,
        units=("1",) * len(names),
        dt=0.1,
        grid=grid,
        extent=((0.0, 1.0), (0.0, 1.0)),
        boundary_conditions={"x": boundary, "y": boundary},
        parameter_names=tuple(parameters),
        constants={},
    )
    builder = StoreBuilder(folder / f"{name}.zarr", fingerprint=f"{name}-{seed}")
    layout = ArrayLayout.of_trajectories("fields", ("trajectory", "time", "field", "x", "y"), data.shape[1:])
    statistics = []
    for row, values in enumerate(data):
        builder.stage(f"{row:04d}", layout, [values])
        sums = RunningStatistics(names)
        sums.update(values)
        statistics.append(sums.as_dict())
    return builder.publish(
        [f"{row:04d}" for row in range(len(splits))],
        {"params": params, "time": 0.1 * np.arange(frames)},
        family="mpp",
        name=name,
        row_ids=[f"{row:04d}" for row in range(len(splits))],
        row_splits=list(splits),
        split_rule="given by the test",
        statistics={
            "fields": RunningStatistics.merge(
                [s for s, split in zip(statistics, splits, strict=True) if split == "train"]
            )
        },
        about=about.model_dump(mode="json"),
    )


@pytest.fixture
def store_factory(tmp_path):
    """Write a store below `tmp_path/stores`: `store_factory("swe", physics="shallow_water", ...)` gives its path."""

    def factory(name: str, **options) -> Path:
        return make_store(tmp_path / "stores", name, **options)

    return factory
