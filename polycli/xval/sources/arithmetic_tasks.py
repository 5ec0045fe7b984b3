"""Exact arithmetic as records: products of whole numbers, trees of +, - and x, and operations over many decades.

The first two are those of Golkar et al. 2023, section 3: operands are drawn as whole numbers and computed with as such,
so that every result is the float64 nearest to the exact one. The third asks what an encoding does with numbers of very
different size. What is drawn for a record follows from (seed, index) alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from polycli.requests import JsonDocument
from polycli.xval.recipe.sources import ArithmeticSection

OPERATIONS = ("+", "-", "*")
#: What the task `decades` does with two numbers; none of them leaves the range of its operands by much.
WIDE_OPERATIONS = ("first", "mean", "sum", "larger")
_Number = int | Fraction


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
