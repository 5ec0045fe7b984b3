"""`predict mpp` with a head: parameters by trajectory, of stores and files, as CSV, Parquet and JSON."""

import csv
import json

import numpy as np
import pyarrow.parquet as parquet
import pytest

from polycli.__main__ import run as command_line
from polycli.errors import UserError
from polycli.inspection import inspect_path
from polycli.mpp import predict
from polycli.requests import PredictRequest
from polycli.store.reader import open_store

SPLITS = ("train",) * 12 + ("test",) * 4


def predicted(run, *data, output, overrides=(), **options):
    return predict.run(
        PredictRequest(checkpoint=run, data=data, output=output, overrides=overrides, json=True, **options)
    )


def test_three_formats_and_a_file_say_what_eval_scored(tmp_path, tune, wave_store, capsys):
    store = wave_store("waves", SPLITS)
    tune(store, overrides=("train.steps=20",))
    run = str(tmp_path / "run")
    words = ["predict", "mpp", "--checkpoint", run, "--data", str(store), "--split", "test"]
    assert command_line([*words, "--output", str(tmp_path / "p.csv")]) == 0
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trajectory"] for row in rows] == ["0012", "0013", "0014", "0015"]
    assert {(row["dataset"], row["split"], row["windows"]) for row in rows} == {("waves", "test", "7")}
    speeds = [float(row["speed"]) for row in rows]
    predicted(tmp_path / "run", store, output=tmp_path / "p.parquet", split="test")
    predicted(tmp_path / "run", store, output=tmp_path / "p.json", split="test")
    table = parquet.read_table(tmp_path / "p.parquet")
    assert table["speed"].to_pylist() == speeds
    assert "verified" in str(inspect_path(tmp_path / "p.parquet", verify=True))
    document = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    assert [row["speed"] for row in document["trajectories"]] == speeds
    assert document["parameters"][0]["name"] == "speed"
    # The same frames from a file.
    np.save(tmp_path / "own.npy", open_store(store).read("fields")[12:])
    own = ("fields=[wave.height]", "boundary={x: periodic, y: periodic}", "dt=0.1")
    predicted(tmp_path / "run", tmp_path / "own.npy", output=tmp_path / "own.json", overrides=own)
    of_file = json.loads((tmp_path / "own.json").read_text(encoding="utf-8"))["trajectories"]
    assert [row["speed"] for row in of_file] == pytest.approx(speeds, rel=1e-5)
    # And the errors of these answers are those that eval gives.
    command_line(["eval", "mpp", "--checkpoint", run, "--output", str(tmp_path / "e"), "--set", "report=false"])
    scores = json.loads((tmp_path / "e" / "scores.json").read_text(encoding="utf-8"))
    truth = open_store(store).read("params")[12:, 0]
    found = scores["datasets"]["waves"]["parameters"]["speed"]["methods"]["model"]["mae"]
    assert found == pytest.approx(np.abs(np.array(speeds) - truth).mean(), rel=1e-4)


def test_answers_outside_of_what_trained_are_marked(tmp_path, tune, wave_store, capsys):
    store = wave_store("waves", SPLITS)
    tune(store, overrides=("train.steps=20",))
    found = predicted(tmp_path / "run", store, output=tmp_path / "p.json", split="test")
    low, high = found["parameters"][0]["low"], found["parameters"][0]["high"]
    for row in json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))["trajectories"]:
        assert row["outside_training"] == ([] if low <= row["speed"] <= high else ["speed"])


def test_the_ending_says_what_the_checkpoint_can_give(tmp_path, tune, wave_checkpoint, wave_store):
    store = wave_store("waves", SPLITS)
    tune(store, overrides=("train.steps=1",))
    with pytest.raises(UserError, match=r"the suffix says the format: \.csv, \.parquet or \.json"):
        predicted(tmp_path / "run", store, output=tmp_path / "p.zarr")
    with pytest.raises(UserError, match=r"the suffix says the format: \.zarr"):
        predicted(wave_checkpoint, store, output=tmp_path / "p.csv")
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError):
        predicted(tmp_path / "run", store, output=tmp_path / "notes.csv", overrides=("overwrite=true",))
    predicted(tmp_path / "run", store, output=tmp_path / "p.csv")
    predicted(tmp_path / "run", store, output=tmp_path / "p.csv", overrides=("overwrite=true",))
