"""A checkpoint trained and finetuned through the command line is used where DeepSpeed cannot be imported."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from polycli.__main__ import run as command_line

#: Runs command lines, one JSON list each on stdin, in a Python for which there is no DeepSpeed.
BLOCKED = """
import importlib, json, sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "deepspeed":
            raise ModuleNotFoundError("No module named 'deepspeed'", name="deepspeed")

sys.meta_path.insert(0, Nothing())
from polycli.__main__ import run
from polycli.families import SHIPPED

for family in SHIPPED:
    for verb in ("prepare", "eval", "predict", "embed"):
        try:
            importlib.import_module(f"polycli.{family}.{verb}")
        except ModuleNotFoundError as error:
            assert error.name == f"polycli.{family}.{verb}", error
for line in sys.stdin:
    words = json.loads(line)
    code = run(words)
    assert code == 0, (words, code)
assert "deepspeed" not in sys.modules
"""


@pytest.fixture
def table(tmp_path) -> Path:
    """Sixty rows of a laboratory's CSV: units in the headers, one empty cell in ten."""
    path = tmp_path / "samples.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sample", "mass (kg)", "length (m)"])
        for number in range(60):
            length = "" if number % 10 == 9 else 0.5 * number
            writer.writerow([f"s{number}", 1.25 + number, length])
    return path


def test_finetuning_on_a_csv_and_then_using_it_without_deepspeed(
    tmp_path, planets, table, pretrain_recipe, finetune_recipe, capsys
):
    steps = ["--set", "train.steps=2", "--set", "train.validate_every=2", "--set", "train.checkpoint_every=2"]
    base, tuned, store = tmp_path / "base", tmp_path / "tuned", tmp_path / "samples.zarr"
    for line in (
        ["pretrain", "xval", "--recipe", pretrain_recipe, "--data", planets, "--output", base, *steps],
        ["prepare", "xval", "--source", "table", "--input", table, "--output", store, "--workers", 1],
        [
            "finetune", "xval", "--recipe", finetune_recipe, "--checkpoint", base, "--data", store, "--output", tuned,
            *steps, "--set", "objective.keys=[length]",
        ],
    ):  # fmt: skip
        assert command_line([str(word) for word in line]) == 0
    out = tmp_path / "out"
    out.mkdir()
    quick = ["--set", "report=false", "--set", "baselines=false", "--set", "bootstrap_samples=20"]
    lines = (
        ["prepare", "xval", "--source", "table", "--input", table, "--output", out / "again.zarr", "--workers", 1],
        ["eval", "xval", "--checkpoint", tuned, "--data", store, "--output", out / "eval", *quick],
        ["predict", "xval", "--checkpoint", tuned, "--data", table, "--output", out / "filled.csv"],
        ["embed", "xval", "--checkpoint", tuned, "--data", store, "--output", out / "vectors.parquet"],
    )
    ended = subprocess.run(
        [sys.executable, "-c", BLOCKED],
        input="".join(json.dumps([str(word) for word in line]) + "\n" for line in lines),
        capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert json.loads((out / "eval" / "scores.json").read_text())["datasets"]["samples"]["keys"]["mass"]["numbers"] > 0
    with (out / "filled.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    assert all(math.isfinite(float(row["length (m)"])) for row in rows)
    assert [float(row["length (m)"]) for row in rows if int(row["sample"][1:]) % 10 != 9] == [
        0.5 * number for number in range(60) if number % 10 != 9
    ]
    assert list(out.glob("vectors*"))
