"""Cells are read in a time that grows as their length does, and what no unit library can read is text."""

import pytest

from polycli.xval.records.cells import is_unit, read_cell, split_header

LONG = ("1 a" + " " * 100_000 + "<", "1" * 100_000 + "x<", " " * 100_000 + "<", "1 " + "m " * 50_000, "1 ± " * 25_000)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", [*LONG, "1." * 50_000])
def test_long_cells_are_text(text):
    assert read_cell(text) is None


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["a" + " " * 50_000 + "(", "[" * 50_000, "a (" * 20_000, "a [m" * 10_000])
def test_long_headers_have_no_unit(text):
    assert split_header(text)[1] is None


@pytest.mark.parametrize("text", ["m^99999", "10^9999 m", "m^(1/0)", "(" * 50, "m" * 1000, "m/(s", "\0", "1e400 m" * 9])
def test_what_is_no_unit_is_said_at_once(text):
    assert not is_unit(text)


@pytest.mark.parametrize(("text", "unit"), [("5 kg", "kg"), ("5kg  ", "kg"), ("5 km / s ", "km / s"), (" 5 ", None)])
def test_blanks_behind_a_unit_are_none_of_it(text, unit):
    assert read_cell(text).unit == unit
