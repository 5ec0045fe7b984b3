"""Parts cover the work once, whoever they are, and what is missing is named with the line that makes it."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycli.errors import StoreError
from polycli.store.parts import mine, note_part, refuse_missing


@given(pieces=st.integers(0, 40), count=st.integers(1, 9))
def test_every_piece_is_in_one_part_and_parts_differ_by_one_piece_at_most(pieces, count):
    parts = [mine(range(pieces), (part, count)) for part in range(count)]
    assert sorted(piece for part in parts for piece in part) == list(range(pieces))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert mine(range(pieces), None) == list(range(pieces))


def test_nothing_missing_is_no_error(tmp_path):
    refuse_missing([tmp_path], [], 10, output=tmp_path)


def test_missing_parts_are_named_with_the_line_of_the_first(tmp_path):
    for part in range(4):
        note_part(tmp_path / "work", (part, 4))
    line = ("prepare", "mpp", "--input", "my data", "--output", "out", "--finalize")
    with pytest.raises(StoreError, match=r"3 of 10 pieces of work .* parts 1/4, 3/4 did not") as caught:
        refuse_missing([tmp_path / "work"], [3, 5, 9], 10, output=tmp_path, line=line)
    assert "polycli prepare mpp --input 'my data' --output out --part 1/4 and the others" in caught.value.hint
    assert caught.value.exit_code == 2


def test_the_last_cut_of_the_work_counts(tmp_path):
    note_part(tmp_path, (0, 7))
    note_part(tmp_path, (1, 2))
    os.utime(tmp_path / "parts/0-of-7", (1, 1))
    with pytest.raises(StoreError, match="part 1/2 did not finish"):
        refuse_missing([tmp_path], [5], 10, output=tmp_path)


def test_without_any_part_the_first_step_is_named(tmp_path):
    with pytest.raises(StoreError, match="no part has begun") as caught:
        refuse_missing([tmp_path], [0], 1, output=tmp_path)
    assert "the same line with --part I/N" in caught.value.hint
