"""Models with a head: their answers in predict, and their scores in eval, beside simple learners."""

import csv
import json

import numpy as np
import pytest
import torch

from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.errors import CheckpointError, StoreError
from polycli.json_records import to_object
from polycli.report.bootstrap import Bootstrap
from polycli.requests import EvalRequest, PredictRequest
from polycli.xval import eval as evaluation
from polycli.xval import predict
from polycli.xval.data.store import open_records
from polycli.xval.data.tokenization import describe_tokenization, tokenization_for
from polycli.xval.model.heads import HeadDescription, RecordModel
from polycli.xval.recipe.model import ModelSection
from polycli.xval.records.decode import decode_records
from polycli.xval.records.encode import encode_records
from polycli.xval.records.structure import NUM
from polycli.xval.records.values import Record
from polycli.xval.scoring.head_scores import columns_of, head_scores


@pytest.fixture(scope="session")
def stars(records_store):
    generator = np.random.default_rng(0)
    values = [
        {"mass": float(mass), "kind": "giant" if mass > 1 else "dwarf", "radius": float(2 * mass)}
        for mass in generator.uniform(0.5, 2, 120)
    ]
    return records_store(values, "stars")


@pytest.fixture
def model(tmp_path, stars):
    def save(head):
        section = ModelSection(embed_dim=16, num_heads=2, blocks=1, feed_forward=32, context=64, dropout=0.0)
        tokenization = tokenization_for(section, None, [open_records(stars)])
        torch.manual_seed(0)
        network = RecordModel(section, tokenization.tokens, head).eval()
        (tmp_path / "model").mkdir(exist_ok=True)
        description = ModelDescription(
            family="xval",
            verb="finetune",
            version="0",
            step=7,
            model=section.model_dump(mode="json"),
            head=to_object(head),
            **to_object(describe_tokenization(tokenization)),
        )
        write_model(tmp_path / "model", network.state_dict(), description)
        return network, tokenization

    return save


def by_hand(network, tokenization, value):
    records = encode_records([Record("r", value)], tokenization.language.vocabulary)
    ids, numbers = records.token_ids.astype(np.int64), np.ones(len(records.token_ids), dtype=np.float32)
    numbers[ids == NUM] = tokenization.scaling.apply(records.numbers, records.number_keys, records.key_paths)
    with torch.no_grad():
        return network.answer(torch.tensor(ids)[None], torch.tensor(numbers)[None])[0].double()


def fill(tmp_path, values, *overrides):
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))
    checkpoint = tmp_path / "model" / "model.safetensors"
    data, output = (tmp_path / "in.jsonl",), tmp_path / "out.jsonl"
    predict.run(PredictRequest(checkpoint=checkpoint, data=data, output=output, overrides=overrides, json=True))
    return [json.loads(line) for line in output.read_text().splitlines()]


def evaluate(tmp_path, store):
    checkpoint = tmp_path / "model" / "model.safetensors"
    quick = ("bootstrap_samples=50",)
    return evaluation.run(
        EvalRequest(checkpoint=checkpoint, data=(store,), output=tmp_path / "out", overrides=quick, json=True)
    )["datasets"]["stars"]["head"]


def test_a_value_is_filled_in_where_it_is_null_or_absent(tmp_path, model):
    network, tokenization = model(HeadDescription("regression", "radius", (), 5.0, 3.0))
    values = [
        {"mass": 1.5, "kind": "giant"},
        {"mass": None, "kind": "dwarf", "radius": None},
        {"mass": 1.0, "radius": 7.0},
    ]
    found = fill(tmp_path, values)
    for value, line in zip(values[:2], found[:2], strict=True):
        expected = float(by_hand(network, tokenization, {**value, "radius": None})[0]) * 3 + 5
        assert line["radius"] == pytest.approx(expected, abs=1e-5)
        assert list(line["_filled"]) == ["/radius"]
    assert found[1]["mass"] is None  # The head answers one question.
    assert (found[2]["radius"], found[2]["_filled"]) == (7.0, {})


@pytest.mark.parametrize("asked", ["bands.use=must", "bands.file=elsewhere.json", "interval=0.9"])
def test_intervals_that_are_asked_for_are_refused_for_a_model_with_a_head(tmp_path, model, asked):
    model(HeadDescription("regression", "radius", (), 5.0, 3.0))
    with pytest.raises(CheckpointError, match="no calibration has intervals for"):
        fill(tmp_path, [{"mass": 1.5}], asked)


def test_a_class_comes_with_its_probability(tmp_path, model):
    network, tokenization = model(HeadDescription("classification", "kind", ("dwarf", "giant")))
    line = fill(tmp_path, [{"mass": 1.5, "kind": None, "radius": 3.0}])[0]
    probabilities = by_hand(network, tokenization, {"mass": 1.5, "kind": None, "radius": 3.0}).softmax(dim=0)
    assert line["kind"] == ("dwarf", "giant")[int(probabilities.argmax())]
    assert line["_filled"]["/kind"]["probability"] == pytest.approx(float(probabilities.max()), abs=1e-5)


def test_a_table_says_how_likely_a_class_is(tmp_path, model):
    network, tokenization = model(HeadDescription("classification", "kind", ("dwarf", "giant")))
    (tmp_path / "in.csv").write_text("mass,kind,radius\n1.5,,3.25\n1.0,dwarf,2.5\n")
    checkpoint, output = tmp_path / "model" / "model.safetensors", tmp_path / "out.csv"
    predict.run(PredictRequest(checkpoint=checkpoint, data=(tmp_path / "in.csv",), output=output, json=True))
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = by_hand(network, tokenization, {"mass": 1.5, "kind": None, "radius": 3.25}).softmax(dim=0).max()
    assert float(rows[0]["kind_probability"]) == pytest.approx(float(expected), abs=1e-5)
    assert list(rows[0]) == ["_record", "mass", "kind", "radius", "kind_probability", "_filled"]
    assert (rows[1]["kind"], rows[1]["kind_probability"], rows[1]["_filled"]) == ("dwarf", "", "")


def test_regression_is_scored_beside_the_mean_and_learners(tmp_path, model, stars):
    network, tokenization = model(HeadDescription("regression", "radius", (), 2.5, 1.0))
    found = evaluate(tmp_path, stars)
    store = open_records(stars)
    key = store.key_paths.index("radius")

    def radii(split):
        records = store.read(store.rows(split))
        return records.numbers[records.number_keys == key]

    errors = found["measures"]["mean absolute error"]
    assert found["records"] == len(radii("test"))
    assert errors["baseline"] == pytest.approx(np.abs(radii("test") - radii("train").mean()).mean())
    expected = [
        abs(float(by_hand(network, tokenization, {"mass": radius / 2, "kind": kind, "radius": None})[0]) + 2.5 - radius)
        for radius, kind in ((radius, "giant" if radius > 2 else "dwarf") for radius in radii("test"))
    ]
    assert errors["model"] == pytest.approx(np.mean(expected), abs=1e-4)
    assert errors["k-NN"] < 0.3 * errors["baseline"]
    assert "k-NN" in found["better_baselines"]
    assert (tmp_path / "out" / "report.html").is_file()


def test_classes_are_scored_by_accuracy(tmp_path, model, stars):
    model(HeadDescription("classification", "kind", ("dwarf", "giant")))
    accuracy = evaluate(tmp_path, stars)["measures"]["accuracy"]
    assert 0 <= accuracy["model"] <= 1
    assert accuracy["gradient boosting"] > 0.9
    assert accuracy["baseline"] >= 0.3


def test_a_class_that_never_trained_is_always_wrong():
    head = HeadDescription("classification", "kind", ("a", "b"))
    outputs = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]])
    found = head_scores(head, ["a", "z", "b"], outputs, ["a", "a", "b"], columns=None, bootstrap=Bootstrap(50))
    accuracy = found.measures["accuracy"].by_method
    assert accuracy["model"] == pytest.approx(2 / 3)
    assert accuracy["baseline"] == pytest.approx(1 / 3)
    assert found.better_baselines == []


def test_data_with_classes_that_the_model_does_not_know_are_scored(tmp_path, model, records_store):
    model(HeadDescription("classification", "kind", ("dwarf", "giant")))
    kinds = ("dwarf", "giant", "comet")
    values = [{"mass": 0.5 + place, "kind": kinds[place % 3], "radius": 1.0} for place in range(90)]
    store = records_store(values, "stars")
    found = evaluate(tmp_path, store)
    records = open_records(store)
    assert found["records"] == len(records.rows("test"))
    # Learners and the commonest class know no more than the model does: comets are always wrong.
    values = decode_records(records.read(records.rows("test")), records.vocabulary)
    comets = np.mean([value["kind"] == "comet" for value in values])
    accuracy = found["measures"]["accuracy"]
    assert all(accuracy[method] <= 1 - comets for method in ("model", "baseline", "k-NN", "gradient boosting"))


def test_text_where_a_number_is_asked_for_is_left_out_and_said(tmp_path, model, records_store, capsys):
    model(HeadDescription("regression", "radius", (), 2.5, 1.0))
    values = [{"mass": 0.5 + place, "radius": "unknown" if place % 2 else 1.0 + place} for place in range(90)]
    store = records_store(values, "stars")
    records = open_records(store)
    found = evaluate(tmp_path, store)
    tested = decode_records(records.read(records.rows("test")), records.vocabulary)
    texts = sum(value["radius"] == "unknown" for value in tested)
    assert 0 < texts < len(tested)
    assert found["records"] == len(tested) - texts
    assert f"radius is not a number in {texts} records" in capsys.readouterr().err


def test_columns_are_the_numbers_that_both_have():
    found = columns_of([{"a": 1.0, "b": 2.0}, {"a": 3.0}], [{"b": 5.0, "c": 1.0}])
    np.testing.assert_array_equal(found.training, [[1, 2], [3, np.nan]])
    np.testing.assert_array_equal(found.scored, [[np.nan, 5]])
    assert columns_of([{}], [{}]) is None


def test_data_without_the_value_is_refused(tmp_path, model, stars):
    model(HeadDescription("regression", "age", (), 0.0, 1.0))
    with pytest.raises(StoreError, match="no record has a value at age"):
        evaluate(tmp_path, stars)
