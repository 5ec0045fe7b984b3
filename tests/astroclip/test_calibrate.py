"""Posteriors through the commands: predict's columns, eval's scores and calibrated intervals, recomputed by hand."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from astropy.table import Table
from scipy.stats import beta, kstest

from polycli.__main__ import run as command_line
from polycli.astroclip import calibrate, finetune, open_objects, predict
from polycli.astroclip import eval as evaluation
from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.recipe.model import POSTERIOR_LEVELS, PropertySection
from polycli.astroclip.scoring.posteriors.calibrated import Bounds, CalibratedIntervals
from polycli.astroclip.scoring.posteriors.columns import HeadColumns
from polycli.checkpoints.calibration import calibration_beside, read_calibration
from polycli.errors import CheckpointError, RecipeError, StoreError
from polycli.requests import CalibrateRequest, EvalRequest, PredictRequest, TrainRequest

COLUMNS = ("redshift", "logm")
SHARES = (0.68, 0.9, 0.95)
#: As many levels as eval looks at a flow with.
MANY = tuple(place / 200 for place in range(1, 200))


@pytest.fixture(scope="module")
def survey(tmp_path_factory, prepare):
    """60 simulated cutouts: 16 to train on, 22 that validate, 22 that test."""
    path = tmp_path_factory.mktemp("survey") / "survey.zarr"
    prepare("mock", path, "mock.objects=60", "mock.size=64", "mock.seed=5", "split.validation=22", "split.test=22")
    return path


@pytest.fixture(params=["none", "quantiles", "flow"])
def head(request, make_model):
    """An untrained head of each kind, whose answers lie about the truth's."""
    import torch
    from safetensors.torch import load_file, save_file

    section = PropertySection(
        modalities=("image",), regression=COLUMNS, posterior=request.param, hidden=(8,), flow_bins=4
    )
    path = make_model(f"{request.param}-head", properties=section)
    tensors = load_file(path)
    tensors["properties.centre"], tensors["properties.scale"] = torch.tensor([0.25, 10.5]), torch.tensor([0.1, 0.5])
    save_file(tensors, path)
    return request.param, path


def predicted(model, stores, output, *overrides, **options):
    predict.run(
        PredictRequest(checkpoint=model, data=tuple(stores), output=output, overrides=overrides, json=True, **options)
    )
    table = parquet.read_table(output)
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}


def truth_of(store, ids, column):
    objects = open_objects(store)
    known = dict(zip(objects.ids().tolist(), objects.target(column).tolist(), strict=True))
    return np.array([known[name] for name in ids.tolist()])


def interval(found, column, levels, share):
    """Low and high of a central interval, linear between the quantile columns."""
    values = np.stack([found[f"{column}_q{100 * q:g}"] for q in levels], axis=1).astype(np.float64)
    ends = [np.array([np.interp(level, levels, row) for row in values]) for level in ((1 - share) / 2, (1 + share) / 2)]
    return ends, values


def test_scores_are_those_of_predicts_columns(tmp_path, head, survey, mock_store):
    posterior, model = head
    # Two stores, and objects in another order than eval's.
    levels = MANY if posterior == "flow" else POSTERIOR_LEVELS
    settings = () if posterior == "none" else (f"quantiles={list(levels)}",)
    found = predicted(model, (mock_store, survey), tmp_path / "p.parquet", *settings, split="test")
    request = EvalRequest(
        checkpoint=model, data=(survey,), output=tmp_path / "e", json=True,
        overrides=("bootstrap_samples=20", "neighbours=4", "properties=[redshift]", "labels=[]", "report=false"),
    )  # fmt: skip
    document = evaluation.run(request)
    objects = open_objects(survey)
    mine = np.isin(found["object_id"], objects.ids(objects.rows("test")))
    assert mine.sum() == 22
    found = {name: values[mine] for name, values in found.items()}
    magnitude = objects.magnitudes(objects.rows("test"))[:, 1]
    brightness = dict(zip(objects.ids(objects.rows("test")).tolist(), magnitude.tolist(), strict=True))
    order = np.argsort([brightness[name] for name in found["object_id"].tolist()], kind="stable")
    for column in COLUMNS:
        scores = document["datasets"]["survey"]["head"]["properties"][column]
        truth = truth_of(survey, found["object_id"], column)
        if posterior == "none":
            assert "posterior" not in scores
            residual = ((truth - found[column]) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
            assert scores["r2"] == pytest.approx(1 - residual, rel=1e-5)
            continue
        for place, share in enumerate(SHARES):
            (low, high), values = interval(found, column, levels, share)
            held = (truth >= low) & (truth <= high)
            entry = scores["posterior"]["coverage"]["all"][place]
            assert entry["nominal"] == share
            assert entry["measured"] == pytest.approx(held.mean())
            assert entry["width"] == pytest.approx((high - low).mean(), rel=1e-5)
            upper = beta.ppf(0.975, held.sum() + 1, 22 - held.sum()) if held.sum() < 22 else 1.0
            assert entry["interval"][1] == pytest.approx(upper)
            thirds = [held[part].mean() for part in np.array_split(order, 3)]
            bins = scores["posterior"]["coverage"]["by_magnitude"]
            assert [part["levels"][place]["measured"] for part in bins] == pytest.approx(thirds)
        first = values[:, 0] - levels[0] * (values[:, 1] - values[:, 0]) / (levels[1] - levels[0])
        last = values[:, -1] + (1 - levels[-1]) * (values[:, -1] - values[:, -2]) / (levels[-1] - levels[-2])
        knots = np.column_stack([first, values, last])
        known = np.array([0, *levels, 1])
        pit = np.array([np.interp(t, row, known) for t, row in zip(truth, knots, strict=True)])
        assert scores["posterior"]["pit"]["ks"] == pytest.approx(kstest(pit, "uniform").statistic, abs=1e-4)
        crps = []
        for t, row in zip(truth, knots, strict=True):
            # A fine grid of the definition's integral.
            x = np.linspace(min(t, row[0]), max(t, row[-1]), 40_001)
            crps.append(((np.interp(x, row, known) - (x >= t)) ** 2).mean() * (x[-1] - x[0]))
        assert scores["posterior"]["crps"] == pytest.approx(np.mean(crps), rel=2e-3)


def test_calibrated_intervals_are_those_of_the_formula(tmp_path, head, survey):
    posterior, model = head
    document = calibrate.run(CalibrateRequest(checkpoint=model, data=(survey,), json=True))
    calibration = read_calibration(calibration_beside(model))
    assert document["levels"] == list(SHARES)
    found = predicted(model, (survey,), tmp_path / "all.parquet")
    objects = open_objects(survey)
    held_back = np.isin(found["object_id"], objects.ids(objects.rows("validation")))
    for column in COLUMNS:
        truth = truth_of(survey, found["object_id"], column)
        for place, share in enumerate(SHARES):
            if posterior == "none":
                middle = found[column].astype(np.float64)
                below = above = 1 + middle if column == "redshift" else np.ones_like(middle)
            else:
                (low, high), _ = interval(found, column, POSTERIOR_LEVELS, share)
                middle = found[f"{column}_q50"].astype(np.float64)
                below, above = middle - low, high - middle
            off = np.where(truth < middle, (middle - truth) / below, (truth - middle) / above)
            expected = np.sort(off[held_back])[int(np.ceil(23 * share)) - 1]
            group = calibration.data["survey"].groups[f"{column} {100 * share:g} %"]
            assert group.units == 22
            assert group.bounds[place] == pytest.approx(expected, rel=1e-4)
            low, high = (found[f"{column}_{end}{100 * share:g}"] for end in ("low", "high"))
            np.testing.assert_allclose(low, middle - group.bounds[place] * below, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(high, middle + group.bounds[place] * above, rtol=1e-4, atol=1e-6)
            within = (truth >= low) & (truth <= high)
            assert within[held_back].sum() >= np.ceil(23 * share) - 1
    request = EvalRequest(
        checkpoint=model, data=(survey,), output=tmp_path / "e", json=True,
        overrides=("bootstrap_samples=20", "neighbours=4", "properties=[redshift]", "labels=[]", "report=false"),
    )  # fmt: skip
    scores = evaluation.run(request)["datasets"]["survey"]["head"]["properties"]["logm"]
    tests = np.isin(found["object_id"], objects.ids(objects.rows("test")))
    assert scores["calibrated"]["all"][2]["measured"] == pytest.approx(within[tests].mean())
    without = predicted(model, (survey,), tmp_path / "without.parquet", "bands.use=never", limit=3)
    assert "redshift_low68" not in without


def test_bounds_in_bins_of_magnitude_are_those_of_the_objects_in_them(tmp_path, make_model, survey):
    section = PropertySection(modalities=("image",), regression=("redshift",), hidden=(8,))
    model = make_model("binned", properties=section)
    settings = ("levels=[0.68]", "by=magnitude", "bins=3")
    calibrate.run(CalibrateRequest(checkpoint=model, data=(survey,), json=True, overrides=settings))
    data = read_calibration(calibration_beside(model)).data["survey"]
    found = predicted(model, (survey,), tmp_path / "p.parquet")
    objects = open_objects(survey)
    rows = [objects.ids().tolist().index(name) for name in found["object_id"].tolist()]
    magnitude, truth = objects.target("mag_r", rows), objects.target("redshift", rows)
    held_back = np.isin(rows, objects.rows("validation"))
    edges = np.quantile(magnitude[held_back], [1 / 3, 2 / 3])
    np.testing.assert_allclose(data.about["edges"], edges)
    np.testing.assert_allclose(data.about["magnitudes"], [magnitude[held_back].min(), magnitude[held_back].max()])
    place = (magnitude >= edges[0]).astype(int) + (magnitude >= edges[1])
    middle = found["redshift"].astype(np.float64)
    off = np.abs(truth - middle) / (1 + middle)
    for number in range(3):
        mine = np.sort(off[held_back & (place == number)])
        group = data.groups[f"redshift 68 %, magnitudes {number + 1} of 3"]
        assert group.units == len(mine)
        expected = mine[int(np.ceil((len(mine) + 1) * 0.68)) - 1]
        assert group.bounds[0] == pytest.approx(expected, rel=1e-5)
        chosen = place == number
        high = middle + expected * (1 + middle)
        np.testing.assert_allclose(found["redshift_high68"][chosen], high[chosen], rtol=1e-5)
    assert len({group.bounds for group in data.groups.values()}) == 3
    again = ("by=magnitude", "overwrite=true")
    with pytest.raises(StoreError, match="7 objects in each bin of magnitude to calibrate on"):
        calibrate.run(CalibrateRequest(checkpoint=model, data=(survey,), json=True, overrides=again))


def test_a_store_without_the_magnitudes_that_place_objects_is_refused_before_any_is_predicted(
    tmp_path, make_model, survey, mock_store, monkeypatch
):
    section = PropertySection(modalities=("image",), regression=("redshift",), hidden=(8,))
    model = make_model("binned-again", properties=section)
    settings = ("levels=[0.68]", "by=magnitude", "bins=3")
    calibrate.run(CalibrateRequest(checkpoint=model, data=(survey,), json=True, overrides=settings))
    known = ObjectStore.magnitudes
    monkeypatch.setattr(
        ObjectStore, "magnitudes", lambda store, rows=None: known(store, rows) if store.name == "survey" else None
    )
    monkeypatch.setattr(HeadColumns, "of", lambda *_: pytest.fail("the first store was predicted"))
    with pytest.raises(StoreError, match="has no magnitudes in g, r and z"):
        predicted(model, (survey, mock_store), tmp_path / "p.parquet")


def test_the_interval_of_a_wider_level_holds_that_of_a_narrower_one():
    """Levels are calibrated one by one: of few objects 95 % came out narrower than 90 %."""
    section = PropertySection(modalities=("image",), regression=("mass",), hidden=(8,))
    bounds = Bounds((), {"mass 68 %": 0.1, "mass 90 %": 0.5, "mass 95 %": 0.3})
    answers = np.array([[0.2], [1.0]], np.float32)
    found = CalibratedIntervals((0.95, 0.68, 0.9), [bounds], Path("some.json")).around("mass", section, answers, None)
    for level, half in ((0.68, 0.1), (0.9, 0.5), (0.95, 0.5)):
        np.testing.assert_allclose(found[level], [answers[:, 0] - half, answers[:, 0] + half], rtol=1e-6)


def test_objects_beyond_the_magnitudes_of_the_calibration_are_said(mock_store, capsys):
    """Of a bin without an end nothing tells how far it holds: 49 magnitudes had its bounds without a word."""
    store = open_objects(mock_store)
    rows = np.arange(len(store))
    magnitude = store.target("mag_r", rows)
    low, high = np.quantile(magnitude, [0.25, 0.75])
    bounds = Bounds((float(np.median(magnitude)),), {}, (float(low), float(high)))
    beyond = int(((magnitude < low - 0.5) | (magnitude > high + 0.5)).sum())
    assert beyond > 0

    found = CalibratedIntervals((0.68,), [bounds], Path("some.json")).magnitudes_of(store, rows)
    np.testing.assert_array_equal(found, magnitude)
    assert f"{store.name}: {beyond} of {len(store)} objects are brighter or fainter" in capsys.readouterr().err
    whole = Bounds(bounds.edges, {}, (float(magnitude.min()), float(magnitude.max())))
    for silent in (whole, Bounds(bounds.edges, {})):
        CalibratedIntervals((0.68,), [silent], Path("some.json")).magnitudes_of(store, rows)
        assert "brighter" not in capsys.readouterr().err


def test_an_object_without_magnitude_gets_the_widest_bound():
    bounds = Bounds((18.0,), {"z 90 %, magnitudes 1 of 2": 1.0, "z 90 %, magnitudes 2 of 2": 3.0})
    assert bounds.factor("z", 0.9, np.array([17.0, 18.0, np.nan]), 3).tolist() == [1.0, 3.0, 3.0]
    assert bounds.factor("z", 0.68, np.array([17.0]), 1) is None
    few = Bounds((18.0,), {"z 90 %, magnitudes 1 of 2": 1.0})
    assert few.factor("z", 0.9, np.array([17.0, 19.0]), 2).tolist() == [1.0, np.inf]


def test_samples_belong_to_their_objects_and_follow_the_quantiles(tmp_path, make_model, survey, mock_store):
    section = PropertySection(modalities=("image",), regression=COLUMNS, posterior="flow", quantiles=(0.25, 0.5, 0.75))
    model = make_model("samples", properties=section)
    found = predicted(model, (survey, mock_store), tmp_path / "a.parquet", "draws=400", "seed=3")
    again = predicted(model, (mock_store, survey), tmp_path / "b.parquet", "draws=400", "seed=3", "batch_size=7")
    order = [again["object_id"].tolist().index(name) for name in found["object_id"].tolist()]
    for column in COLUMNS:
        draws = found[f"{column}_draws"]
        assert draws.shape == (84, 400)
        for name in (f"{column}_draws", f"{column}_q25", f"{column}_q50"):
            np.testing.assert_allclose(found[name], again[name][order], rtol=1e-5, atol=1e-6)
        for q in (0.25, 0.5, 0.75):
            below = (draws < found[f"{column}_q{100 * q:g}"][:, None]).mean()
            assert below == pytest.approx(q, abs=4 * np.sqrt(q * (1 - q) / draws.size))
    assert len(np.unique(found["redshift_draws"])) > 0.99 * found["redshift_draws"].size
    other = predicted(model, (mock_store,), tmp_path / "c.parquet", "draws=4", "seed=4")
    assert not np.isin(other["redshift_draws"], found["redshift_draws"]).any()
    request = PredictRequest(checkpoint=model, data=(mock_store,), output=tmp_path / "c.fits", overrides=("draws=5",))
    predict.run(request)
    assert Table.read(tmp_path / "c.fits")["redshift_draws"].shape == (24, 5)


def test_csv_has_the_numbers_of_parquet(tmp_path, head, mock_store):
    _, model = head
    found = predicted(model, (mock_store,), tmp_path / "p.parquet")
    for _ in range(2):  # A catalogue may be replaced, and is known again.
        predict.run(
            PredictRequest(
                checkpoint=model, data=(mock_store,), output=tmp_path / "p.csv", overrides=("overwrite=true",)
            )
        )
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(found)
    assert [row["object_id"] for row in rows] == [str(name) for name in found["object_id"].tolist()]
    for name in list(found)[1:]:
        np.testing.assert_allclose(np.array([row[name] for row in rows], np.float64), found[name], rtol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overrides": ("levels=[0.96]",)}, "22 objects to calibrate on, a bound for 0.96 needs 24"),
        ({"limit": 5}, "5 objects to calibrate on, a bound for 0.95 needs 19"),
        ({"split": "test"}, "22 of the 22 objects to calibrate on also test"),
    ],
)
def test_too_few_objects_and_those_that_test_are_refused(make_model, survey, options, message):
    section = PropertySection(modalities=("image",), regression=COLUMNS, posterior="quantiles")
    model = make_model("refused", properties=section)
    with pytest.raises(StoreError, match=message):
        calibrate.run(CalibrateRequest(checkpoint=model, data=(survey,), json=True, **options))
    assert not calibration_beside(model).exists()


def test_objects_that_trained_are_refused(tmp_path, make_model, survey):
    from polycli.workflow.overlap import trained_entry

    store = open_objects(survey)
    trained = {"survey": trained_entry(store.store, store.rows("validation")[:3]).model_dump(mode="json")}
    section = PropertySection(modalities=("image",), regression=COLUMNS, posterior="quantiles")
    model = make_model("trained", trained_on=trained, properties=section)
    with pytest.raises(StoreError, match="trained on 3 of the 22 objects"):
        calibrate.run(CalibrateRequest(checkpoint=model, data=(survey,), json=True))


def test_what_a_model_does_not_have_is_refused(tmp_path, tiny_model, head_model, mock_store, survey, capsys):
    with pytest.raises(CheckpointError, match="predicts no numbers"):
        calibrate.run(CalibrateRequest(checkpoint=tiny_model, data=(survey,), json=True))
    cases = {
        (head_model, "quantiles=[0.3]"): "0.3 is asked for, and the head of .* predicts the quantiles 0.1, 0.9",
        (head_model, "draws=3"): "samples are those of a flow, and this head has the posterior none",
        (tiny_model, "draws=3"): "draws: .* has no property head",
    }
    for (model, setting), message in cases.items():
        with pytest.raises(RecipeError, match=message):
            predicted(model, (mock_store,), tmp_path / "p.parquet", setting)
    words = ["calibrate", "astroclip", "--checkpoint", str(tiny_model), "--data", str(survey)]
    assert command_line(words) == 2
    assert "polycli finetune astroclip adds a head" in capsys.readouterr().err


def test_finetune_ends_with_a_calibration(tmp_path, make_model, survey, mock_store, capsys):
    recipe = {
        "family": "astroclip",
        "verb": "finetune",
        "model": {"properties": {"modalities": ["image"], "regression": ["redshift"], "posterior": "quantiles"}},
        "data": {"validation_objects": 22, "workers": 0},
        "train": {"steps": 2, "global_batch_size": 8, "micro_batch_size": 8},
    }
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    base = make_model("base")

    def tune(store, output, *overrides):
        return finetune.run(
            TrainRequest(
                recipe=str(tmp_path / "r.yaml"), data=(store,), checkpoint=base, output=output, overrides=overrides
            )
        )

    document = tune(survey, tmp_path / "run")
    assert document["calibration"].endswith("model.calibration.json")
    assert "calibration: " in capsys.readouterr().err
    assert tune(mock_store, tmp_path / "few")["calibration"] is None
    assert "intervals are not calibrated: mock: 3 objects to calibrate on" in capsys.readouterr().err
    assert tune(survey, tmp_path / "never", "calibrate=never")["calibration"] is None
    with pytest.raises(StoreError, match="3 objects to calibrate on"):
        tune(mock_store, tmp_path / "must", "calibrate=must")
