"""Names from files do nothing on a terminal, in a path, in a figure or in a table."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycli.names import (
    LONGEST_SHOWN,
    cell,
    clean,
    clean_lines,
    file_stem,
    free_names,
    problem_of_name,
    without_formulas,
)


def test_plain_names_stay_as_they_are():
    for name in ("compNS_M0.1_64", "décès", "名前", "a b", "x (1)"):
        assert clean(name) == name
        assert problem_of_name(name) is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [("\x1b[31mred", r"\x1b[31mred"), ("a\rb", r"a\rb"), ("\x9b2J", r"\x9b2J"), ("\u202eabc", r"\u202eabc"),
     ("\udcff", r"\udcff"), ("a\nb", r"a\nb"), ("\x07", r"\x07"), ("\x7f", r"\x7f")],
)  # fmt: skip
def test_what_a_terminal_would_obey_is_shown_as_an_escape(name, shown):
    assert clean(name) == shown
    assert problem_of_name(name) == "holds characters that cannot be shown"


def test_a_message_keeps_its_lines_and_tabs():
    assert clean_lines("a\tb\n\x1b[2Jc") == "a\tb\n\\x1b[2Jc"


@given(st.text())
def test_a_file_name_stays_in_its_folder(name):
    stem = file_stem(name)
    assert Path(f"folder/{stem}.png").parent == Path("folder")
    assert Path(f"folder/{stem}.png").resolve().parent == Path("folder").resolve()
    assert 0 < len(stem.encode()) < 255 - len(".png") or len(stem) <= 130
    assert "\0" not in stem


def test_names_that_no_path_can_hold_stay_different():
    assert len({file_stem(name) for name in ("a/b", "a\\b", "a_b", "../a_b", "/a/b")}) == 5
    assert file_stem("swe_64.height") == "swe_64.height"


@pytest.mark.parametrize("name", ["", " ", "..", ".", "/elsewhere/x", "../x", "a/b", "a\\b", "x" * (LONGEST_SHOWN + 1)])
def test_names_that_lead_elsewhere_are_no_names_of_stores(name):
    assert problem_of_name(name) is not None


def test_dollars_in_a_figure_are_dollars():
    assert without_formulas("$x_{$") == r"\$x_{\$"


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+cmd|'/c calc'!A0", "-x", "\t=1", "\r=1"])
def test_a_formula_is_quoted(text):
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-5", "+1.5e-3", "a=1", "", "NGC 1"])
def test_numbers_and_other_texts_are_not_quoted(text):
    assert cell(text) == text


@pytest.mark.parametrize(
    ("names", "taken", "expected"),
    [
        (["mass", "ra"], ["ra", "dec"], ["mass", "own_ra"]),
        (["ra", "own_ra"], ["ra"], ["own_ra_2", "own_ra"]),
        (["a", "a", "a"], [], ["a", "own_a", "own_a_2"]),
    ],
)
def test_columns_have_names_that_are_free(names, taken, expected):
    assert free_names(names, taken=taken, prefix="own_") == expected
