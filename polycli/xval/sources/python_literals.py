"""Reads Python literals without running anything: dicts, lists, tuples, numbers, texts, and NumPy's printed scalars.

`np.float64(4.37)` is how NumPy 2 prints a number; a pattern that looks for digits would find 64 in it as well.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections import Counter

from polycli.xval.records.values import TOO_DEEP, NumberLiteral, Value
from polycli.xval.sources.json_text import DuplicateKeyError, decoder, may_exceed_float64, number_of

WRAPPED = "np.float64(...) and the like, read as the number inside"
TUPLES = "tuples, read as lists"
_SCALAR = re.compile(r"\b(?:np|numpy)\.(?:float|int|uint|bool_?)\d*\(([^()'\"]*)\)")
_SCALAR_NAMES = re.compile(r"(?:float|int|uint)\d+|bool_?|array|asarray")
_LINE_END = re.compile(r"\r\n|\r|\n")
_CONSTANTS = {"nan": math.nan, "NaN": math.nan, "inf": math.inf, "Infinity": math.inf}
_QUICK, _CAREFUL = decoder(careful=False, strict=False), decoder(careful=True, strict=False)


class LiteralError(ValueError):
    """The text is no literal; `column`, from 1 on, says where."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.column = column


def read_literal(text: str, notes: Counter[str]) -> Value:
    """The value of one line; what is worth a note is counted in `notes`.

    Raises:
        LiteralError: it is no literal, or one that JSON has no counterpart of.
        DuplicateKeyError: a dict has a key twice.
    """
    # With single quotes alone and no escapes, a dict of plain values is JSON but for the quotes, and JSON is read in C.
    if '"' not in text and "\\" not in text:
        plain, found = _without_wrappers(text) if "np." in text or "numpy." in text else (text, 0)
        try:
            value: Value = (_CAREFUL if may_exceed_float64(plain) else _QUICK).decode(plain.replace("'", '"'))
        except (json.JSONDecodeError, RecursionError):
            pass
        else:
            if found:
                notes[WRAPPED] += found
            return value
    return _Literals(text, notes).read()


def _without_wrappers(text: str) -> tuple[str, int]:
    """The text with NumPy's scalars outside of quotes replaced by what they hold, and how many there were."""
    parts = text.split("'")
    total = 0
    for index in range(0, len(parts), 2):
        parts[index], count = _SCALAR.subn(r"\1", parts[index])
        total += count
    return "'".join(parts), total


class _Literals:
    """Walks the syntax tree of one literal."""

    def __init__(self, text: str, notes: Counter[str]) -> None:
        self._text = text.strip()
        #: As the parser counts lines and columns; looked up for every number.
        self._lines = [line.encode() for line in _LINE_END.split(self._text)]
        self._indent = len(text) - len(text.lstrip())
        self._notes = notes

    def read(self) -> Value:
        try:
            tree = ast.parse(self._text, mode="eval")
        except SyntaxError as error:
            raise LiteralError(f"malformed literal: {error.msg}", self._indent + (error.offset or 1)) from error
        except (ValueError, MemoryError, RecursionError) as error:
            raise LiteralError(f"malformed literal: {error}", 1) from error
        try:
            return self._value(tree.body)
        except RecursionError as error:
            raise LiteralError(f"malformed literal: {TOO_DEEP}", 1) from error

    def _value(self, node: ast.expr) -> Value:  # noqa: PLR0911  # one branch for each kind of literal
        match node:
            case ast.Constant(value=float()):
                return number_of(self._source(node))
            case ast.Constant(value=None | bool() | int() | str() as value):
                return value
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                return self._signed(node, self._value(operand), negative=isinstance(sign, ast.USub))
            case ast.List(elts=members):
                return [self._value(member) for member in members]
            case ast.Tuple(elts=members):
                self._notes[TUPLES] += 1
                return [self._value(member) for member in members]
            case ast.Dict(keys=keys, values=values):
                return self._dict(node, keys, values)
            case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="np" | "numpy" | "math"), attr=name) if (
                name in _CONSTANTS
            ):
                return _CONSTANTS[name]
            case ast.Call(func=ast.Name() | ast.Attribute() as function, args=[inner]) if self._is_wrapper(function):
                self._notes[WRAPPED] += 1
                return self._value(inner)
        raise self._wrong(node, f"{self._source(node)[:40]!r} is no literal")

    def _dict(self, node: ast.expr, keys: list[ast.expr | None], values: list[ast.expr]) -> Value:
        found: dict[str, Value] = {}
        for key, value in zip(keys, values, strict=True):
            name = self._value(key) if key is not None else None
            if not isinstance(name, str):
                raise self._wrong(key or node, f"the key {name!r} is no text")
            if name in found:
                raise DuplicateKeyError(f"the key {name!r} stands twice in one object")
            found[name] = self._value(value)
        return found

    def _signed(self, node: ast.expr, value: Value, *, negative: bool) -> Value:
        if isinstance(value, NumberLiteral):
            return NumberLiteral(f"-{value.text}") if negative else value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(node, f"{self._source(node)[:40]!r} is no literal")
        return -value if negative else value

    def _is_wrapper(self, function: ast.expr) -> bool:
        if isinstance(function, ast.Attribute):
            known = isinstance(function.value, ast.Name) and function.value.id in ("np", "numpy")
            return known and _SCALAR_NAMES.fullmatch(function.attr) is not None
        return isinstance(function, ast.Name) and function.id == "array"

    def _source(self, node: ast.expr) -> str:
        if node.lineno != node.end_lineno or node.lineno > len(self._lines):
            return ast.get_source_segment(self._text, node) or ""
        return self._lines[node.lineno - 1][node.col_offset : node.end_col_offset].decode("utf-8", "replace")

    def _wrong(self, node: ast.expr, message: str) -> LiteralError:
        return LiteralError(message, self._indent + node.col_offset + 1)
