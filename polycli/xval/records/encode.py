"""Encodes values in the neutral form: one walk over each record, every number and piece of structure one token.

The walk only appends to lists; arrays are made once for many records, which is what makes it fast.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.xval.records import structure
from polycli.xval.records.grids import grid_of, grid_text
from polycli.xval.records.keypaths import TOP, KeyPatterns, child_path, printable
from polycli.xval.records.number_text import find_numbers
from polycli.xval.records.places import NO_RULES, Place, TokenRules
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
    spelled,
)
from polycli.xval.records.values import MOST_LEVELS, TOO_DEEP, FreeText, NumberLiteral, Record, RecordError, Value
from polycli.xval.records.vocabulary import Vocabulary

#: Integers up to this size are float64 exactly, each of them.
_EXACT = 2**53
#: Words of the coverage report.
MISSING = "NaN or infinite numbers, as missing"
AS_TEXT = "numbers that float64 cannot hold, as text"
IDENTIFIERS = "numbers of text_keys, as text"
RESPELLED = "numbers in free text whose value is kept, but not their spelling, such as 1.50"


class RecordEncoder:
    """Walks values; what it has met stays in `tokens`, `numbers` and so on until `records` makes arrays of it.

    With a vocabulary, keys that it lacks are spelled; without one every key that is met gets the next token.
    """

    def __init__(self, vocabulary: Vocabulary | None = None, rules: TokenRules = NO_RULES) -> None:
        self._closed = vocabulary is not None
        self._key_tokens = {} if vocabulary is None else {key: chr(i) for key, i in vocabulary.key_ids.items()}
        self._text = KeyPatterns(rules.text_keys)
        self._spell = KeyPatterns(rules.spell_keys)
        self._nulls, self._blanks, self._gap = KeyPatterns(rules.nulls), rules.blanks, rules.gap
        self._top = self._place(TOP, "")
        self.key_paths: list[str] = []
        #: What was met and is worth telling, for the coverage report.
        self.notes: Counter[str] = Counter()
        #: By key path, whether or not numbers stand there: `hold_out` and `text_keys` must name one of them.
        self.all_paths: dict[str, None] = {TOP: None}
        self._pieces: list[str] = []
        self._depth = 0
        # Arrays, not lists: of a block of a hundred thousand records, lists of these would be most of the memory.
        self._numbers, self._integers = array("d"), array("q")
        #: Places of keys, each with how many numbers stand there.
        self._spans = array("q")
        self._streams: list[str] = []
        self._number_offsets = [0]
        self.ids: list[str] = []
        #: How much of everything there was before the record that was begun last.
        self._mark: tuple[int, int, int, dict[str, int]] = (0, 0, 0, {})

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys that have a token, in the order of their tokens."""
        return tuple(self._key_tokens)

    def add(self, value: Value, *, id: str) -> None:  # noqa: A002
        """Walk one record.

        Raises:
            RecordError: the value is nothing that JSON has, or is nested too deeply. Nothing of it is kept.
        """
        self._mark = len(self._numbers), len(self._integers), len(self._spans), dict(self.notes)
        self._pieces, self._depth = [], 0
        try:
            self._value(value, self._top)
        except RecordError:
            self._take_back()
            raise
        self._streams.append(structure.merge_brackets("".join(self._pieces)))
        self._number_offsets.append(len(self._numbers))
        self.ids.append(id)

    def texts(self) -> dict[str, int]:
        """Maps each key path to the number of texts that stand there; key paths without any are left out."""
        found, waiting = {}, [self._top]
        while waiting:
            place = waiting.pop()
            waiting.extend(place.children.values())
            if place.texts:
                found[place.path] = place.texts
        return found

    @property
    def last_length(self) -> int:
        """Tokens of the record that was added last."""
        return len(self._streams[-1])

    def remove_last(self) -> None:
        """Take back the record that was added last, once; keys and key paths that it brought stay known."""
        self._streams.pop()
        self.ids.pop()
        self._number_offsets.pop()
        self._take_back()

    def _take_back(self) -> None:
        """Forget what was met since the last record was begun."""
        numbers, integers, spans, notes = self._mark
        del self._numbers[numbers:], self._integers[integers:], self._spans[spans:]
        self.notes = Counter(notes)

    def length_of(self, value: Value) -> int:
        """Tokens that a value would have as a record."""
        self.add(value, id="")
        length = self.last_length
        self.remove_last()
        return length

    def records(self) -> Records:
        """Returns everything encoded so far, as arrays."""
        lengths = np.fromiter(map(len, self._streams), dtype=np.int64, count=len(self._streams))
        numbers = np.array(self._numbers)
        integers = np.zeros(len(numbers), dtype=np.bool_)
        integers[np.array(self._integers)] = True
        return Records(
            token_ids=structure.token_array("".join(self._streams)),
            token_offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            numbers=numbers,
            number_offsets=np.array(self._number_offsets, dtype=np.int64),
            number_keys=self._keys_of_numbers(),
            number_integers=integers,
            key_paths=tuple(self.key_paths),
            ids=tuple(self.ids),
        )

    def _keys_of_numbers(self) -> NDArray[np.int32]:
        spans = np.array(self._spans).reshape(-1, 2)
        return np.repeat(spans[:, 0], spans[:, 1]).astype(np.int32)

    def _place(self, path: str, token: str) -> Place:
        return Place(
            path,
            token,
            is_text=self._text.match(path),
            fill=self._nulls.match(path),
            blank=self._blanks.get(path),
        )

    def _child(self, place: Place, key: object) -> Place:
        if not isinstance(key, str):
            raise RecordError(f"has the key {key!r}, which is not text")
        path = child_path(place.path, key)
        self.all_paths[path] = None
        token = self._key_tokens.get(key)
        if token is None:
            if self._closed or printable(key) != key or self._spell.match(path):
                token = f"{QUOTE}{spelled(key)}{QUOTE}{COLON}"
            else:
                token = self._key_tokens[key] = chr(structure.FIRST_KEY + len(self._key_tokens))
        elif not self._closed and self._spell.match(path):
            token = f"{QUOTE}{spelled(key)}{QUOTE}{COLON}"
        found = place.children[key] = self._place(path, token)
        return found

    def _value(self, value: Any, place: Place) -> None:  # noqa: ANN401, C901, PLR0912  # one branch for each kind
        kind = type(value)
        if kind is float:
            self._float(value, place)
        elif kind is int:
            self._integer(value, place)
        elif kind is list:
            self._list(value, place)
        elif kind is dict:
            self._object(value, place)
        elif kind is str:
            place.texts += 1
            self._pieces.append(f"{QUOTE}{spelled(value)}{QUOTE}")
        elif value is None:
            if place.fill:
                self._one_number(math.nan, place)
            elif place.blank is not None and self._pieces[-1].endswith(place.token):
                self._pieces.append(place.blank)
            else:
                self._pieces.append(NULL)
        elif kind is bool:
            self._pieces.append(TRUE if value else FALSE)
        elif kind is NumberLiteral:
            self._literal(value.text)
            self.notes[AS_TEXT] += 1
        elif kind is FreeText:
            self._free_text(value.text, place)
        elif isinstance(value, Mapping):
            self._object(value, place)
        elif isinstance(value, np.generic | np.ndarray):
            self._value(value.tolist(), place)
        elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
            self._list(list(value), place)
        elif isinstance(value, float):  # a subclass of a plain type
            self._float(float(value), place)
        elif isinstance(value, int):
            self._integer(int(value), place)
        else:
            raise RecordError(f"has a {kind.__name__} at {place.path}, which JSON does not have")

    def _one_number(self, value: float, place: Place) -> None:
        self._numbers.append(value)
        self._span(place, 1)
        self._pieces.append(NUM_CHAR)

    def _span(self, place: Place, count: int) -> None:
        """Note that the last `count` numbers stand at this place."""
        if place.number < 0:
            place.number = len(self.key_paths)
            self.key_paths.append(place.path)
        self._spans.extend((place.number, count))

    def _float(self, value: float, place: Place) -> None:
        if not math.isfinite(value):
            self.notes[MISSING] += 1
            self._value(None, place)
        elif place.is_text:
            self._literal(repr(value))
            self.notes[IDENTIFIERS] += 1
        else:
            self._one_number(value, place)

    def _integer(self, value: int, place: Place) -> None:
        if place.is_text:
            self._literal(str(value))
            self.notes[IDENTIFIERS] += 1
        elif -_EXACT <= value <= _EXACT or _is_exact(value):
            self._integers.append(len(self._numbers))
            self._one_number(float(value), place)
        else:
            self._literal(_digits(value))
            self.notes[AS_TEXT] += 1

    def _literal(self, text: str) -> None:
        self._pieces.append(f"{LITERAL}{spelled(text)}{LITERAL}")

    def _list(self, values: Sequence[Any], place: Place) -> None:
        if values and not place.is_text and self._grid(values, place):
            return
        self._descend()
        pieces = self._pieces
        pieces.append(OPEN_LIST)
        was_number = True
        for position, value in enumerate(values):
            start = len(pieces)
            pieces.append("")
            self._value(value, place)
            is_number = pieces[-1] == NUM_CHAR
            # Two numbers need no comma between them, as in the paper's form; everything else has one.
            if position and not (was_number and is_number):
                pieces[start] = COMMA
            was_number = is_number
        pieces.append(CLOSE_LIST)
        self._depth -= 1

    def _grid(self, values: Sequence[Any], place: Place) -> bool:
        """Walk lists in lists of equal length that hold numbers alone, at once; False where it is no such grid."""
        grid = grid_of(values)
        if grid is None:
            return False
        if not grid.all_floats:
            start = len(self._numbers)
            self._integers.extend(start + place for place, value in enumerate(grid.flat) if type(value) is int)
        self._numbers.extend(grid.flat)
        self._span(place, len(grid.flat))
        self._pieces.append(grid_text(grid.shape))
        return True

    def _object(self, values: Mapping[str, Any], place: Place) -> None:
        self._descend()
        pieces = self._pieces
        pieces.append(OPEN_OBJECT)
        children = place.children
        first = True
        for key, value in values.items():
            child = children.get(key) or self._child(place, key)
            pieces.append(child.token if first else f"{COMMA}{child.token}")
            first = False
            self._value(value, child)
        pieces.append(CLOSE_OBJECT)
        self._depth -= 1

    def _descend(self) -> None:
        """One level deeper; a limit of our own, because Python's depends on who calls."""
        self._depth += 1
        if self._depth > MOST_LEVELS:
            raise RecordError(TOO_DEEP)

    def _free_text(self, text: str, place: Place) -> None:
        self._pieces.append(TEXT)
        if self._gap is not None and place.fill and self._gap in text:
            for number, part in enumerate(text.split(self._gap)):
                if number:
                    self._one_number(math.nan, place)
                self._words(part, place)
        else:
            self._words(text, place)
        self._pieces.append(TEXT)

    def _words(self, text: str, place: Place) -> None:
        """Text whose numbers are numbers, without the tokens around it."""
        end = 0
        for span in [] if place.is_text else find_numbers(text):
            self._pieces.append(spelled(text[end : span.start]))
            end = span.stop
            if isinstance(span.value, int):
                self._integers.append(len(self._numbers))
            self._one_number(float(span.value), place)
            if repr(span.value) != text[span.start : end]:
                self.notes[RESPELLED] += 1
        self._pieces.append(spelled(text[end:]))


def _is_exact(value: int) -> bool:
    """Whether float64 holds this integer exactly."""
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _digits(value: int) -> str:
    """All digits, also of integers longer than Python likes to print."""
    return format(Decimal(value), "f")


def encode_records(
    records: Iterable[Record],
    vocabulary: Vocabulary,
    *,
    text_keys: Sequence[str] = (),
    nulls: Sequence[str] = (),
    blanks: Mapping[str, str] | None = None,
    gap: str | None = None,
) -> Records:
    """Records in the neutral form of a closed vocabulary: keys that it lacks are spelled in bytes.

    `text_keys` as prepare had them; where a key path fits `nulls`, null is a [NUM] of value NaN, to be filled, as is
    the mark `gap` in free text. A null right behind its key at a path of `blanks` is what stands there.

    Raises:
        RecordError: a value is nothing that JSON has; the message names the record.
    """
    encoder = RecordEncoder(
        vocabulary, TokenRules(text_keys=tuple(text_keys), nulls=tuple(nulls), blanks=blanks or {}, gap=gap)
    )
    for record in records:
        try:
            encoder.add(record.value, id=record.id)
        except RecordError as error:
            raise RecordError(f"{record.id}: {error}") from error
    return encoder.records()
