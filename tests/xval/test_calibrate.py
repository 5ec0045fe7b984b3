"""`polycli calibrate xval`: intervals that hold on other records, kept beside the checkpoint and used by predict."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from polycli.errors import CheckpointError, RecipeError, StoreError, UserError
from polycli.requests import CalibrateRequest, PredictRequest
from polycli.xval import calibrate, predict

from .conftest import prepare
from .test_eval import save_model


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
    from polycli.xval.data.store import open_records
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
