"""Keys as `polycli keys`, help and completion show them: true to the schemas that check recipes."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, PositiveInt

from polycli.errors import RecipeError
from polycli.families import SHIPPED, find_family
from polycli.recipes import default_recipe
from polycli.recipes.key_types import kind_of, written
from polycli.recipes.keys import keys_of, near_keys, schema_keys, search_keys
from polycli.recipes.schema import key_path, recipe_schema
from polycli.sections import Section

WITH_KEYS = [
    (name, verb)
    for name in SHIPPED
    for verb in dict.fromkeys([*find_family(name).recipes, *find_family(name).settings, "study"])
]


def by_path(family, verb):
    return {key.path: key for key in keys_of(family, verb)}


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (bool, "true | false"),
        (Literal["cosine", "constant"], "cosine | constant"),
        (PositiveInt, "whole number > 0"),
        (PositiveInt | None, "whole number > 0 or null"),
        (Annotated[PositiveInt, Field(le=8)], "whole number > 0, <= 8"),
        (tuple[str, ...], "list of text"),
        (tuple[float, float], "[number, number]"),
        (dict[str, float], "{NAME: number}"),
        (tuple[int | str, ...], "list of (whole number or text)"),
    ],
)
def test_a_type_is_said_in_words(annotation, said):
    assert kind_of(annotation) == said


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (1e-06, "1e-06"), ("", '""'), (("g", "r"), "[g, r]"), ({"x": 1}, "{x: 1}")],
)
def test_a_default_is_written_as_set_takes_it(value, text):
    assert written(value) == text


@pytest.mark.parametrize(("family", "verb"), WITH_KEYS)
def test_every_key_is_one_that_set_takes_and_none_stands_twice(family, verb):
    keys = keys_of(family, verb)
    assert len({key.name for key in keys}) == len(keys) > 0
    schema = recipe_schema(family, verb) if verb in find_family(family).recipes or verb == "study" else None
    for key in keys:
        if schema is not None and "[]" not in key.path:
            assert key_path(schema, key.path, {}) is not None, key.path


def test_defaults_are_those_of_a_recipe_that_says_nothing():
    recipe = default_recipe("astroclip", "prepare").model_dump(mode="python")
    keys = by_path("astroclip", "prepare")
    for path in ("mock.objects", "pair.by", "split.test", "arrays.bands", "quality.max_masked_fraction"):
        section, _, name = path.partition(".")
        assert keys[path].default == written(recipe[section][name])
    assert keys["arrays.bands"].default == "[g, r, z]"


def test_a_default_that_a_recipe_gives_to_a_section_wins_over_that_of_the_section():
    class Inner(Section):
        size: int = 1

    class Outer(Section):
        inner: Inner = Inner(size=7)
        needed: int

    keys = {key.path: key for key in schema_keys(Outer)}
    assert (keys["inner.size"].default, keys["needed"].default) == ("7", None)


def test_a_section_of_several_kinds_says_which_kind_a_key_is_of():
    names = [key.name for key in keys_of("mpp", "pretrain")]
    assert "model.width (kind fno)" in names
    assert "model.width (kind unet)" in names
    assert "model.layer_scale (kind avit or unet)" in names
    assert "model.fields" in names
    assert by_path("mpp", "pretrain")["model.kind"].kind == "avit | fno | unet | vit"
    assert by_path("mpp", "pretrain")["model.kind"].default == "avit"


def test_a_mapping_by_names_shows_what_stands_under_each():
    assert by_path("mpp", "prepare")["simulate.NAME.frames"].default == "32"


def test_search_finds_by_name_before_meaning_and_needs_every_word():
    keys = keys_of("mpp", "pretrain")
    assert [key.path for key in search_keys(keys, ["learning", "RATE"])] == ["optim.learning_rate"]
    assert search_keys(keys, ["learning-rate"])[0].path == "optim.learning_rate"
    assert search_keys(keys, ["steps"])[0].path == "schedule.warmup_steps"
    assert search_keys(keys, ["wibble"]) == ()
    assert "optim.learning_rate" in near_keys(keys, ["lerning_rate"])


def test_a_verb_without_keys_is_refused():
    with pytest.raises(RecipeError, match="no recipes for the verb 'tune'"):
        keys_of("mpp", "tune")
