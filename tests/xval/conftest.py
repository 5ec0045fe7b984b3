"""Small stores of records, made through `prepare`, and the recipes of small models."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from polycli.requests import PrepareRequest

PRETRAIN = """
family: xval
verb: pretrain
model: {embed_dim: 24, num_heads: 2, blocks: 2, feed_forward: 48, context: 256, dropout: 0.0}
data: {bucket_batches: 4, validation_records: 20, workers: 1}
optim: {learning_rate: 3.0e-3}
schedule: {name: constant, warmup_steps: 2}
train: {steps: 8, global_batch_size: 8, micro_batch_size: 2, seed: 5, validate_every: 4, checkpoint_every: 4}
log: {every: 1}
"""
FINETUNE = PRETRAIN.replace("pretrain", "finetune").replace(
    "model: {embed_dim: 24, num_heads: 2, blocks: 2, feed_forward: 48, context: 256, dropout: 0.0}\n", ""
)


def prepare(source: str, output: Path, *overrides: str, inputs: Sequence[Path] = ()) -> Path:
    """Make a store in this process."""
    from polycli.xval import prepare as verb

    verb.run(
        PrepareRequest(source=source, inputs=tuple(inputs), output=output, overrides=overrides, workers=1, json=True)
    )
    return output


@pytest.fixture(scope="session")
def planets(tmp_path_factory) -> Path:
    """A store of 120 small planetary systems."""
    return prepare(
        "planets",
        tmp_path_factory.mktemp("stores") / "planets.zarr",
        "planets.systems=120",
        "planets.planets=[2, 3]",
        "planets.steps=[3, 6]",
        "planets.duration=[2, 3]",
        "planets.substeps=4",
    )


@pytest.fixture(scope="session")
def records_store(tmp_path_factory):
    """`records_store(values, name, *overrides)`: a store of these JSON values."""

    def factory(values: Sequence[object], name: str = "records", *overrides: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
        return prepare("json", folder / f"{name}.zarr", *overrides, inputs=[folder / f"{name}.jsonl"])

    return factory


@pytest.fixture
def pretrain_recipe(tmp_path) -> str:
    """The path of a recipe that trains a tiny model for eight steps."""
    (tmp_path / "tiny.yaml").write_text(PRETRAIN, encoding="utf-8")
    return str(tmp_path / "tiny.yaml")


@pytest.fixture
def finetune_recipe(tmp_path) -> str:
    """The same for finetuning."""
    (tmp_path / "tiny_finetune.yaml").write_text(FINETUNE, encoding="utf-8")
    return str(tmp_path / "tiny_finetune.yaml")
