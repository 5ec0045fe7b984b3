"""Runs of versions before a key of the recipe came go on as they began, whatever that key is by itself today."""

import json

import pytest
import yaml

from polycli.commands.run_folder import look_at_run
from polycli.errors import RunError
from polycli.recipes import load_recipe
from polycli.requests import TrainRequest
from polycli.xval import pretrain

#: Two classes in 400 records, which today's default hides whole.
RECORDS = [{"x": number / 400, "kind": ("disc", "bulge")[number % 2]} for number in range(400)]


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if line["kind"] == "train"]


def as_before_classes(run):
    """Takes the key out of what a run says of itself."""
    document = yaml.safe_load((run / "recipe.yaml").read_text())
    assert document["objective"].pop("classes") == "never"
    (run / "recipe.yaml").write_text(yaml.safe_dump(document))


@pytest.fixture
def request_of(pretrain_recipe, records_store):
    store = records_store(RECORDS, "kinds")
    options = ("train.steps=4", "train.checkpoint_every=2", "calibrate=never")

    def factory(run, *overrides):
        return TrainRequest(recipe=pretrain_recipe, data=(store,), output=run, overrides=(*options, *overrides))

    return factory


def test_a_run_of_before_classes_goes_on_without_them_and_again(request_of, tmp_path, capsys):
    whole, run = tmp_path / "whole", tmp_path / "run"
    pretrain.run(request_of(whole, "objective.classes=never", "train.steps=6"))
    pretrain.run(request_of(run, "objective.classes=never"))
    as_before_classes(run)
    capsys.readouterr()
    pretrain.run(request_of(run, "train.steps=5"))
    assert "goes on as it began, with objective.classes=never" in " ".join(capsys.readouterr().err.split())
    # What it says of itself is enough to repeat it, and the same line goes on once more.
    assert yaml.safe_load((run / "recipe.yaml").read_text())["objective"]["classes"] == "never"
    pretrain.run(request_of(run, "train.steps=6"))
    assert losses(run) == losses(whole)
    assert (
        json.loads((run / "checkpoints" / "step-00000006" / "model.json").read_text())["objective"]["classes"]
        == "never"
    )


def test_a_run_of_before_classes_is_complete_and_is_not_taken_for_one_with_them(request_of, tmp_path):
    run = tmp_path / "run"
    pretrain.run(request_of(run, "objective.classes=never"))
    as_before_classes(run)

    def look(*overrides):
        request = request_of(run, *overrides)
        recipe = load_recipe(request.recipe, family="xval", verb="pretrain", overrides=request.overrides)
        return look_at_run(request, recipe)

    assert look()["step"] == 4
    assert look("objective.classes=auto") is None
    with pytest.raises(RunError, match='classes was "never", is "auto"'):
        pretrain.run(request_of(run, "objective.classes=auto"))


def test_a_run_that_was_begun_with_classes_has_them_in_the_end(request_of, tmp_path):
    run = tmp_path / "run"
    pretrain.run(request_of(run))
    pretrain.run(request_of(run, "train.steps=5"))
    described = json.loads((run / "checkpoints" / "step-00000005" / "model.json").read_text())
    assert set(described["classes"]) == {"kind"}
