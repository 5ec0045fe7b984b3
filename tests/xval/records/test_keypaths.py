"""Names of places in a record, and patterns of them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def _as_regular_expression(pattern):
    """The pattern as it was matched before: the same language, in a time that explodes with the number of stars."""
    parts = {"**": ".*", "*": r"(?:\\.|[^.\\])*"}
    tokens = re.findall(r"\\.|\*\*|\*|.", pattern, flags=re.DOTALL)
    return re.compile("".join(parts.get(token, re.escape(token)) for token in tokens), flags=re.DOTALL)


@given(st.text("ab.*\\$", max_size=8), st.text("ab.\\*", max_size=8))
def test_patterns_fit_what_their_regular_expressions_fit(pattern, path):
    assert KeyPatterns([pattern]).match(path) is (_as_regular_expression(pattern).fullmatch(path) is not None)


@pytest.mark.timeout(60)
def test_a_pattern_of_many_stars_takes_no_time():
    assert not KeyPatterns(["**a" * 20 + "b"]).match("a" * 5000)
    assert KeyPatterns(["*a" * 20 + "**"]).match("a" * 5000)
