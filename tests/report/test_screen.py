"""Columns that fit the screen, however narrow it is."""

import pytest

from polycli.report.screen import columns, width

ROWS = [("mpp_ti", "mpp", "the smallest of the four published sizes, for a single GPU"), ("short", "xval", "one word")]
HEADER = ("name", "family", "what it is")


def test_columns_are_aligned():
    assert columns([("a", 1), ("long", 22)], ("name", "n")) == "name  n\na     1\nlong  22"


@pytest.mark.parametrize("within", [60, 40, 24])
def test_columns_wider_than_the_screen_are_broken_and_no_word_is_lost(within):
    text = columns(ROWS, HEADER, within=within)
    assert max(map(len, text.splitlines())) <= within
    words = set(text.replace(":", "").split())
    assert words >= {word for row in ROWS for word in " ".join(row).split()}


@pytest.mark.parametrize(("said", "found"), [("40", 40), ("", None), ("0", None), ("wide", None)])
def test_the_width_is_that_of_columns_or_of_the_terminal(monkeypatch, said, found):
    monkeypatch.setenv("COLUMNS", said)
    assert width() == found
