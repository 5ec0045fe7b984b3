"""Eight encodings of numbers: the paper's figures, exact rounding, and the same masks under each."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polycli.errors import CheckpointError, RecipeError, UserError
from polycli.xval.numbers import (
    covering_exponents,
    encoding_from_json,
    expand,
    make_encoding,
    token_names,
)
from polycli.xval.numbers.base import NumberRangeError
from polycli.xval.numbers.figures import scientific
from polycli.xval.numbers.fixed_point import digits_for
from polycli.xval.numbers.scaling import Scaler, Scaling
from polycli.xval.records.encode import encode_records
from polycli.xval.records.structure import NUM
from polycli.xval.records.values import Record
from polycli.xval.records.vocabulary import Vocabulary

TEXT_FORMS = ("p10", "p1000", "b1999", "fp15")
ALL = ("xval", "multiscale", "fone", "bits", *TEXT_FORMS)
finite = st.floats(allow_nan=False, allow_infinity=False)


def rounded(value):
    """Three significant figures by Python's own exact rounding."""
    return float(f"{value:.2e}")


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("p10", ["-", "6", "0", "2", "E-1"]),
        ("p1000", ["-", "602", "E-1"]),
        ("b1999", ["-602", "E-1"]),
        ("fp15", ["-602E-1"]),
    ],
)
def test_minus_60_2_is_written_as_in_the_papers_table(name, tokens):
    encoding = make_encoding(name)
    ids = encoding.encode(np.array([-60.2]))[0]
    assert [encoding.vocabulary_tokens[place] for place in ids] == tokens
    assert encoding.tokens_per_number == len(tokens)


def test_vocabularies_have_the_sizes_that_follow_from_their_parts():
    # Signs, digits, mantissas with one for zero, and 15 powers of ten.
    sizes = {
        "xval": 0,
        "multiscale": 0,
        "fone": 0,
        "bits": 0,
        "p10": 2 + 10 + 15,
        "p1000": 2 + 901 + 15,
        "b1999": 1801 + 15,
        "fp15": 1 + 1800 * 15,
    }
    for name, size in sizes.items():
        tokens = make_encoding(name).vocabulary_tokens
        assert len(tokens) == len(set(tokens)) == size


@pytest.mark.parametrize("name", TEXT_FORMS)
@settings(max_examples=100, deadline=None)
@given(value=finite)
def test_text_forms_keep_three_significant_figures_of_any_number(name, value):
    # Subnormals have fewer figures.
    if math.isinf(rounded(value)) or (value and abs(rounded(value)) < 1e-290):
        return
    low, high = covering_exponents(np.array([value]))
    encoding = make_encoding(name, (low, high))
    found = encoding.decode(encoding.encode(np.array([value])))[0]
    # Exact where the power of ten is a float64; else to its rounding.
    assert found == pytest.approx(rounded(value), rel=0 if -20 < low < 20 else 1e-15)
    assert encoding.decode(encoding.encode(np.array([found])))[0] == found


@settings(max_examples=200, deadline=None)
@given(st.one_of(finite, st.integers(-99999, 99999).map(lambda n: n / 1000), st.floats(0.001, 1000)))
def test_figures_are_rounded_as_python_formats_them(value):
    mantissa, power = f"{value:+.2e}".split("e")
    expected = "+0.00e+0" if value == 0 else f"{mantissa}e{int(power):+d}"
    assert scientific(value) == expected


def test_ties_go_as_the_exact_binary_value_says():
    for value in (1.005, 1.015, 1.025, 1.125, 0.1225, 100.5, 101.5, 9.995, 99.95, 1.0049999999999999):
        assert scientific(value) == "{}e{:+d}".format(f"{value:+.2e}".split("e")[0], int(f"{value:.2e}".split("e")[1]))


@pytest.mark.parametrize("name", TEXT_FORMS)
def test_numbers_outside_the_exponents_are_refused_and_never_written_as_others(name):
    encoding = make_encoding(name, (-2, 3))
    for value, reason in (
        (-0.00996, "smaller than 1e-2"),
        (9995.5, "beyond 9.99e3"),
        (1e12, "beyond 9.99e3"),
        (math.nan, "not finite"),
        (math.inf, "not finite"),
    ):
        with pytest.raises(NumberRangeError, match=reason) as caught:
            encoding.encode(np.array([1.0, value]))
        assert caught.value.position == 1
    kept = np.array([0.01, -0.0, 0.0, 9990.0, -1.0])
    assert encoding.decode(encoding.encode(kept)).tolist() == kept.tolist()
    assert covering_exponents(np.array([0.0, -0.00996, 9994.0, np.nan])) == (-3, 3)


@pytest.mark.parametrize("name", TEXT_FORMS)
def test_tokens_in_wrong_places_decode_to_nan_and_all_others_to_numbers(name):
    encoding = make_encoding(name, (-1, 1))
    starts = np.array([start for start, _ in encoding.slots])
    ends = np.array([end for _, end in encoding.slots])
    good = encoding.decode(np.stack([starts, ends - 1]).astype(np.int32))
    assert np.isfinite(good).all()
    wrong = starts.copy()
    wrong[-1] = len(encoding.vocabulary_tokens)
    assert np.isnan(encoding.decode(wrong[None].astype(np.int32))[0])
    negative = starts.copy()
    negative[0] = -1
    assert np.isnan(encoding.decode(negative[None].astype(np.int32))[0])
    if encoding.tokens_per_number > 1:
        assert np.isnan(encoding.decode(starts[::-1][None].astype(np.int32))[0])


def test_one_token_for_each_number_has_its_limit():
    with pytest.raises(RecipeError, match="fp15 has a token for each of 1800 numbers"):
        make_encoding("fp15", (-20, 20))


@pytest.mark.parametrize("name", ALL)
def test_encodings_survive_json(name):
    encoding = make_encoding(name, (-3, 5))
    assert encoding_from_json(json.loads(json.dumps(encoding.to_json()))) == encoding
    with pytest.raises(CheckpointError, match="encoding of the numbers cannot be read"):
        encoding_from_json({"name": name, "exponents": ["low"]} if name in (*TEXT_FORMS, "fone") else {})


@pytest.fixture
def records():
    vocabulary = Vocabulary(["a", "b"])
    values = [{"a": 1.25, "b": [10.0, -20.5]}, {"b": []}, {"a": "text", "b": 3}]
    return encode_records([Record(str(place), value) for place, value in enumerate(values)], vocabulary), vocabulary


@pytest.mark.parametrize("name", ALL)
def test_expansion_changes_numbers_alone_and_says_where_every_token_comes_from(records, name):
    neutral, vocabulary = records
    encoding = make_encoding(name)
    scaling = Scaling({"a": Scaler("affine", 1.0, 0.5)})
    expanded = expand(neutral, encoding, scaling, vocabulary)
    scaled = np.array([0.5, 10.0, -20.5, 3.0])
    assert expanded.targets.tolist() == scaled.tolist()
    width = encoding.tokens_per_number
    assert np.diff(expanded.offsets).tolist() == [
        tokens + numbers * (width - 1)
        for tokens, numbers in zip(neutral.token_lengths, neutral.number_lengths, strict=True)
    ]
    is_number = neutral.token_ids[expanded.source] == NUM
    assert expanded.token_ids[~is_number].tolist() == neutral.token_ids[neutral.token_ids != NUM].tolist()
    tokens = expanded.token_ids[expanded.number_slots[:, None] + np.arange(width)]
    if encoding.continuous:
        assert (tokens == NUM).all()
        assert expanded.numbers[expanded.number_slots].tolist() == scaled.tolist()
        assert (np.delete(expanded.numbers, expanded.number_slots) == 1).all()
    else:
        assert encoding.decode(tokens - len(vocabulary)).tolist() == scaled.tolist()
        assert (expanded.numbers == 1).all()
    assert expanded.token_ids.max() < len(token_names(vocabulary, encoding))
    # One mask, drawn on the neutral tokens, hides the same numbers whatever the encoding.
    hidden = np.random.default_rng(0).random(len(neutral.token_ids)) < 0.5
    numbers_hidden = hidden[neutral.token_ids == NUM]
    places = hidden[expanded.source][expanded.number_slots[:, None] + np.arange(width)]
    assert (places == numbers_hidden[:, None]).all()


def test_names_of_model_rows_are_those_of_both_vocabularies(records):
    _, vocabulary = records
    names = token_names(vocabulary, make_encoding("p10"))
    assert names[: len(vocabulary)] == vocabulary.tokens
    assert names[len(vocabulary) :][:3] == ("number:+", "number:-", "number:0")
    assert len(set(names)) == len(names)


def test_a_number_that_cannot_be_written_is_named_with_its_record_and_key_path(records):
    neutral, vocabulary = records
    with pytest.raises(UserError, match=r"0, b: the scaled number 10.0 is beyond 9.99e0"):
        expand(neutral, make_encoding("p10", (-1, 0)), Scaling({}), vocabulary)


def test_digits_above_the_first_are_refused_and_small_numbers_are_rounded(records):
    encoding = make_encoding("fone", (-2, 3))
    kept = np.array([9999.994, -9999.99, 0.0, 0.004, 1e-30])
    assert encoding.digits_below(kept).tolist() == [999999, 999999, 0, 0, 0]
    assert encoding.encode(kept).tolist() == [[0]] * 5
    for value, reason in ((9999.996, "has digits above 1e3"), (-1e4, "above 1e3"), (math.nan, "not finite")):
        with pytest.raises(NumberRangeError, match=reason) as caught:
            encoding.encode(np.array([1.0, value]))
        assert caught.value.position == 1
    neutral, vocabulary = records
    with pytest.raises(UserError, match=r"0, b: the scaled number 10.0 has digits above 1e0"):
        expand(neutral, make_encoding("fone", (-1, 0)), Scaling({}), vocabulary)


def test_digits_for_data_keep_three_figures_of_the_smallest_number_where_fifteen_digits_do():
    assert digits_for((0, 2)) == (-2, 2)
    assert digits_for((-9, 4)) == (-10, 4)
    with pytest.raises(CheckpointError, match="1 to 15 digits"):
        encoding_from_json({"name": "fone", "exponents": [-8, 7]})


def test_a_number_beyond_float32_is_refused():
    vocabulary = Vocabulary(["a"])
    neutral = encode_records([Record("first", {"a": 1.0}), Record("second", {"a": -1e39})], vocabulary)
    with pytest.raises(UserError, match=r"second, a: -1e\+39.* is beyond float32"):
        expand(neutral, make_encoding("xval"), Scaling({}), vocabulary)


def test_a_null_to_be_filled_has_no_target_and_can_be_written():
    vocabulary = Vocabulary(["a"])
    neutral = encode_records([Record("r", {"a": None})], vocabulary, nulls=["a"])
    for name in ALL:
        assert np.isnan(expand(neutral, make_encoding(name), Scaling({}), vocabulary).targets).all()
