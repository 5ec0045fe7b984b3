"""Columns keep integers and texts as they are, with and without gaps."""

import numpy as np
import pytest

from polycli.astroclip.data.columns import Column, array_names, as_ids, column_of, joined, stacked
from polycli.errors import SourceError

BIG = 39633297352951412


def test_an_integer_column_with_gaps_keeps_every_digit():
    column = column_of("TARGETID", np.array([BIG, BIG + 1, -1695072], ">i8"))
    taken = column.take(np.array([1, -1, 2]))

    assert taken.values.tolist() == [BIG + 1, 0, -1695072]
    assert taken.valid.tolist() == [True, False, True]
    assert taken.kind == "integer"
    assert taken.nullable


def test_masked_arrays_of_every_kind_become_columns_with_gaps():
    mask = [False, True]
    floats = column_of("x", np.ma.masked_array([1.0, 2.0], mask))
    assert floats.values[0] == 1.0
    assert np.isnan(floats.values[1])
    assert column_of("b", np.ma.masked_array([True, False], mask)).valid.tolist() == [True, False]
    assert column_of("t", np.array([b"abc  ", b"d\0\0"])).values.tolist() == ["abc", "d"]
    assert column_of("v", np.zeros((2, 3))) is None


def test_unsigned_ids_beyond_64_signed_bits_are_texts_with_every_digit():
    column = column_of("id", np.ma.masked_array(np.array([2**63 + 5, 7], np.uint64), [False, True]), source="a.fits")
    assert column.values.tolist() == ["9223372036854775813", "7"]
    assert column.valid.tolist() == [True, False]
    assert as_ids(np.array([2**64 - 1], np.uint64), what="x").tolist() == ["18446744073709551615"]


def test_ids_are_never_taken_from_floats():
    with pytest.raises(SourceError, match=r"ids are float64, integers or text were expected.*53 bits"):
        as_ids(np.array([3.9633297352951412e16]), what="a.npz")
    assert as_ids(np.array(["a-1", "b"]), what="x").tolist() == ["a-1", "b"]
    with pytest.raises(SourceError, match="1 objects have no id"):
        as_ids(np.ma.masked_array([1, 2], [False, True]), what="x")


def test_text_ids_stay_as_they_are_and_bytes_lose_the_padding_of_their_width_alone():
    assert as_ids(np.array(["a ", " b"]), what="x").tolist() == ["a ", " b"]
    assert as_ids(np.array([b"a  ", b" bc"]), what="x").tolist() == ["a", " bc"]


def test_files_with_different_columns_are_put_together_with_gaps():
    first = [Column("a", np.array([BIG], np.int64)), Column("t", np.array(["x"], dtype=object))]
    second = [Column("a", np.array([1, 2], np.int64)), Column("f", np.array([0.5, 1.5], np.float32))]
    whole = {column.name: column for column in stacked([first, second], [1, 2])}

    assert whole["a"].values.tolist() == [BIG, 1, 2]
    assert whole["a"].valid is None
    assert whole["t"].valid.tolist() == [True, False, False]
    assert np.isnan(whole["f"].values[0])


def test_gaps_of_whole_numbers_are_no_zeros_where_another_file_has_floats():
    first = [Column("n", np.array([0, 3], np.int64), valid=np.array([False, True]))]
    second = [Column("n", np.array([1.5, np.nan]))]
    (whole,) = stacked([first, second], [2, 2])
    np.testing.assert_array_equal(whole.values, [np.nan, 3, 1.5, np.nan])
    assert whole.valid is None


def test_text_in_one_file_and_numbers_in_another_is_refused():
    with pytest.raises(SourceError, match=r"column a is text in one\.fits and numbers in another"):
        stacked([[Column("a", np.array(["x"], dtype=object), source="one.fits")], [Column("a", np.array([1]))]], [1, 1])


def test_columns_of_one_name_are_told_apart():
    names = [column.name for column in joined([Column("z", np.zeros(1))], [Column("z", np.ones(1))], suffix="_image")]

    assert names == ["z", "z_image"]


def test_array_names_are_plain_and_differ():
    names = array_names([Column(name, np.zeros(1)) for name in ("bar-strong", "bar_strong", "BAR STRONG", "x_null")])

    assert names[0] == "property_bar_strong"
    assert len({name.lower() for name in names}) == 4
    assert all(name.isidentifier() and not name.endswith("_null") for name in names)


def test_columns_of_several_files_are_in_one_unit():
    """The first file's unit stood for all."""
    parts = [[Column("f", np.ones(2), unit, source)] for unit, source in (("", "a"), ("nJy", "b"), ("uJy", "c"))]
    assert stacked(parts[:2], [2, 2])[0].unit == "nJy"
    with pytest.raises(SourceError, match="column f is in nJy in b and in uJy in c"):
        stacked(parts, [2, 2, 2])
