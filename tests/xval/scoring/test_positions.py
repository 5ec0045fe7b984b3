"""Places of numbers in lists, and the last visible value before each."""

import numpy as np

from polycli.xval.records.encode import encode_records
from polycli.xval.records.structure import token_text
from polycli.xval.records.values import Record
from polycli.xval.records.vocabulary import Vocabulary
from polycli.xval.scoring.positions import list_positions, persistence


def encoded(*values):
    return encode_records([Record(str(place), value) for place, value in enumerate(values)], Vocabulary(["a", "data"]))


def positions(value):
    records = encoded(value)
    return list_positions(token_text(records.tokens_of(0)))


def test_indices_are_those_of_the_lists():
    assert positions({"a": 1, "data": [2, 3, [4, 5], 6]}) == [(), (0,), (1,), (2, 0), (2, 1), (3,)]
    assert positions([[[1, 2], [3, 4]], [[5, 6], [7, 8]]]) == list(np.ndindex(2, 2, 2))
    assert positions([None, 1, "x", 2, True, {"a": [3, 4]}, 5]) == [(1,), (3,), (5, 0), (5, 1), (6,)]
    assert positions({"data": [[1], [], [2, 3]]}) == [(0, 0), (2, 0), (2, 1)]


def test_persistence_is_the_last_visible_value_of_the_same_series():
    records = encoded({"a": 9, "data": [[1, 10], [2, 20], [3, 30]]})
    # In the order of the record: a, then the steps of two series.
    single = persistence(records, np.arange(7))
    np.testing.assert_array_equal(single, [np.nan, np.nan, np.nan, 1, 10, 2, 20])
    # The second step is hidden whole with the third: the first is the last that is visible.
    together = persistence(records, np.array([0, 1, 1, 2, 2, 2, 2]))
    np.testing.assert_array_equal(together, [np.nan, np.nan, np.nan, 1, 10, 1, 10])
    # What is never hidden stays visible.
    seen = persistence(records, np.array([-1, -1, -1, -1, -1, 0, 0]))
    np.testing.assert_array_equal(seen[5:], [2, 20])


def test_series_do_not_cross_records():
    records = encoded({"data": [1, 2]}, {"data": [3, 4]})
    np.testing.assert_array_equal(persistence(records, np.array([0, 1, 0, 1])), [np.nan, 1, np.nan, 3])
