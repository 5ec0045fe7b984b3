"""Small stores of smooth fields that drift, made without a solver."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from polycli.mpp import finetune, pretrain
from polycli.mpp.recipe.physics import PdeDescription
from polycli.requests import TrainRequest
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
    params: np.ndarray | None = None,
    data: np.ndarray | None = None,
    constants: Mapping[str, float] | None = None,
) -> Path:
    """Write the store `folder/name.zarr`, one trajectory for each entry of `splits`; `data` are its own fields."""
    names = tuple(fields or FIELDS[physics])
    if params is None:
        params = np.repeat(np.arange(len(splits), dtype=np.float64)[:, None], len(parameters), axis=1)
    if data is None:
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
        constants=dict(constants or {}),
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


def waves_at_speed(speeds: np.ndarray, frames: int, grid: int, seed: int) -> np.ndarray:
    """(row, frame, 1, grid, grid) float32: one wave along x for each speed, which it moves by from frame to frame."""
    generator = np.random.default_rng(seed)
    x = 2 * np.pi * np.arange(grid) / grid
    phases = generator.uniform(0, 2 * np.pi, len(speeds))
    time = np.arange(frames)
    angle = x - speeds[:, None, None] * time[:, None] + phases[:, None, None]
    return np.repeat(np.sin(angle)[:, :, None, :, None], grid, axis=4).astype(np.float32)


@pytest.fixture
def wave_store(store_factory):
    """Write a store of waves whose speed is a parameter: `wave_store("waves", splits, unknown=[3])` gives its path.

    A second name among `names` is a parameter of no effect, between 1e-3 and 1.
    """

    def factory(
        name: str,
        splits: Sequence[Split],
        *,
        seed: int = 0,
        names: Sequence[str] = ("speed",),
        unknown: Collection[int] = (),
        constants: Mapping[str, float] | None = None,
    ) -> Path:
        generator = np.random.default_rng(seed)
        speeds = generator.uniform(0.2, 1.2, len(splits))
        columns = np.stack([speeds, 10 ** generator.uniform(-3, 0, len(splits))], axis=1)[:, : len(names)]
        columns[list(unknown)] = np.nan
        return store_factory(
            name,
            splits=splits,
            fields=["wave.height"],
            parameters=tuple(names),
            params=columns,
            data=waves_at_speed(speeds, 8, 16, seed),
            frames=8,
            constants=constants,
        )

    return factory


_PRETRAIN = """
family: mpp
verb: pretrain
model: {fields: [wave.height], embed_dim: 16, num_heads: 2, blocks: 1, patch_size: 4, layer_scale: 0.1, drop_path: 0.2}
data: {history: 2, validation_windows: 4, workers: 0}
train: {steps: 1, global_batch_size: 2, micro_batch_size: 2, validate_every: 1, checkpoint_every: 1}
"""
_REGRESSION = """
family: mpp
verb: finetune
head: {kind: regression, targets: [speed], hidden: [16]}
data: {validation_windows: 32, workers: 0}
optim: {learning_rate: 1.0e-2}
train: {steps: 60, global_batch_size: 8, micro_batch_size: 8, validate_every: 30, checkpoint_every: 60}
"""


@pytest.fixture
def wave_checkpoint(tmp_path, wave_store):
    """A run that was pretrained for one step on two waves."""
    (tmp_path / "base.yaml").write_text(_PRETRAIN, encoding="utf-8")
    store = wave_store("other", ["train", "test"], seed=9)
    pretrain.run(TrainRequest(recipe=str(tmp_path / "base.yaml"), data=(store,), output=tmp_path / "base"))
    return tmp_path / "base"


@pytest.fixture
def tune(tmp_path, wave_checkpoint):
    """Finetune on stores to predict the speed of waves: `tune(store, output="run", overrides=...)`."""
    (tmp_path / "regression.yaml").write_text(_REGRESSION, encoding="utf-8")

    def run(*stores, output="run", overrides=(), **options):
        request = TrainRequest(
            recipe=str(tmp_path / "regression.yaml"),
            checkpoint=options.pop("checkpoint", wave_checkpoint),
            data=stores,
            output=tmp_path / output,
            overrides=overrides,
            **options,
        )
        return finetune.run(request)

    return run
