"""The keys of a recipe as editors see them."""

import jsonschema
import pytest
import yaml

from polycli.errors import RecipeError
from polycli.recipes import json_schema, recipe_schema, recipes_folder
from polycli.recipes.documents import read_document
from polycli.recipes.loading import read_with_bases
from polycli.recipes.schema import nearest_keys


@pytest.fixture(scope="module")
def validator():
    schema = json_schema("mpp", "pretrain")
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def messages(validator, text):
    return [error.message for error in validator.iter_errors(yaml.safe_load(text))]


def test_a_whole_recipe_needs_its_keys_and_one_that_extends_does_not(validator):
    assert any(
        "'model' is a required property" in line for line in messages(validator, "{family: mpp, verb: pretrain}")
    )
    assert messages(validator, "{family: mpp, verb: pretrain, extends: mpp_b, train: {steps: 5}}") == []


@pytest.mark.parametrize("extends", ["", "extends: mpp_b, "])
def test_unknown_and_ill_typed_keys_are_refused_in_both(validator, extends):
    text = f"{{{extends}family: mpp, verb: pretrain, engine: {{zero_stage: 7}}, trian: {{}}}}"
    found = " ".join(messages(validator, text))
    assert "trian" in found
    assert "7 is not one of" in found


@pytest.mark.parametrize("path", sorted(recipes_folder().glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_fits_the_schema_of_its_family_and_verb(path):
    whole = read_with_bases(path).data
    validator = jsonschema.Draft202012Validator(json_schema(whole["family"], whole["verb"]))
    # As it stands in the file, and with all that it extends.
    assert (
        list(validator.iter_errors(read_document(path).data | {"family": whole["family"], "verb": whole["verb"]})) == []
    )
    assert list(validator.iter_errors(whole)) == []


def test_a_verb_or_family_without_recipes_is_named():
    with pytest.raises(RecipeError, match="mpp has recipes for pretrain, finetune, prepare") as caught:
        recipe_schema("mpp", "pretrian")
    assert caught.value.hint == "did you mean pretrain?"


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        (("train", "step"), "train.steps"),
        (("learning_rate",), "optim.learning_rate"),
        (("optim", "zero_stage"), "engine.zero_stage"),
        (("enigne",), "engine"),
    ],
)
def test_the_nearest_key_is_beside_or_of_the_same_name_elsewhere(path, nearest):
    assert nearest_keys(recipe_schema("mpp", "pretrain"), path)[0] == nearest
