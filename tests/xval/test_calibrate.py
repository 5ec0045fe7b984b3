"""`polycli calibrate xval`: intervals that hold on other records, kept beside the checkpoint and used by predict."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from polycli.checkpoints.calibration import read_calibration
from polycli.errors import CheckpointError, RecipeError, StoreError, UserError
from polycli.requests import CalibrateRequest, PredictRequest, TrainRequest
from polycli.xval import calibrate, predict, pretrain
from polycli.xval.data.store import open_records

from .conftest import prepare
from .test_eval import evaluate, save_model


@pytest.fixture(scope="module")
def diabetes(tmp_path_factory):
    """A table that ships with scikit-learn: 442 patients."""
    folder = tmp_path_factory.mktemp("diabetes")
    data = load_diabetes(scaled=False)
    names = [*data.feature_names, "target"]
    rows = [",".join(f"{value:.5g}" for value in row) for row in np.column_stack([data.data, data.target])]
    (folder / "d.csv").write_text("\n".join([",".join(names), *rows]) + "\n")
    split = ("split.validation=0.4", "split.test=0.4")
    return prepare("table", folder / "d.zarr", *split, inputs=[folder / "d.csv"])


def calibrated(checkpoint, store, *overrides, **options):
    request = CalibrateRequest(checkpoint=checkpoint, data=(store,), overrides=overrides, json=True)
    return calibrate.run(replace(request, **options))


@pytest.mark.parametrize("quantiles", [(), (0.2, 0.5, 0.8)])
def test_intervals_hold_on_other_records_however_bad_the_model_is(tmp_path, diabetes, quantiles):
    from polycli.xval.records.decode import decode_records

    save_model(tmp_path / "model", diabetes, quantiles=quantiles)
    found = calibrated(tmp_path / "model", diabetes)
    assert (tmp_path / "model" / "model.calibration.json").is_file()
    assert found["levels"] == [0.68, 0.9, 0.95]
    store = open_records(diabetes)
    rows = store.rows("test")
    truths = decode_records(store.read(rows), store.vocabulary)
    asked = ["bmi", "bp", "target"]
    lines = [{**truth, key: None} for key in asked for truth in truths]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for level in (0.68, 0.9):
        request = PredictRequest(
            checkpoint=tmp_path / "model",
            data=(tmp_path / "in.jsonl",),
            output=tmp_path / f"{level}.jsonl",
            overrides=(f"interval={level}",),
            json=True,
        )
        assert predict.run(request)["calibrated"]
        answers = [json.loads(line) for line in request.output.read_text().splitlines()]
        held = [
            low <= truths[place % len(truths)][asked[place // len(truths)]] <= high
            for place, answer in enumerate(answers)
            for low, high in [next(iter(answer["_filled"].values()))["interval"]]
        ]
        # Three keys of some 180 records: four standard deviations of calibration and test together.
        assert np.mean(held) == pytest.approx(level, abs=0.12)


def test_what_a_calibration_cannot_be_is_refused(tmp_path, diabetes):
    save_model(tmp_path / "model", diabetes)
    with pytest.raises(StoreError, match=r"9 records to calibrate on, a bound for 0\.95 needs 19"):
        calibrated(tmp_path / "model", diabetes, limit=9)
    with pytest.raises(StoreError, match="also test"):
        calibrated(tmp_path / "model", diabetes, split="test")
    request = PredictRequest(
        checkpoint=tmp_path / "model", data=(diabetes,), output=tmp_path / "o.jsonl", overrides=("interval=0.9",)
    )
    with pytest.raises(RecipeError, match="is not calibrated"):
        predict.run(request)
    calibrated(tmp_path / "model", diabetes)
    with pytest.raises(RecipeError, match=r"has bounds for 0\.68, 0\.9, 0\.95, 0\.8 was asked for"):
        predict.run(replace(request, overrides=("interval=0.8",)))
    save_model(tmp_path / "model", diabetes, embed_dim=32)
    with pytest.raises(CheckpointError, match="calibrated for other weights"):
        predict.run(request)


def test_predict_takes_the_calibration_that_its_settings_name(tmp_path, diabetes):
    save_model(tmp_path / "model", diabetes)
    (tmp_path / "in.jsonl").write_text('{"bmi": null, "bp": 100}\n')
    request = PredictRequest(
        checkpoint=tmp_path / "model", data=(tmp_path / "in.jsonl",), output=tmp_path / "o.jsonl", json=True
    )

    def predicted(*overrides):
        return predict.run(replace(request, overrides=(*overrides, "overwrite=true")))["calibrated"]

    with pytest.raises(UserError, match=r"there is no calibration beside model\.safetensors"):
        predicted("bands.use=must")
    calibrated(tmp_path / "model", diabetes, output=tmp_path / "elsewhere.json")
    assert not predicted()
    assert predicted(f"bands.file={tmp_path / 'elsewhere.json'}", "interval=0.9")
    calibrated(tmp_path / "model", diabetes)
    assert predicted("bands.use=must")
    assert not predicted("bands.use=never")
    with pytest.raises(RecipeError, match=r"bands\.use=never takes none"):
        predicted("bands.use=never", "interval=0.9")


def test_eval_counts_what_calibrated_intervals_hold_by_key_and_by_decade(tmp_path, diabetes):
    save_model(tmp_path / "model", diabetes)
    assert evaluate(tmp_path, diabetes)["datasets"]["d"]["calibrated"] is None
    calibrated(tmp_path / "model", diabetes)
    found = evaluate(tmp_path, diabetes, ["baselines=false"], output="again")["datasets"]["d"]["calibrated"]
    records = len(open_records(diabetes).rows("test"))
    assert [entry["nominal"] for entry in found["all"]] == [0.68, 0.9, 0.95]
    assert {entry["numbers"] for entries in found["keys"].values() for entry in entries} == {records}
    assert found["all"][1]["numbers"] == 11 * records
    assert found["all"][1]["measured"] == pytest.approx(0.9, abs=0.05)
    by_key = [entries[1]["measured"] for entries in found["keys"].values()]
    assert np.mean(by_key) == pytest.approx(found["all"][1]["measured"])
    assert {entry["decade"] for entry in found["decades"]} >= {0, 1, 2}
    for entry in (entry for decade in found["decades"] for entry in decade["levels"]):
        assert entry["interval"][0] <= entry["measured"] <= entry["interval"][1]


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """`samples(name, groups, *settings)`: a store of such groups, of four repeats each, that differ by a little."""

    def make(name, groups, *settings):
        folder = tmp_path_factory.mktemp(name)
        generator = np.random.default_rng(len(name))
        rows = [
            f"{group},{value:.4f},{value**2 + generator.normal():.4f}"
            for group in groups
            for value in generator.uniform(1, 9) + generator.normal(size=4) / 100
        ]
        (folder / f"{name}.csv").write_text("\n".join(["sample,x,y", *rows]) + "\n")
        overrides = ("group_by=sample", "text_keys=[sample]", *settings)
        return prepare("table", folder / f"{name}.zarr", *overrides, inputs=[folder / f"{name}.csv"])

    return make


def test_one_record_of_a_group_counts_and_no_group_is_on_both_sides(tmp_path, samples, pretrain_recipe):
    own = samples("own", [f"S{number:03d}" for number in range(200)], "split.validation=0.3", "split.test=0.3")
    request = TrainRequest(recipe=pretrain_recipe, data=(own,), output=tmp_path / "run", json=True)
    assert pretrain.run(request)["calibration"].endswith("model.calibration.json")
    used = read_calibration(tmp_path / "run" / "checkpoints" / "step-00000008" / "model.calibration.json")
    store = open_records(own)
    validating = store.rows("validation")
    groups = len(set(store.groups(validating)))
    assert len(validating) == 4 * groups
    assert {group.units for group in used.data["own"].groups.values()} == {groups}
    # Other repeats of samples that trained, in a store where they validate.
    others = samples("others", [f"S{number:03d}" for number in range(200)], "split.validation=0.9", "split.test=0.05")
    with pytest.raises(StoreError, match=r"records of \d+ groups to calibrate on, such as 'S.*were trained on"):
        calibrated(tmp_path / "run", others)


def test_a_run_is_calibrated_at_its_end_or_says_why_not(tmp_path, diabetes, records_store, pretrain_recipe, capsys):
    few = records_store([{"a": float(place), "b": 2.0 * place} for place in range(40)], "few")
    for store, recipe, said in (
        (diabetes, (), "calibration: "),
        (diabetes, ("calibrate=never",), ""),
        (few, (), "note: intervals are not calibrated: "),
    ):
        output = tmp_path / f"{store.stem}{len(recipe)}"
        request = TrainRequest(recipe=pretrain_recipe, data=(store,), output=output, overrides=recipe, json=True)
        document = pretrain.run(request)
        told = capsys.readouterr().err
        assert (said in told) if said else ("calibration: " not in told and "not calibrated" not in told)
        assert (document["calibration"] is not None) == (said == "calibration: ")
    request = TrainRequest(
        recipe=pretrain_recipe, data=(few,), output=tmp_path / "m", overrides=("calibrate=must",), json=True
    )
    with pytest.raises(StoreError, match="to calibrate on"):
        pretrain.run(request)
