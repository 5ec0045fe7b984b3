"""A fourth family, and a source for it from another package, work through the command line as the first three do."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from polycli.__main__ import run as command_line
from polycli.inspection import inspect_path

LINEFIT = Path(__file__).parent / "fourth_family" / "linefit"
TABBED = """
    from linefit.sources import CsvSource

    class TabbedSource(CsvSource):
        '''The same with tabs.'''

        suffix, delimiter = ".tsv", "\\t"
"""


@pytest.fixture
def linefit(package):
    """The family `linefit`, and the source `tabbed` for it, each from a package of its own."""
    modules = {f"linefit/{path.name}": path.read_text() for path in LINEFIT.glob("*.py")}
    package("linefit", modules, {"polycli.families": {"linefit": "linefit:FAMILY"}})
    package("tabbed", {"tabbed.py": TABBED}, {"polycli.sources.linefit": {"tabbed": "tabbed:TabbedSource"}})


@pytest.fixture
def points(tmp_path):
    """y = 2 a - 3 b + 1, with commas and with tabs."""
    x = np.random.default_rng(0).standard_normal((200, 2)).round(3)
    values = np.column_stack([x, x @ [2, -3] + 1])
    for name, delimiter in (("points.csv", ","), ("points.tsv", "\t")):
        np.savetxt(tmp_path / name, values, delimiter=delimiter)
    return tmp_path / "points.csv"


def polycli(capsys, *words):
    """Run a command line that must succeed; returns its JSON."""
    code = command_line([*map(str, words), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def test_prepare_pretrain_and_eval_of_a_family_from_a_package(linefit, points, tmp_path, capsys):
    store, run = tmp_path / "points.zarr", tmp_path / "run"
    (prepared,) = polycli(capsys, "prepare", "linefit", "--source", "csv", "--input", points, "--output", store)[
        "stores"
    ]
    assert prepared["points"] == 200
    assert prepared["splits"]["test"] > 0

    recipe = tmp_path / "line.yaml"
    sizes = {"steps": 200, "global_batch_size": 32, "micro_batch_size": 16, "validate_every": 100}
    recipe.write_text(yaml.safe_dump({"family": "linefit", "verb": "pretrain", "train": sizes}))
    planned = polycli(capsys, "pretrain", "linefit", "--recipe", recipe, "--data", store, "--output", run, "--dry-run")
    assert planned["parameters"] == 2 + 1
    assert not run.exists()
    trained = polycli(capsys, "pretrain", "linefit", "--recipe", recipe, "--data", store, "--output", run)
    assert trained["step"] == 200
    weights = load_file(Path(trained["checkpoint"]) / "model.safetensors")
    np.testing.assert_allclose(weights["sum.weight"], [[2, -3]], atol=0.05)
    np.testing.assert_allclose(weights["sum.bias"], [1], atol=0.05)

    scores = polycli(capsys, "eval", "linefit", "--checkpoint", run, "--output", tmp_path / "report")
    assert scores["datasets"]["points"]["points"] == prepared["splits"]["test"]
    assert scores["datasets"]["points"]["mae"] < 0.1
    assert scores["overlap"] == {"checked": True, "points": 0, "allowed": False}
    # What one flow for all families gives to the fourth without a line of its own.
    planned = polycli(capsys, "pretrain", "linefit", "--recipe", recipe, "--data", store, "--nproc", 2, "--dry-run")
    assert (planned["parameters"], planned["samples"], planned["batch"]["samples_per_process"]) == (3, 6400, 16)
    assert command_line(["eval", "linefit", "--checkpoint", str(run), "--split", "train"]) == 2
    assert "the checkpoint was trained on" in capsys.readouterr().err
    assert command_line(["eval", "mpp", "--checkpoint", str(run), "--data", str(store)]) == 2
    assert "a checkpoint of the family linefit, mpp was expected" in capsys.readouterr().err
    assert any("a store for linefit" in line for line in inspect_path(store).lines)
    assert command_line(["pretrain", "linefit", "--recipe", str(recipe), "--output", str(tmp_path / "b")]) == 2
    assert "polycli prepare linefit --source csv" in capsys.readouterr().err


def test_a_source_from_another_package_makes_the_same_rows(linefit, points, tmp_path, capsys):
    line = ["prepare", "linefit", "--workers", 1]
    one = tmp_path / "one" / "points.zarr", "csv", points
    other = tmp_path / "other" / "points.zarr", "tabbed", points.with_suffix(".tsv")
    hashes = []
    for store, source, file in (one, other):
        store.parent.mkdir()
        polycli(capsys, *line, "--source", source, "--input", file, "--output", store)
        hashes.append({path.name: path.read_bytes() for path in (store / "row_hash").rglob("*") if path.is_file()})
    assert hashes[0] == hashes[1]
    assert command_line(["prepare", "linefit", "--source", "tabed", "--output", str(tmp_path / "x")]) == 2
    assert "did you mean tabbed?" in capsys.readouterr().err
