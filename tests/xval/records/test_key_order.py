"""The order of keys: found where data agree on one, given to records that have another, and taken back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycli.xval.records.key_order import as_it_came, in_order, observed_order, with_keys


def test_an_order_is_known_where_all_objects_of_a_place_agree():
    values = [{"b": 1, "a": [{"y": 1, "x": 2}, {"y": 3}]}, {"b": 1, "c": 2, "a": [{"x": 1, "y": 2}]}]
    # At `a` both orders occur, so the model learned neither.
    assert observed_order(values) == {"$": ("b", "c", "a")}


@given(st.permutations(["m", "a", "e", "i"]), st.permutations(["x", "y"]))
def test_any_order_of_keys_becomes_the_learned_one_and_comes_back(outer, inner):
    learned = {"m": 1, "a": {"x": 1, "y": 2}, "e": [{"x": 3, "y": 4}], "i": None}
    parts = {**learned, "a": {key: learned["a"][key] for key in inner}, "e": [{k: learned["e"][0][k] for k in inner}]}
    shuffled = {key: parts[key] for key in outer}
    seen = in_order(shuffled, observed_order([learned]))
    assert repr(seen) == repr(learned)
    assert repr(as_it_came(seen, shuffled)) == repr(shuffled)


def test_keys_that_are_new_stand_behind():
    assert list(in_order({"new": 0, "b": 1, "newer": 2, "a": 3}, {"$": ("a", "b")})) == ["a", "b", "new", "newer"]


@pytest.mark.parametrize("value", [1, None, "text", [1, [2, "x"]], []])
def test_what_has_no_keys_stays_as_it_is(value):
    assert in_order(value, {"$": ("a",)}) == value
    assert with_keys(value, lambda key, path: False) == value
