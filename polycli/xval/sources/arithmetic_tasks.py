"""Exact arithmetic as records: products of whole numbers, trees of +, - and x, operations over many decades, a table.

The first two are those of Golkar et al. 2023, section 3: operands are drawn as whole numbers and computed with as such,
so that every result is the float64 nearest to the exact one. The third asks what an encoding does with numbers of very
different size. The fourth is no arithmetic but a table of many columns in units of many sizes, which follow from three
numbers that are not told. What is drawn for a record follows from (seed, index) alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.requests import JsonDocument
from polycli.xval.recipe.sources import ArithmeticSection

OPERATIONS = ("+", "-", "*")
#: What the task `decades` does with two numbers; none of them leaves the range of its operands by much.
WIDE_OPERATIONS = ("first", "mean", "sum", "larger")
_Number = int | Fraction
#: Numbers that the columns of a table follow from, and the standard deviation of what they do not, in each one's unit.
_HIDDEN, _NOISE = 3, 0.05
#: Tells the draw of columns from that of rows, which have the numbers below.
_OF_COLUMNS = 2**32 - 1


@dataclass(frozen=True)
class Problem:
    """A record, and what it shares with the records that must be in the same split."""

    record: JsonDocument
    group: str


def problem(section: ArithmeticSection, index: int) -> Problem:
    """Record number `index` of a recipe."""
    generator = np.random.default_rng([section.seed, index])
    if section.task == "decades":
        return _over_decades(section, generator, index)
    if section.task == "table":
        # No two rows have their hidden numbers in common.
        return Problem(_row(section, generator), f"{index}")
    if section.task == "products":
        one, other = (_operand(section, generator) for _ in range(2))
        low, high = sorted((one, other))
        record = {"a": _value(one), "b": _value(other), "product": _value(one * other)}
        # a * b and b * a have one answer: who has seen one knows the other.
        return Problem(record, f"{low} {high}")
    count = int(generator.integers(*section.operands, endpoint=True))
    operands = [_operand(section, generator) for _ in range(count)]
    tree, result = _tree(operands, generator)
    return Problem({"expression": tree, "result": _value(result)}, " ".join(str(one) for one in sorted(operands)))


def _over_decades(section: ArithmeticSection, generator: np.random.Generator, index: int) -> Problem:
    """`{"operation": "mean", "a": 2.3e-4, "b": 31.0, "result": 0.084}`; the mean is geometric, with the sign of ab."""
    sizes = 10.0 ** generator.uniform(*section.decades, size=2)
    signs = generator.choice((-1.0, 1.0), size=2) if section.signed else np.ones(2)
    a, b = (float(value) for value in signs * sizes)
    operation = WIDE_OPERATIONS[int(generator.integers(len(WIDE_OPERATIONS)))]
    results = {
        "first": a,
        "mean": float(np.copysign(np.sqrt(abs(a * b)), a * b)),
        "sum": a + b,
        "larger": max(a, b),
    }
    # No two records share their operands, so that there is nothing to keep together.
    return Problem({"operation": operation, "a": a, "b": b, "result": results[operation]}, f"{index}")


@dataclass(frozen=True)
class _Columns:
    """The columns of a table: a linear and a wavy part of the hidden numbers, in units of a power of ten."""

    names: tuple[str, ...]
    offsets: NDArray[np.float64]
    slopes: NDArray[np.float64]
    waves: NDArray[np.float64]
    powers: NDArray[np.int64]


@lru_cache(maxsize=1)
def _columns(seed: int, count: int) -> _Columns:
    generator = np.random.default_rng([seed, _OF_COLUMNS])
    return _Columns(
        tuple(f"column{place:03d}" for place in range(count)),
        generator.uniform(1, 4, count),
        generator.normal(size=(count, _HIDDEN)),
        generator.normal(size=(count, _HIDDEN)),
        generator.integers(-2, 4, count, endpoint=True),
    )


def _row(section: ArithmeticSection, generator: np.random.Generator) -> JsonDocument:
    """`{"column000": 31.4, "column001": 5230, ...}`: two decimals of each column's unit, as tables are written."""
    columns = _columns(section.seed, section.columns)
    hidden = generator.uniform(-1, 1, _HIDDEN)
    noise = generator.normal(scale=_NOISE, size=section.columns)
    values = columns.offsets + columns.slopes @ hidden + np.sin(2 * columns.waves @ hidden) / 2 + noise
    row: JsonDocument = {}
    for name, value, power in zip(columns.names, values.tolist(), columns.powers.tolist(), strict=True):
        written = round(value * 10.0**power, max(0, 2 - power))
        row[name] = int(written) if power >= 2 else written
    return row


def _operand(section: ArithmeticSection, generator: np.random.Generator) -> _Number:
    """Exactly `digits` digits, the first of which is not 0."""
    low, high = 10 ** (section.digits - 1), 10**section.digits
    magnitude = int(generator.integers(low, high))
    sign = -1 if section.signed and generator.random() < 0.5 else 1
    return sign * magnitude if section.decimals == 0 else Fraction(sign * magnitude, 10**section.decimals)


def _tree(operands: list[_Number], generator: np.random.Generator) -> tuple[Any, _Number]:
    """`[[1.32, "*", 32.1], "+", 8.2]` and its exact value: every division into left and right is as likely."""
    if len(operands) == 1:
        return _value(operands[0]), operands[0]
    cut = int(generator.integers(1, len(operands)))
    left, left_value = _tree(operands[:cut], generator)
    right, right_value = _tree(operands[cut:], generator)
    operation = OPERATIONS[int(generator.integers(len(OPERATIONS)))]
    match operation:
        case "+":
            value = left_value + right_value
        case "-":
            value = left_value - right_value
        case _:
            value = left_value * right_value
    return [left, operation, right], value


def _value(exact: _Number) -> int | float:
    """Converts an exact number to a JSON value: a whole number stays whole."""
    return exact if isinstance(exact, int) else float(exact)
