"""Reads JSON as it is written: numbers that float64 cannot hold stay literals, and no key is lost to a second one."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from polycli.xval.records.values import NumberLiteral, Value

#: All digits as one, so that what looks like a number beyond float64 is found by searching for one text.
_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_EXPONENT = re.compile(rb"e[-+]?000")
_LONG = b"0" * 300
_BLANK = re.compile(r"[ \t\n\r]*")
_NOT_ZERO = re.compile(r"[1-9]")


class DuplicateKeyError(ValueError):
    """An object has a key twice, of which one value would be lost."""


def may_exceed_float64(text: str) -> bool:
    """Whether a number in the text might overflow, underflow or be very long; quick, and never wrongly no."""
    plain = text.encode("utf-8", "surrogatepass").translate(_DIGITS)
    return _LONG in plain or _EXPONENT.search(plain) is not None


def decoder(*, careful: bool, strict: bool = True) -> json.JSONDecoder:
    """Returns a decoder of one JSON text. `careful` keeps literals that float64 cannot hold, at a call for each number.

    NaN, Infinity and -Infinity, which are not JSON but often written, are read as floats. Reading raises
    DuplicateKeyError where an object has a key twice, and otherwise what `json` raises.
    """
    return json.JSONDecoder(
        object_pairs_hook=_object,
        strict=strict,
        parse_float=_float if careful else None,
        parse_int=_integer if careful else None,
    )


def members_of(text: str, reader: json.JSONDecoder) -> Iterator[Any]:
    """The members of an array, one after the other; an error in the place of one that has a key twice.

    Raises:
        JSONDecodeError: the text is no array, or something follows it.
    """
    at = _blank(text, text.index("[") + 1)
    going = text[at : at + 1] != "]"
    while going:
        try:
            value, end = reader.raw_decode(text, at)
        except DuplicateKeyError as error:
            value, end = error, json.JSONDecoder(strict=reader.strict).raw_decode(text, at)[1]
        yield value
        at = _blank(text, end)
        mark = text[at : at + 1]
        if mark not in {",", "]"}:
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        going = mark == ","
        at = _blank(text, at + 1) if going else at
    at = _blank(text, at + 1)
    if at < len(text):
        raise json.JSONDecodeError("Extra data", text, at)


def _blank(text: str, start: int) -> int:
    """Returns the place behind the white space that begins at `start`."""
    found = _BLANK.match(text, start)
    return start if found is None else found.end()


def number_of(literal: str) -> float | NumberLiteral:
    """The float64 of a decimal, or the literal itself where that is infinite, or zero without being it."""
    value = float(literal)
    lost = not math.isfinite(value) or (value == 0 and _NOT_ZERO.search(re.split("[eE]", literal)[0]) is not None)
    return NumberLiteral(literal) if lost else value


def _float(literal: str) -> float | NumberLiteral:
    return number_of(literal)


def _integer(literal: str) -> int | NumberLiteral:
    # Longer ones Python refuses to read, and float64 could not hold them anyway.
    return int(literal) if len(literal) < 310 else NumberLiteral(literal)


def _object(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise DuplicateKeyError(f"the key {twice!r} stands twice in one object")
    return found
