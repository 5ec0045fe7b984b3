"""Typed records become the documents that files had before there were records: the same keys in the same order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from polycli.json_records import IF_GIVEN, INLINE, finite, to_json, to_object


@dataclass(frozen=True, kw_only=True)
class Side:
    numbers: int
    mae: float | None


@dataclass(frozen=True, kw_only=True)
class Entry:
    by_method: Mapping[str, float | None] = field(metadata=INLINE)
    interval: Sequence[float | None]
    side: Side = field(metadata=INLINE)
    coverage: Side | None = field(default=None, metadata=IF_GIVEN)
    last: bool


def entry(**changes):
    given = {"by_method": {"model": 1.5, "mean": 2.0}, "interval": (1.0, 2.0), "side": Side(numbers=3, mae=None)}
    return Entry(**{**given, "last": True, **changes})


def test_keys_stand_in_the_order_of_fields_and_inline_ones_among_them():
    document = to_object(entry())
    assert list(document.items()) == [
        ("model", 1.5),
        ("mean", 2.0),
        ("interval", [1.0, 2.0]),
        ("numbers", 3),
        ("mae", None),
        ("last", True),
    ]


def test_a_key_that_stands_only_where_it_is_given_comes_in_its_place():
    document = to_object(entry(coverage=Side(numbers=0, mae=0.5)))
    assert list(document) == ["model", "mean", "interval", "numbers", "mae", "coverage", "last"]
    assert document["coverage"] == {"numbers": 0, "mae": 0.5}


def test_records_within_mappings_and_sequences_become_objects():
    assert to_json({"a": [Side(numbers=1, mae=0.0)], "b": ()}) == {"a": [{"numbers": 1, "mae": 0.0}], "b": []}


def test_what_json_cannot_say_becomes_null_in_documents_and_in_records():
    assert finite({"a": [1.0, float("inf")], "b": {"c": float("nan")}, "d": 3, "e": True}) == {
        "a": [1.0, None],
        "b": {"c": None},
        "d": 3,
        "e": True,
    }
    held = finite(entry(by_method={"model": float("nan")}, side=Side(numbers=3, mae=float("-inf"))))
    assert held.by_method == {"model": None}
    assert held.side == Side(numbers=3, mae=None)


def test_a_list_is_no_object():
    with pytest.raises(TypeError, match="list is no record"):
        to_object([1])
