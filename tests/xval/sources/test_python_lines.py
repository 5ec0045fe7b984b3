"""The original's format: Python literals, one a line, read without running them."""

import math
from collections import Counter

import numpy as np
import pytest

from polycli.errors import SourceError
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.records.values import NumberLiteral
from polycli.xval.sources.python_lines import PythonLinesSource
from polycli.xval.sources.python_literals import TUPLES, WRAPPED, LiteralError, read_literal

RECIPE = PrepareRecipe(family="xval", verb="prepare")


@pytest.fixture
def load(tmp_path, kept):
    def read(*lines):
        path = tmp_path / "data.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        for block in PythonLinesSource().open([path], RECIPE, None).blocks:
            block.load(kept)
        return list(kept.records.values())

    return read


def test_every_number_of_planets_comes_back_bit_for_bit(load):
    random = np.random.default_rng(0)
    numbers = np.concatenate(
        [random.normal(size=500), random.normal(size=100) * 10.0 ** random.integers(-300, 300, 100)]
    )
    value = {
        "description": {"planet0": {"m": 1.3125619386712204, "e": 3e-05}},
        "data": numbers.reshape(-1, 3, 2).tolist(),
    }
    (found,) = load(str(value).replace(" ", ""))
    assert np.array(found["data"]).tobytes() == numbers.tobytes()
    assert found == value


def test_numpy_scalars_are_the_numbers_inside_and_are_counted(load, kept):
    values = load(
        "{'a': np.float64(4.37), 'b': [numpy.int64(-3), np.float32(1e-05)]}",
        """{"a": np.float64(4.37), 'b': "np.float64(1)", 'c': np.array([1.0, 2.0]), 'd': np.bool_(True)}""",
        "{'a': 'np.float64(2)'}",
    )
    assert values == [
        {"a": 4.37, "b": [-3, 1e-05]},
        {"a": 4.37, "b": "np.float64(1)", "c": [1.0, 2.0], "d": True},
        {"a": "np.float64(2)"},
    ]
    assert kept.counts == {WRAPPED: 6}


def test_what_python_writes_and_json_does_not_is_read_too(load, kept):
    values = load(
        "{'a': True, 'b': None, 'c': (1, 2), 'd': .5, 'e': 5., 'f': 1_000, 'g': +3, 'h': nan, 'i': -inf, 'j': 0x10,}",
        """{"it's": 'a "quote"', 'b': "\\n\\u2603"}""",
        "{'a': 'x' 'y'}",
        "{'a': 'tab\there'}",
        "{'a': 1e400, 'b': -1e-400, 'c': 12345678901234567890}",
        "-0.0",
    )
    first = values[0]
    assert math.isnan(first.pop("h"))
    assert first == {
        "a": True, "b": None, "c": [1, 2], "d": 0.5, "e": 5.0, "f": 1000, "g": 3, "i": -math.inf, "j": 16,
    }  # fmt: skip
    assert values[1:4] == [{"it's": 'a "quote"', "b": "\n\u2603"}, {"a": "xy"}, {"a": "tab\there"}]
    assert values[4] == {"a": NumberLiteral("1e400"), "b": NumberLiteral("-1e-400"), "c": 12345678901234567890}
    assert str(values[5]) == "-0.0"
    assert kept.counts == {TUPLES: 1}


@pytest.mark.parametrize(
    ("line", "column", "problem"),
    [
        ("{'a': 1", 1, "was never closed"),
        ("{'a': open('x')}", 7, "\"open('x')\" is no literal"),
        ("{'a': __import__('os').system('true')}", 7, "is no literal"),
        ("{'a': 1 + 2}", 7, "'1 + 2' is no literal"),
        ("{'a': -'x'}", 7, "is no literal"),
        ("{1: 2}", 2, "the key 1 is no text"),
        ("{**{}}", 1, "the key None is no text"),
        ("{'a': b'x'}", 7, "is no literal"),
        ("{'a': 1j}", 7, "is no literal"),
        ("{'a': {1, 2}}", 7, "is no literal"),
        ("[x for x in ()]", 1, "is no literal"),
    ],
)
def test_what_is_no_literal_is_named_with_file_line_and_column_and_never_run(load, line, column, problem):
    with pytest.raises(SourceError) as caught:
        load("{'a': 1}", "", line)
    assert caught.value.message.startswith(f"data.txt, line 3, column {column}: ")
    assert problem in caught.value.message


def test_a_second_key_of_the_same_name_rejects_its_record(load, kept):
    assert load("{'a': 1, 'a': 2}", "{'a': 1., 'a': 2}", "{'a': 3}") == [{"a": 3}]
    assert list(kept.rejected.values()) == ["the key 'a' stands twice in one object"] * 2


@pytest.mark.parity
def test_the_originals_texts_have_its_numbers_but_for_those_it_reads_wrongly(load, shared):
    import json

    cases = json.loads((shared / "parity/xval_text.json").read_text())
    found = load(*(case["text"] for case in cases))

    def numbers(value):
        if isinstance(value, dict):
            return [number for member in value.values() for number in numbers(member)]
        return [number for member in value for number in numbers(member)] if isinstance(value, list) else [value]

    for case, value in zip(cases, found, strict=True):
        expected = [float(number) for number in case["numbers"]]
        if "'f':.5" in case["text"]:
            expected[5] = 0.5  # the original reads 5
        assert numbers(value) == expected


@pytest.mark.timeout(60)
def test_a_long_line_with_escapes_takes_time_with_its_length():
    numbers = [f"{number}.5" for number in range(60_000)]
    found = read_literal(f'{{"a": [{", ".join(numbers)}], \'é"\': 1.5}}', Counter())
    assert found["a"][-1] == 59_999.5
    assert found['é"'] == 1.5


@pytest.mark.parametrize(
    "text", ['"' + "[" * 5000, "-" * 5000 + '1 #"', '"a"' + "+1" * 9000, "9" * 5000 + '#"', '("a"' * 300]
)
def test_deep_or_endless_literals_are_said(text):
    with pytest.raises(LiteralError):
        read_literal(text, Counter())
