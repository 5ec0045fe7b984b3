"""The arithmetic source: every result is the float64 nearest to the exact one."""

import math
from fractions import Fraction

import numpy as np
import pytest
from pydantic import ValidationError

from polycli.xval.recipe.sources import ArithmeticSection
from polycli.xval.sources.arithmetic import ArithmeticSource


def exact(tree, decimals):
    """The value of a tree in whole multiples of its last digit, by rational arithmetic."""
    if not isinstance(tree, list):
        return Fraction(round(tree * 10**decimals), 10**decimals)
    left, operation, right = exact(tree[0], decimals), tree[1], exact(tree[2], decimals)
    return {"+": left + right, "-": left - right, "*": left * right}[operation]


def operands(tree):
    return [tree] if not isinstance(tree, list) else operands(tree[0]) + operands(tree[2])


@pytest.mark.parametrize("digits", [3, 5])
def test_products_are_exact_whole_numbers(read, digits):
    writer, _ = read(ArithmeticSource(), arithmetic={"records": 300, "digits": digits})
    assert len(writer.records) == 300
    for name, record in writer.records.items():
        assert all(len(str(record[key])) == digits for key in "ab")
        assert record["product"] == record["a"] * record["b"]
        assert isinstance(record["product"], int)
        assert writer.groups[name] == " ".join(str(value) for value in sorted([record["a"], record["b"]]))


def test_trees_are_exact(read):
    section = {"task": "trees", "records": 300, "digits": 3, "decimals": 2, "signed": True, "operands": [2, 5]}
    writer, _ = read(ArithmeticSource(), arithmetic=section)
    sizes, operations = set(), set()
    for record in writer.records.values():
        assert record["result"] == float(exact(record["expression"], 2))
        sizes.add(len(operands(record["expression"])))
        operations.update(character for character in str(record["expression"]) if character in "+*")
        assert all(0.995 < abs(operand) < 10 for operand in operands(record["expression"]))
    assert sizes == {2, 3, 4, 5}
    assert operations == {"+", "*"}


def test_rows_of_a_table_follow_from_three_numbers_and_are_written_as_tables_are(read):
    writer, _ = read(ArithmeticSource(), arithmetic={"task": "table", "records": 500, "columns": 12})
    rows = list(writer.records.values())
    names = [f"column{place:03d}" for place in range(12)]
    assert all(list(row) == names for row in rows)
    values = np.array([list(row.values()) for row in rows])
    # Units differ by powers of ten: each column has 3 figures or so, and integers where they are whole.
    sizes = np.log10(np.abs(values).mean(axis=0))
    assert sizes.min() < 1
    assert sizes.max() > 3
    assert all(isinstance(row[name], int) == (type(rows[0][name]) is int) for row in rows for name in names)
    assert any(isinstance(value, int) for value in rows[0].values())
    # Three hidden numbers, each also through a sine: few directions hold nearly all of the variance of twelve columns.
    spread = np.linalg.svd((values - values.mean(axis=0)) / values.std(axis=0), compute_uv=False) ** 2
    assert spread[:7].sum() > 0.95 * spread.sum()
    again, _ = read(ArithmeticSource(), arithmetic={"task": "table", "records": 3, "columns": 12})
    assert list(again.records.values()) == rows[:3]


def test_operands_over_many_decades_are_even_in_their_logarithm_and_results_follow(read):
    writer, _ = read(ArithmeticSource(), arithmetic={"task": "decades", "records": 4000, "signed": True})
    results = {
        "first": lambda a, b: a,
        "mean": lambda a, b: math.copysign(math.sqrt(abs(a) * abs(b)), a * b),
        "sum": lambda a, b: a + b,
        "larger": max,
    }
    records = list(writer.records.values())
    for record in records:
        assert record["result"] == pytest.approx(results[record["operation"]](record["a"], record["b"]), rel=1e-14)
    assert {record["operation"] for record in records} == set(results)
    decades = [math.floor(math.log10(abs(record[key]))) for record in records for key in "ab"]
    counts = [decades.count(decade) for decade in range(-4, 4)]
    assert sum(counts) == 8000
    # 1000 expected in each, with a standard deviation of 30.
    assert all(abs(count - 1000) < 150 for count in counts)
    assert 0.4 < sum(record["a"] < 0 for record in records) / 4000 < 0.6


def test_records_do_not_depend_on_how_many_are_made(read):
    few, _ = read(ArithmeticSource(), arithmetic={"records": 50}, limit=7)
    many, _ = read(ArithmeticSource(), arithmetic={"records": 5000}, backwards=True)
    assert len(few.records) == 7
    assert all(many.records[name] == record for name, record in few.records.items())


def test_more_decimals_than_digits_are_refused():
    with pytest.raises(ValidationError, match="at most digits = 2"):
        ArithmeticSection(digits=2, decimals=3)
