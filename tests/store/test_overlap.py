"""Rows that a model was trained on are found again, from packed hashes and from lists of digits."""

import hashlib

import numpy as np
import pytest

from polycli.errors import CheckpointError
from polycli.store.hashing import hashes_of, hex_of
from polycli.store.overlap import overlap, pack_hashes


def hashes(*numbers: int) -> np.ndarray:
    """(rows, 16) bytes, one row a number."""
    return hashes_of([hashlib.sha256(str(number).encode()).hexdigest()[:32] for number in numbers])


def test_positions_are_those_of_the_rows_that_trained():
    packed = pack_hashes(hashes(5, 3, 9, 3))
    assert overlap(packed, hashes(1, 3, 4, 5)).tolist() == [1, 3]
    assert overlap(packed, hashes(1, 2)).tolist() == []
    assert overlap(packed, hashes()).tolist() == []


def test_a_list_of_digits_means_the_same():
    assert overlap(hex_of(hashes(5, 3)), hashes(3, 4)).tolist() == [0]


def test_the_order_of_training_rows_does_not_show_and_a_row_costs_eleven_characters():
    rows = list(range(1000))
    assert pack_hashes(hashes(*rows)) == pack_hashes(hashes(*rows[::-1]))
    assert len(pack_hashes(hashes(*rows))) <= 11 * 1000


def test_nothing_trained_overlaps_with_nothing():
    assert overlap(pack_hashes(hashes()), hashes(1)).tolist() == []


@pytest.mark.parametrize("text", ["not base64!", "AAAA"])
def test_what_is_no_list_of_hashes_is_refused(text):
    with pytest.raises(CheckpointError, match="cannot be read"):
        overlap(text, hashes(1))
