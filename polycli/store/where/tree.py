"""The parts of a condition, which work on whole columns; unknown values make unknown results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polycli.errors import UserError
from polycli.store.where.values import NAMES, ColumnArray, Kind, Values, column_values, literal

Operation = Callable[[Any, Any], Any]
COMPARISONS: dict[str, Operation] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "=": np.equal,
    "==": np.equal,
    "!=": np.not_equal,
    "<>": np.not_equal,
}
ARITHMETIC: dict[str, Operation] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.mod,
    "**": np.power,
}
_OF_ONE_NUMBER: dict[str, Callable[[Any], Any]] = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "ln": np.log,
    "log10": np.log10,
    "log2": np.log2,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "sign": np.sign,
}
_OF_TWO_NUMBERS: dict[str, Operation] = {"least": np.minimum, "greatest": np.maximum}
_OF_ONE_TEXT: dict[str, Callable[[str], str]] = {"lower": str.lower, "upper": str.upper}
#: Functions that change no integer, which as a float might be another one.
_LEAVE_INTEGERS = ("floor", "ceil", "round")
#: By name of a function: how many arguments it takes.
FUNCTIONS = {**dict.fromkeys([*_OF_ONE_NUMBER, *_OF_ONE_TEXT], 1), **dict.fromkeys(_OF_TWO_NUMBERS, 2)}
_EXACT_FLOATS = 2**53
_LARGEST = 2**63 - 1


class Node(Protocol):
    """A part of a condition."""

    def values(self, columns: Mapping[str, ColumnArray]) -> Values:
        """The values of the part in every row."""
        ...


@dataclass(frozen=True)
class Constant:
    """A number, a text or a truth value that stands in the condition; None is null."""

    value: float | str | bool | None

    def values(self, columns: Mapping[str, ColumnArray]) -> Values:  # noqa: ARG002
        """The value itself, in every row."""
        return literal(self.value, "null" if self.value is None else repr(self.value))


@dataclass(frozen=True)
class Column:
    """The values of a column."""

    name: str

    def values(self, columns: Mapping[str, ColumnArray]) -> Values:
        """The values of the column in every row."""
        return column_values(self.name, columns[self.name])


@dataclass(frozen=True)
class Arithmetic:
    """Two numbers and what is computed of them."""

    sign: str
    left: Node
    right: Node

    def values(self, columns: Mapping[str, ColumnArray]) -> Values:
        """The result in every row; where it is no number, it is unknown."""
        sides = (side.values(columns) for side in (self.left, self.right))
        left, right = (_expect("number", side, f"around {self.sign}") for side in sides)
        kind = np.int64 if _stays_integer(self.sign, left.data, right.data) else np.float64
        one, other = left.data.astype(kind), right.data.astype(kind)
        with np.errstate(all="ignore"):
            data = np.asarray(ARITHMETIC[self.sign](one, other))
        return _number(data, left.known & right.known, f"{left.name} {self.sign} {right.name}")


@dataclass(frozen=True)
class Call:
    """A function of one or two values."""

    function: str
    arguments: tuple[Node, ...]

    def values(self, columns: Mapping[str, ColumnArray]) -> Values:
        """The result in every row; where it is no number, it is unknown."""
        given = [argument.values(columns) for argument in self.arguments]
        name = f"{self.function}({', '.join(value.name for value in given)})"
        if self.function in _OF_ONE_TEXT:
            (text,) = (_expect("text", value, f"in {self.function}()") for value in given)
            changed = [_OF_ONE_TEXT[self.function](str(value)) for value in np.ravel(text.data)]
            return Values("text", np.array(changed, object).reshape(text.data.shape), text.known, name)
        numbers = [_expect("number", value, f"in {self.function}()") for value in given]
        with np.errstate(all="ignore"):
            if self.function in _OF_TWO_NUMBERS:
                one, other = numbers
                data = np.asarray(_OF_TWO_NUMBERS[self.function](*_comparable(one.data, other.data)))
                return _number(data, one.known & other.known, name)
            data = numbers[0].data
            if data.dtype.kind in "iu" and self.function in _LEAVE_INTEGERS:
                return Values("number", data, numbers[0].known, name)
            # Without its sign the lowest integer of 64 bits is none of them.
            exact = self.function == "abs" and data.dtype.kind == "i" and int(data.min(initial=0)) >= -_LARGEST
            data = data.astype(np.int64 if exact else np.float64)
            return _number(np.asarray(_OF_ONE_NUMBER[self.function](data)), numbers[0].known, name)


@dataclass(frozen=True)
class Comparison:
    """Two values of one kind, compared."""

    sign: str
    left: Node
    right: Node

    def values(self, columns: Mapping[str, ColumnArray]) -> Values:
        """True or false where both values are known."""
        return compared(self.sign, self.left.values(columns), self.right.values(columns))


@dataclass(frozen=True)
class IsIn:
    """A value, looked for in a list."""

    value: Node
    choices: tuple[Constant, ...]

    def values(self, columns: Mapping[str, ColumnArray]) -> Values:
        """True where it equals one of the list; unknown where it is, or if it equals none and null is listed."""
        value = self.value.values(columns)
        return any_of([compared("=", value, choice.values(columns)) for choice in self.choices])


@dataclass(frozen=True)
class IsNull:
    """Whether a value is unknown."""

    value: Node

    def values(self, columns: Mapping[str, ColumnArray]) -> Values:
        """True where the value is null or NaN; always known."""
        value = self.value.values(columns)
        return Values("logical", ~value.known, np.ones_like(value.known), f"{value.name} is null")


@dataclass(frozen=True)
class Not:
    """The opposite of a condition."""

    condition: Node

    def values(self, columns: Mapping[str, ColumnArray]) -> Values:
        """True where the condition is false, unknown where it is unknown."""
        value = _expect("logical", self.condition.values(columns), "after not")
        return Values("logical", ~value.data.astype(np.bool_), value.known, f"not {value.name}")


@dataclass(frozen=True)
class Joined:
    """Several conditions between which `and` or `or` stands."""

    word: str
    conditions: tuple[Node, ...]

    def values(self, columns: Mapping[str, ColumnArray]) -> Values:
        """`and` is false where one of them is, `or` true where one is, whatever is known of the others."""
        values = [_expect("logical", each.values(columns), f"beside {self.word}") for each in self.conditions]
        if self.word == "or":
            return any_of(values)
        opposite = any_of([Values("logical", ~value.data.astype(np.bool_), value.known, "") for value in values])
        return Values("logical", ~opposite.data, opposite.known, "the condition")


def any_of(values: list[Values]) -> Values:
    """True where one is true, unknown where none is true and one is unknown."""
    true = np.logical_or.reduce(np.broadcast_arrays(*(value.known & value.data.astype(np.bool_) for value in values)))
    known = np.logical_and.reduce(np.broadcast_arrays(*(value.known for value in values)))
    return Values("logical", np.asarray(true), np.asarray(true | known), "the condition")


def compared(sign: str, left: Values, right: Values) -> Values:
    """The comparison of two values in every row.

    Raises:
        UserError: they are of different kinds, or true and false are to be ordered.
    """
    kinds = {left.kind, right.kind} - {"nothing"}
    if len(kinds) == 2:
        raise UserError(
            f"--where: {left.name} is {NAMES[left.kind]} and is compared with {right.name}, {NAMES[right.kind]}",
            hint=None if "text" not in kinds else "texts stand in quotes, and numbers without",
        )
    if kinds == {"logical"} and sign not in ("=", "==", "!=", "<>"):
        raise UserError(f"--where: {left.name} {sign} {right.name}: true and false have no order", hint="= or !=")
    known = np.asarray(left.known & right.known)
    if "nothing" in (left.kind, right.kind):
        return Values("logical", np.zeros_like(known), known, "the comparison")
    pair = _comparable(left.data, right.data) if kinds == {"number"} else (left.data, right.data)
    data = np.asarray(COMPARISONS[sign](*pair), np.bool_)
    return Values("logical", data, np.broadcast_to(known, data.shape), "the comparison")


def _comparable(one: NDArray[Any], other: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two arrays as types that numpy compares exactly: integers as 64 bits where these hold all, else as Python's."""
    kinds = {one.dtype.kind, other.dtype.kind}
    largest = max(_largest_integer(one), _largest_integer(other))
    if kinds == {"i", "u"} and largest <= _LARGEST:
        return one.astype(np.int64), other.astype(np.int64)
    if kinds == {"i", "u"} or ("f" in kinds and largest > _EXACT_FLOATS):
        return one.astype(object), other.astype(object)
    return one, other


def _largest_integer(data: NDArray[Any]) -> int:
    """The largest absolute value of integers; 0 where they are none."""
    if data.dtype.kind not in "iu":
        return 0
    return max(int(data.max(initial=0)), -int(data.min(initial=0)))


def _stays_integer(sign: str, one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether the result of integers is an integer that int64 holds."""
    if sign in ("/", "**") or not {one.dtype.kind, other.dtype.kind} <= {"i", "u"}:
        return False
    if sign == "%":
        return bool(np.all(other != 0))
    largest = [_largest_integer(side) for side in (one, other)]
    return (largest[0] * largest[1] if sign == "*" else sum(largest)) <= _LARGEST


def _number(data: NDArray[Any], known: NDArray[np.bool_], name: str) -> Values:
    there = known & ~np.isnan(data) if data.dtype.kind == "f" else known
    return Values("number", data, np.broadcast_to(there, data.shape), name)


def _expect(kind: Kind, value: Values, where: str) -> Values:
    """The value, if it is of a kind or null.

    Raises:
        UserError: it is of another one.
    """
    if value.kind == "nothing":
        return Values(kind, np.zeros(value.data.shape), value.known, value.name)
    if value.kind != kind:
        hint = f"{value.name} != 0" if (kind, value.kind) == ("logical", "number") else None
        raise UserError(
            f"--where: {value.name} is {NAMES[value.kind]}, and {NAMES[kind]} is expected {where}",
            hint=None if hint is None else f"write a comparison, such as {hint}",
        )
    return value
