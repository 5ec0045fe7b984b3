"""Scores of predicted parameters: by trajectory, beside a constant and boosting, recomputed by another route."""

import json

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import mean_absolute_error, r2_score

from polycli.errors import StoreError, UserError
from polycli.mpp import eval as evaluation
from polycli.mpp import load_model
from polycli.mpp.scoring.parameters import rivals
from polycli.mpp.scoring.parameters.trajectories import joined_statistics, plain_statistics
from polycli.requests import EvalRequest
from polycli.store.reader import open_store

SPLITS = ("train",) * 24 + ("validation",) * 6 + ("test",) * 10


def scores_of(run, *data, overrides=(), **options):
    return evaluation.run(EvalRequest(checkpoint=run, data=data, overrides=overrides, json=True, **options))


def answered(model, frames, starts):
    """(trajectory,) the mean answer over windows of two frames."""
    with torch.inference_mode():
        each = [
            model.answers(
                torch.from_numpy(frames[:, start : start + 2]),
                torch.tensor([0]),
                torch.ones((len(frames), 2), dtype=torch.long),
            )[:, 0]
            for start in starts
        ]
    return torch.stack(each).mean(dim=0).numpy()


def test_errors_are_by_trajectory_and_equal_those_of_another_route(tmp_path, tune, wave_store):
    store = open_store(wave_store("waves", SPLITS))
    tune(store.path, overrides=("train.steps=30",))
    scores = scores_of(tmp_path / "run")
    entry = scores["datasets"]["waves"]["parameters"]["speed"]
    assert (entry["trajectories"], entry["unknown"], entry["logarithm"]) == (10, 0, False)
    train, test = store.rows("train"), store.rows("test")
    speed = store.read("params")[:, 0]
    # Seven windows of two frames lie in eight frames; the first and the last are among any choice.
    frames = store.read("fields")
    predicted = answered(load_model(tmp_path / "run"), frames[test], range(7))
    model = entry["methods"]["model"]
    assert model["r2"] == pytest.approx(r2_score(speed[test], predicted), abs=1e-4)
    assert model["mae"] == pytest.approx(mean_absolute_error(speed[test], predicted), rel=1e-4)
    assert model["r2_interval"][0] < model["r2"] < model["r2_interval"][1]
    constant = entry["methods"]["constant"]
    assert constant["rmse"] == pytest.approx(np.sqrt(((speed[train].mean() - speed[test]) ** 2).mean()))
    # Boosting on statistics that are written out here: of 24 trajectories, in leaves of two.
    tables = [
        np.mean([plain_statistics(torch.from_numpy(frames[rows][:, k : k + 2])).numpy() for k in range(7)], axis=0)
        for rows in (train, test)
    ]
    trees = HistGradientBoostingRegressor(min_samples_leaf=2, random_state=0).fit(tables[0], speed[train])
    found = entry["methods"]["boosting"]["r2"]
    assert found == pytest.approx(r2_score(speed[test], trees.predict(tables[1])), abs=0.05)
    assert (tmp_path / "run" / "eval" / "test" / "report.html").is_file()
    assert (tmp_path / "run" / "eval" / "test" / "figures" / "waves.parameters.png").is_file()


def test_true_values_that_no_training_had_such_as_those_in_other_units_are_warned_of(
    tmp_path, tune, wave_store, store_factory, capsys
):
    waves = wave_store("waves", SPLITS)
    tune(waves, overrides=("train.steps=2",))
    scores_of(tmp_path / "run", overrides=("report=false",))
    assert "is outside of training" not in capsys.readouterr().err
    percent = store_factory(
        "percent",
        splits=SPLITS,
        fields=["wave.height"],
        parameters=("speed",),
        params=np.linspace(20, 120, len(SPLITS))[:, None],
        data=open_store(waves).read("fields"),
        frames=8,
    )
    scores_of(tmp_path / "run", percent, overrides=("report=false",), allow_overlap=True)
    assert "percent: speed of 10 of 10 trajectories is outside of training, which had 0." in capsys.readouterr().err


def test_statistics_are_means_spreads_changes_and_powers_of_each_field():
    generator = np.random.default_rng(0)
    window = generator.standard_normal((2, 3, 2, 8, 8))
    found = plain_statistics(torch.from_numpy(window)).numpy().reshape(2, 2, -1)
    # Three numbers, and the powers of four wavenumbers of the last frame and of the last change.
    assert found.shape[2] == 3 + 2 * 4
    np.testing.assert_allclose(found[..., 0], window.mean(axis=(1, 3, 4)))
    np.testing.assert_allclose(found[..., 1], window.std(axis=(1, 3, 4), ddof=1))
    np.testing.assert_allclose(found[..., 2], np.sqrt((np.diff(window, axis=1) ** 2).mean(axis=(1, 3, 4))))
    spectrum = np.abs(np.fft.fft2(window[0, 2, 1], norm="forward")) ** 2
    numbers = np.fft.fftfreq(8, 1 / 8)
    ring = np.rint(np.hypot(*np.meshgrid(numbers, numbers, indexing="ij")))
    np.testing.assert_allclose(found[0, 1, 3:7], [np.log10(spectrum[ring == k].sum()) for k in range(1, 5)])


def test_fields_of_several_datasets_have_their_own_columns():
    one, other = np.arange(4.0).reshape(1, 4), np.array([[7.0, 8.0]])
    table = joined_statistics([(("a", "b"), one), (("b",), other)])
    np.testing.assert_array_equal(table, [[0, 1, 2, 3], [np.nan, np.nan, 7, 8]])


def test_several_stores_are_scored_together_too(tmp_path, tune, wave_store):
    stores = [wave_store(f"w{place}", SPLITS[20:34], seed=place, constants={"depth": float(place)}) for place in (1, 3)]
    tune(*stores, overrides=("head.targets=[depth]", "train.steps=2"))
    scores = scores_of(tmp_path / "run", overrides=("report=false",))
    alone = scores["datasets"]["w1"]["parameters"]["depth"]["methods"]
    assert alone["model"]["r2"] is None, "within a store the depth is constant"
    together = scores["parameters"]["depth"]
    assert together["trajectories"] == 8
    # One constant for both stores, not one for each.
    assert together["methods"]["constant"]["rmse"] == pytest.approx(1)
    assert together["methods"]["constant"]["r2"] == pytest.approx(0)


def test_values_that_are_learnt_as_logarithms_are_scored_as_logarithms(tmp_path, tune, wave_store):
    store = open_store(wave_store("waves", SPLITS, names=("speed", "viscosity"), unknown=(0, 32)))
    tune(store.path, overrides=("head.targets=[viscosity]", "train.steps=2"))
    scores = scores_of(tmp_path / "run", overrides=("report=false",))
    dataset = scores["datasets"]["waves"]
    assert (dataset["trajectories"], dataset["left_out"], dataset["learned_from"]) == (9, 1, {"waves": 23})
    value = np.log10(store.read("params")[:, 1])
    train, test = store.rows("train")[1:], [row for row in store.rows("test") if row != 32]
    entry = dataset["parameters"]["viscosity"]
    assert entry["logarithm"]
    assert entry["methods"]["constant"]["mae"] == pytest.approx(np.abs(value[train].mean() - value[test]).mean())


def test_a_store_without_the_parameter_is_refused_and_scored_rows_must_not_have_trained(tmp_path, tune, wave_store):
    store = wave_store("waves", SPLITS)
    tune(store, overrides=("train.steps=1",))
    other = wave_store("other_name", SPLITS, seed=5, names=())
    with pytest.raises(StoreError, match="has no parameter 'speed'; it has none"):
        scores_of(tmp_path / "run", other, output=tmp_path / "out")
    with pytest.raises(StoreError, match="the checkpoint was trained on 24 of the 24 trajectories"):
        scores_of(tmp_path / "run", store, split="train", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    written = scores_of(tmp_path / "run", store, output=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))["datasets"] == json.loads(
        json.dumps(written["datasets"])
    )


def test_trajectories_that_trained_are_scored_alone_where_that_is_allowed(tmp_path, tune, wave_store, capsys):
    store = wave_store("waves", SPLITS)
    tune(store, overrides=("train.steps=1",))
    scores = scores_of(tmp_path / "run", split="train", allow_overlap=True, overrides=("report=false",))
    entry = scores["datasets"]["waves"]["parameters"]["speed"]
    assert (entry["trajectories"], list(entry["methods"])) == (24, ["model"])
    assert "nothing is compared with the model" in capsys.readouterr().err


def test_another_run_is_scored_on_the_same_trajectories(tmp_path, tune, wave_checkpoint, wave_store):
    store = open_store(wave_store("waves", SPLITS))
    tune(store.path, overrides=("train.steps=20",))
    tune(store.path, output="scratch", overrides=("train.steps=2", "init.weights=scratch", "head.logarithm=[speed]"))
    settings = ("report=false",)
    scores = scores_of(tmp_path / "run", baselines=(tmp_path / "scratch",), overrides=settings, output=tmp_path / "e")
    methods = scores["datasets"]["waves"]["parameters"]["speed"]["methods"]
    assert list(methods) == ["model", "scratch", "constant", "boosting"]
    assert scores["baselines"]["scratch"]["overlap"]["trajectories"] == 0
    # It learnt the logarithm, and is scored by the speed, as the checkpoint is.
    alone = scores_of(tmp_path / "scratch", overrides=settings)["datasets"]["waves"]["parameters"]["speed"]
    assert alone["logarithm"]
    predicted = answered(load_model(tmp_path / "scratch"), store.read("fields")[store.rows("test")], range(7))
    truth = store.read("params")[store.rows("test"), 0]
    assert methods["scratch"]["mae"] == pytest.approx(mean_absolute_error(truth, predicted), rel=0.02)
    with pytest.raises(UserError, match="it predicts frames and no parameters; the checkpoint predicts speed"):
        scores_of(tmp_path / "run", baselines=(wave_checkpoint,), overrides=settings)


def test_why_a_baseline_with_answers_below_zero_has_no_scores_for_a_logarithm_is_said(
    tmp_path, tune, wave_store, monkeypatch, capsys
):
    store = wave_store("waves", SPLITS)
    tune(store, overrides=("train.steps=1", "head.logarithm=[speed]"))
    tune(store, output="plain", overrides=("train.steps=1", "head.logarithm=[]"))
    monkeypatch.setattr(rivals, "head_means", lambda *_: np.linspace(-100, 0, 10)[:, None])
    scores = scores_of(tmp_path / "run", baselines=(tmp_path / "plain",), overrides=("report=false",))
    assert scores["datasets"]["waves"]["parameters"]["speed"]["methods"]["plain"]["rmse"] is None
    said = capsys.readouterr().err
    assert "waves: 9 of 10 answers of baseline plain for speed are not above zero, and have no logarithm" in said
