"""Goldens differ where content does, and only there."""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from safetensors.numpy import save_file


@pytest.fixture(scope="module")
def goldens():
    """The script and the module of its documents, imported as the script imports them: from their own folder."""
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        import canonical
        import make_goldens
    finally:
        sys.path.pop(0)
    return make_goldens, canonical


@pytest.fixture
def documents(goldens):
    return lambda folder: dict(goldens[1].documents_of(folder, "run", {str(folder): "WORK"}))


def write_run(folder, *, loss=0.1, speed=1.0, version="1", weight=1.0, vector=1.0):
    (folder / "store.zarr").mkdir(parents=True)
    (folder / "store.zarr" / "zarr.json").write_text("{}")
    (folder / "store.zarr" / "chunk").write_bytes(b"\0\1")
    (folder / "metrics.jsonl").write_text(json.dumps({"loss": loss, "speed": {"mfu": speed}}) + "\n")
    (folder / "scores.json").write_text(json.dumps({"version": version, "path": f"{folder}/store.zarr"}))
    (folder / "log.txt").write_text(f"{speed}")
    save_file({"w": np.array([weight])}, folder / "w.safetensors", {"model": json.dumps({"version": version})})
    parquet.write_table(pa.table({"vector": [[vector]]}), folder / "vectors.parquet")
    return folder


def test_times_versions_and_folders_make_no_difference(tmp_path, documents):
    first = documents(write_run(tmp_path / "a"))
    assert first == documents(write_run(tmp_path / "b", speed=2.0, version="2"))
    assert sorted(first) == [
        "run/metrics.jsonl", "run/other-files", "run/scores.json", "run/store.zarr", "run/vectors.parquet",
        "run/w.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "name"), [("loss", "metrics.jsonl"), ("weight", "w.safetensors"), ("vector", "vectors.parquet")]
)
def test_the_last_bit_of_a_number_makes_one(tmp_path, documents, changed, name):
    one = {"loss": 1.0, "weight": 1.0, "vector": 1.0}
    first = documents(write_run(tmp_path / "a", **one))
    second = documents(write_run(tmp_path / "b", **one | {changed: float(np.nextafter(1.0, 2.0))}))
    assert [name for name in first if first[name] != second[name]] == [f"run/{name}"]


def test_a_byte_of_a_store_and_a_file_more_make_one(tmp_path, documents):
    first, folder = documents(write_run(tmp_path / "a")), write_run(tmp_path / "b")
    (folder / "store.zarr" / "chunk").write_bytes(b"\0\2")
    (folder / "figure.png").touch()
    second = documents(folder)
    assert [name for name in first if first[name] != second[name]] == ["run/store.zarr", "run/other-files"]


def test_comparing_names_what_differs_or_is_absent_and_exits_1(tmp_path, goldens, capsys):
    script, _ = goldens
    script.write_goldens(tmp_path / "a.json", {"same": 1, "run/metrics.jsonl": [{"loss": 0.5}], "gone": None})
    script.write_goldens(tmp_path / "b.json", {"same": 1, "run/metrics.jsonl": [{"loss": 0.25}]})
    assert script.main(["--compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 0
    capsys.readouterr()
    assert script.main(["--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 1
    printed = capsys.readouterr().out
    assert f"gone: only in {tmp_path / 'a.json'}" in printed
    assert "run/metrics.jsonl: differs" in printed
    assert '-  "loss": 0.5' in printed
    assert '+  "loss": 0.25' in printed
    assert "2 of 3 goldens differ" in printed


def test_goldens_that_were_never_made_are_named_and_exit_2(tmp_path, goldens, capsys):
    assert goldens[0].main(["--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 2
    assert f"{tmp_path / 'a.json'}, {tmp_path / 'b.json'}: no such file" in capsys.readouterr().err
