"""Reads JSON as it is written: numbers that float64 cannot hold stay literals, and no key is lost to a second one."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
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


def members_of(pieces: Iterable[str]) -> Iterator[Any]:
    """The members of an array, one after the other, whose text comes in pieces: no more of it is held than one needs.

    In the place of a member that has a key twice stands an error.

    Raises:
        JSONDecodeError: the text is no array, or something follows it; line and column are those of the whole text.
    """
    window = _Window(iter(pieces))
    at = window.behind_blanks(0)
    if window.text[at : at + 1] != "[":
        raise window.wrong("Expecting '['", at)
    at = window.behind_blanks(at + 1)
    going = window.text[at : at + 1] != "]"
    while going:
        value, at = window.value(at)
        yield value
        going = window.text[at] == ","
        at = window.behind_blanks(at + 1) if going else at
    at = window.behind_blanks(at + 1)
    if at < len(window.text):
        raise window.wrong("Extra data", at)


class _Window:
    """The part of a text that is held while it is read piece by piece."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self.text = ""
        self._pieces = pieces
        self._reader = decoder(careful=False)
        #: How many lines are dropped, and how many characters of the line that the window begins in.
        self._lines = self._characters = 0

    def behind_blanks(self, at: int) -> int:
        """The place behind the white space that begins at `at`, in a window that may have moved on."""
        at = _blank(self.text, at)
        while at == len(self.text) and self._grow(at):
            at = _blank(self.text, 0)
        return at

    def value(self, at: int) -> tuple[Any, int]:
        """The value that begins at `at`, and the place of the mark behind it, in a window that may have moved on.

        Raises:
            JSONDecodeError: there is no value, or no comma or bracket behind it.
        """
        while True:
            try:
                value, end = self._one(at)
            except json.JSONDecodeError as error:
                problem, place = error.msg, error.pos
            else:
                place = _blank(self.text, end)
                # A number may go on where the window ends, so a value is whole only with what follows it.
                if self.text[place : place + 1] in {",", "]"}:
                    return value, place
                problem = "Expecting ',' delimiter"
            if not self._grow(at):
                raise self.wrong(problem, place)
            at = 0

    def wrong(self, problem: str, at: int) -> json.JSONDecodeError:
        """An error at a place of the window, whose line and column are those of the whole text."""
        error = json.JSONDecodeError(problem, self.text, at)
        error.colno += self._characters if error.lineno == 1 else 0
        error.lineno += self._lines
        return error

    def _one(self, at: int) -> tuple[Any, int]:
        try:
            value, end = self._reader.raw_decode(self.text, at)
        except DuplicateKeyError as error:
            return error, json.JSONDecoder().raw_decode(self.text, at)[1]
        return value, end

    def _grow(self, at: int) -> bool:
        """Drop what stands before `at` and read on; False where the text is at its end, and nothing is dropped then."""
        # Twice what is held: a member of many pieces is then tried a few times, not once for each piece.
        more, wanted = [], max(1, len(self.text) - at)
        while wanted > 0 and (piece := next(self._pieces, None)) is not None:
            more.append(piece)
            wanted -= len(piece)
        if not any(more):
            return False
        lines = self.text.count("\n", 0, at)
        self._lines += lines
        self._characters = at - self.text.rfind("\n", 0, at) - 1 if lines else self._characters + at
        self.text = self.text[at:] + "".join(more)
        self._reader = decoder(careful=may_exceed_float64(self.text))
        return True


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
