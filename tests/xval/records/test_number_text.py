"""Numbers in free text: the original's cases where it is right, and ours where research found it wrong."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polycli.xval.numbers.figures import scientific
from polycli.xval.records.number_text import find_numbers, split_text

#: By text: what a reader would call its numbers, where the original reads something else, and why that is wrong.
ORIGINAL_IS_WRONG = {
    "1,000": [],  # 1 and 0: grouped digits are no two numbers, and whether they are one is a guess
    "007": [],  # 7: an identifier, whose zeros would be lost
    "2023-10-04": [],  # 2023, -10, -4: a date
    ".5": [0.5],  # 5
    "-.5": [-0.5],  # 5
    "1.5.2": [],  # 1.5 and 2: a version
    "'t':'12:30'": [],  # 2: half of a time
    "'2023-10-04'": [],  # 23 and -10: parts of a date
    "'v1.5'": [],  # 1: part of a version
    '"a2":3': [3],  # 2 and 3: the first is part of a key
    "H2O": [],  # 2
    "\u22125": [-5],  # 5: the minus sign is one
    "1 e5": [1],  # 1 and 5, and later 1e5
    "np.float64(1.5)": [1.5],  # 64 and 1.5
}


def read(text):
    return [span.value for span in find_numbers(text)]


@pytest.mark.parity
def test_the_originals_cases_agree_but_for_those_in_which_it_is_wrong(shared):
    cases = json.loads((shared / "parity/xval_functions.json").read_text())["cases"]
    assert ORIGINAL_IS_WRONG.keys() <= {case["text"] for case in cases}
    agreed = 0
    for case in cases:
        text = case["text"]
        expected = ORIGINAL_IS_WRONG.get(text, [float(number) for number in case["extract"][1]])
        assert read(text) == expected, text
        agreed += text not in ORIGINAL_IS_WRONG
    assert agreed == len(cases) - len(ORIGINAL_IS_WRONG)


@pytest.mark.parity
def test_the_originals_texts_agree_but_for_numbers_that_begin_with_a_point(shared):
    for case in json.loads((shared / "parity/xval_text.json").read_text()):
        expected = [float(number) for number in case["numbers"]]
        if "'f':.5" in case["text"]:
            expected[5] = 0.5
        assert read(case["text"]) == expected
        pieces = split_text(case["text"])
        # The original drops spaces everywhere and commas between numbers; what is left is the same text.
        plain = "".join(piece if isinstance(piece, str) else "[NUM]" for piece in pieces).replace(" ", "")
        assert plain.replace("[NUM],[NUM]", "[NUM][NUM]").replace("[NUM],[NUM]", "[NUM][NUM]") == case[
            "without_numbers"
        ].replace(".[NUM]", "[NUM]", 1 if "'f':.5" in case["text"] else 0)


@pytest.mark.parity
def test_three_significant_figures_are_the_originals(shared):
    # It writes sizes up to 1e-8 as zero, which ours does not.
    for case in json.loads((shared / "parity/xval_functions.json").read_text())["cases"]:
        if case["text"] in ("1e+05", "2049", "70000", "-0.0", "007", "5."):
            assert scientific(float(case["text"])) == case["convert_num_string_3sf"].rstrip(".")
    assert scientific(1e-8) == "+1.00e-8"


def test_words_units_and_names_are_told_from_numbers():
    assert split_text("5kg of 3C273, the 2nd, at 10.5m") == [5, "kg of 3C273, the 2nd, at ", 10.5, "m"]
    assert split_text("(1.42-8.20)*3=35.592") == ["(", 1.42, -8.2, ")*", 3, "=", 35.592]
    assert split_text("COVID-19 in 04.10.2023 at 12:30:05.5") == ["COVID-19 in 04.10.2023 at 12:30:05.5"]
    assert split_text("x=[1,200,300]") == ["x=[", 1, ",", 200, ",", 300, "]"]


def test_identifiers_grouped_digits_and_clock_times_are_one_thing_each_and_come_back():
    for text in (
        "Sample 007 of batch 00123",
        "The trial (1,000 patients, 12,500 visits) ended early",
        "Cohort [1,250 men and 1,310 women], (1,000) in all",
        "RA 12h34m56.7s Dec -05d06m07.8s",
        "It took 1h2.5m and then 3h04.25m more",
    ):
        assert split_text(text) == [text]
    assert split_text("0.5 of 6.02d+23 and 1.5D-3, 5d, -0") == [
        0.5, " of ", 6.02e23, " and ", 1.5e-3, ", ", 5, "d, ", 0,
    ]  # fmt: skip


def test_what_float64_cannot_hold_is_no_number():
    assert read("1e400 1e-400 9007199254740993 0e-400 1e308 5e-324") == [0.0, 1e308, 5e-324]


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="0123456789.-+eE, xa:'\"[]\u2212é", max_size=20))
def test_the_pieces_are_the_whole_text(text):
    spans = find_numbers(text)
    assert all(before.stop <= after.start for before, after in pairwise(spans))
    assert all(float(text[span.start : span.stop].replace("\u2212", "-")) == span.value for span in spans)
    texts = iter(split_text(text))
    end = 0
    for span in spans:
        if span.start > end:
            assert next(texts) == text[end : span.start]
        assert next(texts) == span.value
        end = span.stop
    assert "".join(piece for piece in texts if isinstance(piece, str)) == text[end:]


@settings(max_examples=100, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_read_from_its_own_digits(value):
    assert read(f"x = {value!r};") == [value]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit",
    [
        ".",
        "-",
        "1.",
        ".1",
        "1,",
        "1,111",
        "1:",
        "1-",
        "a-",
        "a.",
        "'1",
        "1e",
        "1a",
        "e",
        "1/",
        "\N{MINUS SIGN}",
        "1.1.",
        "9",
    ],
)
def test_the_search_takes_time_with_the_length_of_the_text(unit):
    # Half a million characters: with its square that would be hours.
    text = unit * (500_000 // len(unit))
    assert "".join(text[span.start : span.stop] for span in find_numbers(text)) is not None
    assert find_numbers(text + " 5")[-1].value == 5


def test_dots_before_a_number_are_text():
    assert [span.value for span in find_numbers("wait... 5 and ...6 and .. .5")] == [5, 0.5]
