"""Probes of a model's vectors: parameters read off what `embed` writes, beside simple methods, by trajectory."""

import numpy as np
import pyarrow.parquet as parquet
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from polycli.mpp import embed
from polycli.mpp import eval as evaluation
from polycli.requests import EmbedRequest, EvalRequest
from polycli.store.reader import open_store

SPLITS = ("train",) * 24 + ("validation",) * 2 + ("test",) * 8
SETTINGS = ("probes=true", "rollout_steps=1", "max_windows=1", "bootstrap_samples=50")


def scores_of(run, *data, overrides=(), **options):
    request = EvalRequest(checkpoint=run, data=data, overrides=(*SETTINGS, *overrides), json=True, **options)
    return evaluation.run(request)


def test_a_probe_reads_what_a_line_through_the_embeddings_reads(tmp_path, wave_checkpoint, wave_store):
    store = open_store(wave_store("waves", SPLITS))
    scores = scores_of(wave_checkpoint, store.path, output=tmp_path / "e")
    entry = scores["datasets"]["waves"]["probes"]["speed"]
    assert (entry["learned_from"], entry["trajectories"]) == (24, 8)
    assert list(entry["methods"]) == ["linear", "knn", "constant", "boosting"]
    embed.run(
        EmbedRequest(
            checkpoint=wave_checkpoint,
            data=(store.path,),
            output=tmp_path / "v.parquet",
            overrides=("windows=all",),
            json=True,
        )
    )
    table = parquet.read_table(tmp_path / "v.parquet")
    vectors = table["pooled_embedding"].combine_chunks().flatten().to_numpy().reshape(34, 7, 16).mean(axis=1)
    speed = np.array(table["speed"].to_pylist()).reshape(34, 7)[:, 0]
    splits = np.array(table["split"].to_pylist()).reshape(34, 7)[:, 0]
    train, test = splits == "train", splits == "test"
    scaler = StandardScaler().fit(vectors[train])
    line = RidgeCV(alphas=np.logspace(-3, 6, 19)).fit(scaler.transform(vectors[train]), speed[train])
    expected = r2_score(speed[test], line.predict(scaler.transform(vectors[test])))
    assert entry["methods"]["linear"]["r2"] == pytest.approx(expected, abs=1e-3)
    report = (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert "parameters read off the model&#x27;s vectors" in report


def test_constants_of_several_stores_are_read_of_all_together(tmp_path, wave_checkpoint, wave_store):
    stores = [wave_store(f"w{place}", SPLITS[14:34], seed=place, constants={"depth": float(place)}) for place in (1, 2)]
    scores = scores_of(wave_checkpoint, *stores, output=tmp_path / "e", overrides=("report=false",))
    assert [list(entry["probes"]) for entry in scores["datasets"].values()] == [["speed"], ["speed"]]
    together = scores["probes"]
    assert list(together) == ["speed", "depth"]
    assert (together["depth"]["learned_from"], together["depth"]["trajectories"]) == (20, 16)
    assert together["depth"]["methods"]["constant"]["r2"] == pytest.approx(0)


def test_without_a_varying_parameter_there_is_nothing_to_read_and_that_is_said(
    tmp_path, wave_checkpoint, wave_store, capsys
):
    store = wave_store("plain", SPLITS, names=())
    scores = scores_of(wave_checkpoint, store, output=tmp_path / "e", overrides=("report=false",))
    assert scores["datasets"]["plain"]["probes"] == {}
    assert "plain: no parameter varies" in capsys.readouterr().err
