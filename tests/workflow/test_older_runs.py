"""Runs and stores as the first version wrote them are verified, scored, embedded and resumed as before."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import zarr

from polycli.__main__ import run as command_line
from tests.earlier import run_as_schema_1, store_as_schema_1
from tests.mpp.conftest import make_store

TRAIN = """
optim: {learning_rate: 3.0e-3}
schedule: {name: constant, warmup_steps: 1}
train: {steps: 2, global_batch_size: 4, micro_batch_size: 2, validate_every: 2, checkpoint_every: 2}
"""


class Case(NamedTuple):
    """What one family needs to train in a second."""

    #: The words of `prepare` after the family; None where the store is made without a solver.
    prepare: list[str] | None
    recipe: str
    evaluate: list[str]
    #: Where vectors stand in what `embed` writes.
    vectors: str


CASES = {
    "mpp": Case(
        None,
        "model: {embed_dim: 16, num_heads: 2, blocks: 1, patch_size: 4}\n"
        "data: {history: 2, validation_windows: 2, workers: 0}\n",
        [],
        "pooled_embedding",
    ),
    "xval": Case(
        ["--source", "arithmetic", "--set", "arithmetic.records=60"],
        "model: {embed_dim: 16, num_heads: 2, blocks: 1, feed_forward: 32, context: 128}\n"
        "data: {validation_records: 8, workers: 0}\n",
        ["--set", "baselines=false", "--set", "max_records=4"],
        "record_embedding",
    ),
    "astroclip": Case(
        ["--source", "mock", "--set", "mock.objects=24", "--set", "mock.size=64"],
        "stage: spectrum\nmodel: {spectrum: {embed_dim: 16, depth: 1, num_heads: 2}}\nmasking: {chunk_length: 12}\n"
        "data: {validation_objects: 4, workers: 0}\n",
        ["--set", "properties=[redshift]", "--set", "labels=[]"],
        "spectrum_embedding",
    ),
}


def polycli(*words: object) -> None:
    assert command_line([str(word) for word in words]) == 0


def metrics_of(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "speed"} for line in lines]


@pytest.mark.parametrize("family", CASES)
def test_a_run_and_a_store_of_the_first_version_do_what_they_did(family, tmp_path, capsys):
    case, store, recipe = CASES[family], tmp_path / "data.zarr", tmp_path / "tiny.yaml"
    if case.prepare is None:
        make_store(tmp_path, "data")
    else:
        polycli("prepare", family, *case.prepare, "--workers", 1, "--output", store)
        store_as_schema_1(store)
    recipe.write_text(f"family: {family}\nverb: pretrain\n{case.recipe}{TRAIN}", encoding="utf-8")
    train = ("pretrain", family, "--recipe", recipe, "--data", store, "--output")
    polycli(*train, tmp_path / "now")
    shutil.copytree(tmp_path / "now", tmp_path / "old")
    run_as_schema_1(tmp_path / "old")

    def results(name: str) -> tuple[dict, np.ndarray]:
        """Scores and vectors."""
        few = ("--set", "bootstrap_samples=10", "--set", "report=false", *case.evaluate)
        polycli("eval", family, "--checkpoint", tmp_path / name, "--data", store, "--output", tmp_path / "e", *few)
        line = ("embed", family, "--checkpoint", tmp_path / name, "--data", store, "--limit", 4)
        polycli(*line, "--output", tmp_path / f"{name}.zarr")
        vectors = zarr.open_group(tmp_path / f"{name}.zarr", mode="r")[case.vectors][:]
        return json.loads((tmp_path / "e/scores.json").read_text(encoding="utf-8"))["datasets"], vectors

    scores, vectors = results("now")
    capsys.readouterr()
    older_scores, older_vectors = results("old")
    # How many decimals its columns are written with is what an older run of xVal does not know.
    for key, found in older_scores["data"].get("keys", {}).items():
        assert found["exact"].pop("written") is None
        del scores["data"]["keys"][key]["exact"]["written"]
    assert older_scores == scores
    np.testing.assert_array_equal(older_vectors, vectors)
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("of an earlier version, which keeps hashes of whole rows alone") == 1

    polycli("inspect", tmp_path / "old", "--verify")
    polycli("inspect", store, "--verify")
    polycli(*train, tmp_path / "old")
    assert "complete already" in capsys.readouterr().err
    for name in ("now", "old"):
        polycli(*train, tmp_path / name, "--set", "train.steps=4")
    assert metrics_of(tmp_path / "old") == metrics_of(tmp_path / "now")
    described = json.loads((tmp_path / "old/checkpoints/step-00000004/model.json").read_text(encoding="utf-8"))
    assert described["schema_version"] == 2
