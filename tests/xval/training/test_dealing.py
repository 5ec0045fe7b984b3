"""Records come into batches equally often, and none twice into one while others are left."""

from collections import Counter

import numpy as np
import pytest

from polycli.xval.training.dealing import bucket_of, deal

SHAPES = [(16, 16, 246), (4, 16, 17), (16, 99, 100), (5, 8, 8), (3, 20, 31), (2, 10, 15), (8, 4, 1000), (4, 8, 33)]


def batches_of(count, shape, records, lengths):
    """The records of the first buckets, (batches, records) each, and how often each was met before."""
    for index in range(count):
        numbers, before = bucket_of(index, shape, records, 7, "a")
        places = deal(numbers, lengths[numbers], shape[0])
        assert sorted(places.reshape(-1).tolist()) == list(range(shape[0] * shape[1]))
        yield numbers[places], before[places]


@pytest.mark.parametrize(("batches", "size", "records"), SHAPES)
@pytest.mark.parametrize("alike", [True, False])
def test_no_record_is_twice_in_a_batch_and_all_come_equally_often(batches, size, records, alike):
    lengths = np.full(records, 9) if alike else np.random.default_rng(0).integers(5, 500, records)
    seen = Counter()
    for numbers, before in batches_of(30, (batches, size), records, lengths):
        assert all(len(set(batch)) == size for batch in numbers.tolist())
        for number in np.unique(numbers):
            # Whatever is random about a record depends on how often it was met: no two times alike.
            times = np.sort(before[numbers == number]).tolist()
            assert times == list(range(seen[number], seen[number] + len(times)))
            seen[number] += len(times)
        assert (np.diff(lengths[numbers], axis=1) <= 0).all()
    counts = [seen[number] for number in range(records)]
    assert max(counts) - min(counts) <= 1


def test_fewer_records_than_a_batch_takes_are_in_each_equally_often():
    for numbers, _ in batches_of(5, (4, 16), 5, np.arange(5)):
        for batch in numbers.tolist():
            assert set(Counter(batch).values()) <= {3, 4}


def test_records_that_come_once_are_cut_into_batches_of_like_length():
    lengths = np.random.default_rng(1).integers(5, 500, 1000)
    numbers, _ = next(batches_of(1, (8, 16), 1000, lengths))
    ordered = np.sort(lengths[numbers].reshape(-1))[::-1].reshape(8, 16)
    np.testing.assert_array_equal(lengths[numbers], ordered)
