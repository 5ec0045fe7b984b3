"""Records longer than a context, cut."""

import pytest

from polycli.xval.records.cutting import pieces_of
from polycli.xval.records.encode import RecordEncoder


@pytest.mark.parametrize("context", [40, 60, 100, 399])
def test_pieces_fit_and_hold_every_entry_of_the_list_once_in_order(context):
    data = [[[float(step), 0.5], [1.0, float(-step)]] for step in range(50)]
    value = {"description": {"a": 1.5, "b": [1, 2]}, "data": data}
    encoder = RecordEncoder()
    pieces = pieces_of(value, context, encoder.length_of)
    assert len(pieces) > 1
    assert all(encoder.length_of(piece) <= context for piece in pieces)
    assert [step for piece in pieces for step in piece["data"]] == data
    assert all(piece["description"] == value["description"] for piece in pieces)


def test_a_record_without_a_list_that_helps_cannot_be_cut():
    assert pieces_of({"a": "x" * 100, "b": [1, 2]}, 50, RecordEncoder().length_of) is None
    assert pieces_of("x" * 100, 50, RecordEncoder().length_of) is None
