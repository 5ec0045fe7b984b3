"""A value is taken out of a record wherever it stands, and what cannot be a label is said."""

from polycli.xval.training.labels import take


def test_a_value_is_taken_out_and_null_stands_there():
    record = {"a": {"b": 3, "c": [1, 2]}, "d": "x"}
    assert take(record, "a.b") == ({"a": {"b": None, "c": [1, 2]}, "d": "x"}, 3)
    assert take(record, "d") == ({"a": {"b": 3, "c": [1, 2]}, "d": None}, "x")
    assert record["a"]["b"] == 3


def test_a_dot_in_a_key_is_no_level():
    assert take({"a.b": 1, "a": {"b": 2}}, r"a\.b") == ({"a.b": None, "a": {"b": 2}}, 1)
    assert take({"a.b": 1, "a": {"b": 2}}, "a.b") == ({"a.b": 1, "a": {"b": None}}, 2)


def test_an_absent_value_is_as_a_null_one():
    absent, found = take({"a": {"c": 1}}, "a.b")
    null, was = take({"a": {"c": 1, "b": None}}, "a.b")
    assert absent == null
    assert was is None
    assert found is not None
    assert take([1, 2], "a.b")[0] == [1, 2]
    assert take({"z": 1}, "a.b")[0] == {"z": 1}
