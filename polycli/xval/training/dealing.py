"""Deals the records of some steps out to their batches: like lengths together, and none twice while others are left.

A bucket is as many records as make some batches. Sorted by length and cut, they make batches of like length; but the
copies of a record that a bucket holds more than once would lie side by side, and come into one batch. So batches are
filled in groups, in turns, and the copies of a record go to different ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polycli.engine.batches.order import shuffled

Rows = NDArray[np.int64]
#: With one batch alone, copies that meet at the border of two passes could not be kept apart.
FEWEST_BATCHES = 2


def bucket_of(index: int, shape: tuple[int, int], records: int, *key: str | int) -> tuple[Rows, Rows]:
    """Return the records of a bucket, and how often each was taken before; a pure function of its arguments.

    Where the records are at least as many as the bucket takes, all are gone through in a shuffled order without end.
    Where they are fewer, a bucket takes each equally often, and once more the next ones of a fixed order.

    Args:
        index: the number of the bucket.
        shape: batches of the bucket, and records of each.
        records: how many records there are.
        key: names the order.
    """
    taken = shape[0] * shape[1]
    if records >= taken:
        positions = np.arange(index * taken, (index + 1) * taken, dtype=np.int64)
        return shuffled(positions, records, *key), positions // records
    rounds, more = divmod(taken, records)
    # The order of those that are taken once more; `place` is where each stands in it.
    order = shuffled(np.arange(records, dtype=np.int64), records, *key, "once more")
    place = np.empty(records, dtype=np.int64)
    place[order] = np.arange(records)
    extras = np.arange(index * more, (index + 1) * more, dtype=np.int64)
    met = order[extras % records]
    numbers = shuffled(np.arange(records, dtype=np.int64), records, *key, "bucket", index)
    counts = np.full(records, rounds, dtype=np.int64)
    counts[met] += 1
    before = rounds * index + np.maximum(-(-(index * more - place) // records), 0)
    numbers = np.repeat(numbers, counts[numbers])
    return numbers, before[numbers] + _copies_before(numbers)


def deal(numbers: Rows, lengths: NDArray[np.int64], batches: int) -> NDArray[np.int64]:
    """Return (batches, records): places in `numbers`, longest records first in each batch, copies in different ones.

    Batches are of like length, but for groups of so many as a record has copies. A record is twice in a batch only
    where it has more copies than there are batches.
    """
    _, first, own, counts = np.unique(numbers, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first[own], -lengths))
    size = len(numbers) // batches
    groups = np.array_split(np.arange(batches), max(1, batches // int(counts.max())))
    dealt = [order[group[0] * size : (group[-1] + 1) * size].reshape(size, len(group)).T for group in groups]
    return np.concatenate(dealt)


def _copies_before(numbers: Rows) -> Rows:
    """How many copies of the same record stand before each; copies stand side by side."""
    starts = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]]))
    return np.arange(len(numbers)) - np.repeat(starts, np.diff(np.append(starts, len(numbers))))
