"""Numbers and tables as people read them."""

import math

import pytest

from polycli.report.table import Table, as_html, as_text, interval, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (1.0, "1.00"),
        (123.4, "123"),
        (4321.0, "4.32e+03"),
        (0.00012345, "1.23e-4"),
        (0.0, "0"),
        (None, "-"),
        (math.inf, "diverged"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_an_interval_with_an_unknown_end_is_a_dash():
    assert interval([0.1, 0.25]) == "0.100 to 0.250"
    assert interval([0.1, None]) == interval(None) == "-"


def test_text_has_every_cell_in_line_and_no_colour_codes():
    table = Table("Errors", ["dataset", "error"], [["swe", "0.1"], ["a_very_long_name", "12.5"]], "A caption.")
    lines = as_text(table).splitlines()
    assert lines[0] == "Errors"
    assert lines[-1] == "A caption."
    rows = [line for line in lines if line.strip().startswith(("swe", "a_very"))]
    assert [line.split()[-1] for line in rows] == ["0.1", "12.5"]
    assert len({len(line) for line in rows}) == 1, "numbers stand right-aligned below each other"
    assert "\x1b" not in as_text(table)


def test_a_text_table_ends_with_its_last_row_even_if_a_group_ends_there():
    table = Table("Errors", ["a", "b"], [["one", "1"], ["two", "2"]], labels=1, ruled=frozenset({0, 1}))
    assert as_text(table).splitlines()[-1].split() == ["two", "2"]
    assert as_text(table)[0] == "E"


def test_html_escapes_every_text():
    table = Table("<script>", ["<b>"], [["<img src=x onerror=alert(1)>"]], "a & b")
    text = as_html(table)
    assert "<script>" not in text
    assert "<img" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "a &amp; b" in text


WIDE = Table(
    "Errors of one step and of rollouts",
    ["dataset", "field", *(f"score number {index}" for index in range(9))],
    [[f"dataset_{row}", "compressible_ns.velocity_x", *(f"{row}.{index}23" for index in range(9))] for row in range(3)],
    "A caption that is longer than a narrow terminal.",
    labels=2,
)


@pytest.mark.parametrize("width", [200, 80, 60, 40, 28])
def test_a_table_wider_than_the_screen_is_folded_and_no_cell_is_lost(width):
    lines = as_text(WIDE, width=width).splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "..." not in text
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    for cell in (cell for row in WIDE.rows for cell in row[2:]):
        assert cell in text
    flat = " ".join(text.split())
    for column in WIDE.columns[2:]:
        assert column in flat


def test_folded_pieces_repeat_the_labels_of_their_rows():
    lines = as_text(WIDE, width=80).splitlines()
    pieces = sum(line.strip().startswith("dataset  ") for line in lines)
    assert pieces > 1
    assert sum(line.strip().startswith("dataset_1 ") for line in lines) == pieces


def test_nobody_watches_a_pipe_so_a_table_there_is_whole(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert sum("dataset_1" in line for line in as_text(WIDE).splitlines()) == 1
    monkeypatch.setenv("COLUMNS", "80")
    assert sum("dataset_1" in line for line in as_text(WIDE).splitlines()) > 1
