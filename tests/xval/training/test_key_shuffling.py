"""Shuffled keys: records say the same, in another order each time."""

from collections import Counter

import numpy as np

from polycli.xval.records.decode import decode_records
from polycli.xval.records.encode import RecordEncoder, encode_records
from polycli.xval.records.values import Record
from polycli.xval.records.vocabulary import Vocabulary
from polycli.xval.training.key_shuffling import shuffle_keys

NESTED = {
    "a": 1.5,
    "text": 'braces { [ , ] } and a "quote", in a text',
    "inner": {"x": 1, "y": [2.5, {"p": 3, "q": None, "r": {}}], "z": {"one": True}},
    "grid": [[1, 2], [3, 4], [5, 6]],
    "deep": [[[1.0], [2.0]], [[3.0], [4.0]]],
    "empty": [],
    "literal": 10**400,
}


def encoded(values):
    encoder = RecordEncoder()
    for value in values:
        encoder.add(value, id="")
    vocabulary = Vocabulary(encoder.keys)
    return encode_records([Record(str(n), value) for n, value in enumerate(values)], vocabulary), vocabulary


def orders(value):
    """The keys of all objects in a value, in their order."""
    if isinstance(value, dict):
        return [tuple(value), *(item for key in sorted(value) for item in orders(value[key]))]
    return [item for part in value for item in orders(part)] if isinstance(value, list) else []


def test_shuffled_records_hold_the_same_values_at_the_same_keys():
    values = [NESTED, {"a": 2, "inner": {"x": -1.0}}, [1, 2, {"a": 3, "text": "b"}], 4.5, {"spelled key": 1, "a": 2}]
    records, vocabulary = encoded(values)
    seen = set()
    for seed in range(20):
        shuffled = shuffle_keys(records, np.arange(5, dtype=np.uint64) + np.uint64(100 * seed))
        assert shuffled.token_lengths.tolist() == records.token_lengths.tolist()
        decoded = decode_records(shuffled, vocabulary)
        assert decoded == values  # objects compare without regard to the order of their keys
        seen.add(tuple(orders(decoded[0])))
    assert len(seen) == 20
    assert {tuple(sorted(order)) for order in next(iter(seen))} == {tuple(sorted(order)) for order in orders(NESTED)}


def test_every_order_is_as_likely_and_a_seed_gives_one_order_whatever_stands_beside():
    records, vocabulary = encoded([{"a": 1, "b": 2, "c": 3}] * 6000)
    seeds = np.arange(6000, dtype=np.uint64)
    decoded = decode_records(shuffle_keys(records, seeds), vocabulary)
    counts = Counter("".join(value) for value in decoded)
    assert len(counts) == 6
    assert max(abs(count - 1000) for count in counts.values()) < 150  # 5 standard deviations
    alone = decode_records(shuffle_keys(records.select([17]), seeds[17:18]), vocabulary)
    assert list(alone[0]) == list(decoded[17])
