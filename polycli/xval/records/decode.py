"""Decodes the neutral form back to values: the exact inverse of the walk that made it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from polycli.xval.records import structure
from polycli.xval.records.records import Records
from polycli.xval.records.structure import (
    CLOSE_LIST,
    CLOSE_OBJECT,
    COLON,
    COMMA,
    FALSE,
    LITERAL,
    NULL,
    NUM_CHAR,
    OPEN_LIST,
    OPEN_OBJECT,
    QUOTE,
    TEXT,
    TRUE,
)
from polycli.xval.records.values import FreeText, NumberLiteral, Value
from polycli.xval.records.vocabulary import Vocabulary

_CONSTANTS = {NULL: None, TRUE: True, FALSE: False}


class UndecodableError(ValueError):
    """The tokens are no record; a model's own writing may well be none."""


def decode_records(records: Records, vocabulary: Vocabulary) -> list[Value]:
    """The values of all records: what was walked, but for NaN and infinities, which are null.

    Free text comes back as `FreeText`; what float64 could not hold as the `int` or `float` that Python reads it as.

    Raises:
        UndecodableError: a record is not well formed.
    """
    return [decode_record(records, row, vocabulary) for row in range(len(records))]


def decode_record(records: Records, row: int, vocabulary: Vocabulary) -> Value:
    """The value of one record; errors as for `decode_records`."""
    place = records.numbers_of(row)
    numbers = [
        _number(value, integer=integer)
        for value, integer in zip(records.numbers[place].tolist(), records.number_integers[place].tolist(), strict=True)
    ]
    stream = structure.split_brackets(structure.token_text(records.tokens_of(row)))
    return _Reader(stream, iter(numbers), vocabulary.keys).whole()


def _number(value: float, *, integer: bool) -> int | float | None:
    if math.isnan(value):
        return None
    return int(value) if integer else value


class _Reader:
    """Reads one stream from left to right, with the containers that are open on a stack of its own."""

    def __init__(self, stream: str, numbers: Iterator[int | float | None], keys: Sequence[str]) -> None:
        self._stream = stream
        self._numbers = numbers
        self._keys = keys
        self._at = 0

    def whole(self) -> Value:
        """The one value that the stream is.

        Raises:
            UndecodableError: it is none, or something follows it.
        """
        open_containers: list[list[Value] | dict[str, Value]] = []
        keys: list[str] = []
        while True:
            token = self._next()
            value: Value
            if token in (OPEN_LIST, OPEN_OBJECT):
                container: list[Value] | dict[str, Value] = [] if token == OPEN_LIST else {}
                if self._peek() != (CLOSE_LIST if token == OPEN_LIST else CLOSE_OBJECT):
                    open_containers.append(container)
                    if token == OPEN_OBJECT:
                        keys.append(self._key())
                    continue
                self._at += 1
                value = container
            else:
                value = self._scalar(token)
            # A finished value goes into what is open around it, and may finish that, and so on outwards.
            while open_containers:
                outer = open_containers[-1]
                if isinstance(outer, list):
                    outer.append(value)
                else:
                    outer[keys.pop()] = value
                if self._continues(outer, keys):
                    break
                value = open_containers.pop()
            else:
                if self._at != len(self._stream):
                    raise UndecodableError("something follows the record's end")
                return value

    def _continues(self, outer: list[Value] | dict[str, Value], keys: list[str]) -> bool:
        """Go to the next member of `outer`, if there is one; else past its end."""
        token = self._peek()
        if isinstance(outer, list):
            if token == CLOSE_LIST:
                self._at += 1
                return False
            if token == COMMA:
                self._at += 1
            elif not (token == NUM_CHAR and self._stream[self._at - 1] == NUM_CHAR):
                raise UndecodableError("two members of a list have no comma between them")
            return True
        token = self._next()
        if token == COMMA:
            keys.append(self._key())
            return True
        if token == CLOSE_OBJECT:
            return False
        raise UndecodableError("a comma or the end of an object was expected")

    def _scalar(self, token: str) -> Value:
        if token == NUM_CHAR:
            return self._number()
        if token == QUOTE:
            return self._until(QUOTE)
        if token in _CONSTANTS:
            return _CONSTANTS[token]
        if token == LITERAL:
            try:
                return NumberLiteral(self._until(LITERAL)).value()
            except (ValueError, ArithmeticError) as error:
                raise UndecodableError(f"the text of a number cannot be read: {error}") from error
        if token == TEXT:
            return self._free_text()
        raise UndecodableError(f"token {ord(token)} begins no value")

    def _key(self) -> str:
        token = self._next()
        if token == QUOTE:
            key = self._until(QUOTE)
            if self._next() != COLON:
                raise UndecodableError("a spelled key has no colon behind it")
            return key
        place = ord(token) - structure.FIRST_KEY
        if not 0 <= place < len(self._keys):
            raise UndecodableError(f"token {ord(token)} is not a key")
        return self._keys[place]

    def _free_text(self) -> FreeText:
        parts = []
        while True:
            end = self._at
            while end < len(self._stream) and self._stream[end] not in (NUM_CHAR, TEXT):
                end += 1
            parts.append(self._text(self._stream[self._at : end]))
            self._at = end
            if self._next() == TEXT:
                return FreeText("".join(parts))
            parts.append("null" if (value := self._number()) is None else repr(value))

    def _number(self) -> int | float | None:
        try:
            return next(self._numbers)
        except StopIteration:
            raise UndecodableError("there are more [NUM] than numbers") from None

    def _until(self, token: str) -> str:
        end = self._stream.find(token, self._at)
        if end < 0:
            raise UndecodableError("a text has no end")
        text = self._text(self._stream[self._at : end])
        self._at = end + 1
        return text

    def _text(self, stream: str) -> str:
        try:
            return structure.unspelled(stream)
        except (ValueError, OverflowError) as error:
            raise UndecodableError("a text holds tokens that are not bytes, or bytes that are not text") from error

    def _next(self) -> str:
        if self._at >= len(self._stream):
            raise UndecodableError("the record has no end")
        self._at += 1
        return self._stream[self._at - 1]

    def _peek(self) -> str:
        return self._stream[self._at] if self._at < len(self._stream) else ""
