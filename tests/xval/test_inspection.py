"""`polycli inspect` says what a store of records holds, and how good an evaluation found a model."""

import json

from polycli.inspection import inspect_path


def test_a_store_of_records_names_its_numbers_and_their_units(planets):
    text = "\n".join(inspect_path(planets).lines)
    assert "a store for xval, planets" in text
    assert "description.planet0.m" in text.split("numbers at")[1].splitlines()[0]
    assert "star masses" in text.split("units")[1].splitlines()[0]


def test_an_evaluation_of_records_tells_its_error(tmp_path):
    datasets = {"planets": {"all": {"standardised_mae": {"model": 0.25}}}, "none": {"all": {}}}
    scores = {"split": "test", "checkpoint": "m", "selected_by": "as given", "datasets": datasets}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    assert "planets 0.25 standard deviations" in "\n".join(inspect_path(tmp_path).lines)
