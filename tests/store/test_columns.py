"""Rows of different length come back as they went in, whole, selected and as texts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycli.store.columns import Ragged, joined, select

ROWS = st.lists(st.lists(st.integers(-5, 5), max_size=6), max_size=12)


@given(rows=ROWS, data=st.data())
def test_any_rows_in_any_order_are_those_rows(rows, data):
    ragged = Ragged.of(rows, np.int32)
    assert [row.tolist() for row in ragged] == rows
    numbers = data.draw(st.lists(st.integers(0, max(0, len(rows) - 1)), max_size=8 if rows else 0))
    chosen = ragged.select(np.array(numbers, dtype=np.int64))
    assert [row.tolist() for row in chosen] == [rows[number] for number in numbers]
    assert chosen.values.dtype == np.int32


@given(rows=ROWS, data=st.data())
def test_a_mask_keeps_the_rows_that_it_marks(rows, data):
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=bool)
    kept = select(Ragged.of(rows, np.float64), mask)
    assert [row.tolist() for row in kept] == [row for row, keep in zip(rows, mask, strict=True) if keep]


@given(st.lists(st.text(), max_size=8))
def test_texts_come_back_with_their_ends_and_zero_bytes(texts):
    assert Ragged.of_strings([*texts, "end\0", "", " ü "]).strings() == [*texts, "end\0", "", " ü "]


def test_parts_are_joined_in_order():
    parts = [Ragged.of([[1, 2], []], np.int32), Ragged.of([[3]], np.int32)]
    assert [row.tolist() for row in joined(parts)] == [[1, 2], [], [3]]
    assert joined([np.arange(2), np.arange(1)]).tolist() == [0, 1, 0]


@pytest.mark.parametrize("offsets", [[1, 2], [0, 1], [0, 3], []])
def test_offsets_that_do_not_cover_the_values_are_refused(offsets):
    with pytest.raises(ValueError, match="offsets"):
        Ragged(np.arange(2), np.array(offsets, dtype=np.int64))
