"""Small stores with known content."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from polycli.store.builder import StoreBuilder
from polycli.store.layout import ArrayLayout

FRAME = (2, 16, 12)
DIMS = ("trajectory", "time", "field", "x", "y")


def trajectory(number: int, frames: int = 21) -> np.ndarray:
    """(time, field, x, y) float32, different for every number."""
    return np.random.default_rng(number).standard_normal((frames, *FRAME)).astype(np.float32)


def stage(builder: StoreBuilder, key: str, values: np.ndarray, *, layout: ArrayLayout | None = None, cut: int = 5):
    """Stage and finish one row in blocks of `cut` frames."""
    layout = layout or ArrayLayout.of_trajectories("fields", DIMS, values.shape)
    staged = builder.stage(key, layout, (values[start : start + cut] for start in range(0, len(values), cut)))
    builder.finish(key, {"hash": staged.hash})
    return staged


def publish(builder: StoreBuilder, keys: list[str], **changes: object) -> Path:
    """Publish rows with plain metadata."""
    splits = ["train"] * (len(keys) - 1) + ["test"]
    fields = {
        "family": "mpp",
        "name": "waves",
        "row_ids": keys,
        "row_splits": splits,
        "split_rule": "the last row tests",
        "statistics": {"fields": {"a": {"mean": 0.1}}},
        "dims": {"params": ("trajectory", "parameter"), "time": ("time",)},
        "about": {"physics": "waves"},
    }
    arrays = {"params": np.arange(2.0 * len(keys)).reshape(-1, 2), "time": np.linspace(0, 1, 21)}
    return builder.publish(keys, arrays, **{**fields, **changes})


@pytest.fixture
def kit(tmp_path: Path) -> SimpleNamespace:
    """`make(rows)` publishes a store of `trajectory(0..rows-1)` with several shards a row, and returns its path."""
    # Two chunks of eight frames a shard, so that a row of 21 frames has two shards, the second one partial.
    layout = ArrayLayout("fields", DIMS, "float32", (1, 8, *FRAME), (1, 16, *FRAME))

    def make(rows: int = 3, name: str = "waves.zarr") -> Path:
        builder = StoreBuilder(tmp_path / name, fingerprint="f" * 64)
        keys = [f"file.h5/{number}" for number in range(rows)]
        for number, key in enumerate(keys):
            stage(builder, key, trajectory(number), layout=layout)
        return publish(builder, keys)

    typed: Callable[[int, str], Path] = make
    return SimpleNamespace(make=typed, trajectory=trajectory, stage=stage, publish=publish, layout=layout, dims=DIMS)
