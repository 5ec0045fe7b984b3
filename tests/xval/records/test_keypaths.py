"""Names of places in a record, and patterns of them."""

import pytest

from polycli.errors import RecipeError
from polycli.xval.records.keypaths import TOP, KeyPatterns, child_path, last_key, refuse_unknown


def test_paths_of_keys_that_hold_dots_stars_or_the_name_of_the_top_are_their_own():
    paths = {child_path(TOP, key) for key in ("a", "$", "a.b", "a*", "a\\b")}
    paths |= {child_path("a", "b"), child_path("a", "$")}
    assert len(paths) == 7
    assert [last_key(child_path("x", key)) for key in ("a.b", "a\\", "*")] == ["a.b", "a\\", "*"]
    assert last_key("$") == "$"


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("description.planet*.a", "description.planet0.a", True),
        ("description.planet*.a", "description.planet0.b.a", False),
        ("description.*", "description.planet0.a", False),
        ("description.**", "description.planet0.a", True),
        ("*", r"a\.b", True),
        ("a.b", r"a\.b", False),
        (r"a\.b", r"a\.b", True),
        ("a+", "aa", False),
        ("$", "$", True),
    ],
)
def test_a_star_stands_for_characters_of_one_key(pattern, path, fits):
    assert KeyPatterns([pattern]).match(path) is fits


def test_a_pattern_that_fits_nothing_is_refused_with_the_nearest_that_exist():
    paths = ["description.planet0.a", "description.planet0.m", "data"]
    refuse_unknown(["description.planet*.a"], paths, where="hold_out")
    with pytest.raises(RecipeError, match=r"hold_out: no key path of the data fits 'planet0.a'.*description.planet0.a"):
        refuse_unknown(["planet0.a"], paths, where="hold_out")
    with pytest.raises(RecipeError, match=r"text_keys.*the nearest are data"):
        refuse_unknown(["date"], paths, where="text_keys")
