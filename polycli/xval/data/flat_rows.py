"""Rows of a table in the neutral form, column by column: the very records that a walk over each of them would make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from polycli.xval.records.keypaths import TOP, child_path
from polycli.xval.records.records import Records
from polycli.xval.records.structure import CLOSE_OBJECT, COMMA, FIRST_BYTE, FIRST_KEY, NULL, NUM, OPEN_OBJECT, QUOTE
from polycli.xval.records.texts import Texts, bytes_of

#: Kinds of cells.
GAP, NUMBER, TEXT = range(3)
_QUOTE = ord(QUOTE)


@dataclass(frozen=True)
class FlatColumn:
    """The values of one key in all rows."""

    key: str
    #: Of each row: a gap, a number or a text.
    kinds: NDArray[np.uint8]
    #: Of each row, of meaning where it has a number; and whether that is an integer.
    numbers: NDArray[np.float64]
    integers: NDArray[np.bool_]
    #: Of the rows that have one.
    texts: Texts


class FlatRows:
    """A block of rows, with all that a `RecordEncoder` tells of the records that it met."""

    def __init__(self, columns: Sequence[FlatColumn], ids: Texts) -> None:
        self._columns, self.ids = tuple(columns), ids
        self.keys = tuple(column.key for column in columns)
        self.notes: Counter[str] = Counter()
        self._paths = [child_path(TOP, key) for key in self.keys]
        #: By key path, as they were met.
        self.all_paths = dict.fromkeys((TOP, *self._paths))

    def __len__(self) -> int:
        return len(self.ids)

    def texts(self) -> dict[str, int]:
        """Maps each key path to the number of texts that stand there; key paths without any are left out."""
        counts = [(path, len(column.texts)) for path, column in zip(self._paths, self._columns, strict=True)]
        return {path: count for path, count in reversed(counts) if count}

    def records(self) -> Records:
        """Returns the rows as records, whose names are in `ids`."""
        kinds = np.stack([column.kinds for column in self._columns], axis=1)
        is_number = kinds == NUMBER
        numbers = np.stack([column.numbers for column in self._columns], axis=1)
        integers = np.stack([column.integers for column in self._columns], axis=1)
        places, paths = self._numbered(is_number)
        return Records(
            token_ids=self._tokens(kinds),
            token_offsets=self._offsets,
            numbers=numbers[is_number],
            number_offsets=np.concatenate([[0], np.cumsum(is_number.sum(axis=1))]).astype(np.int64),
            number_keys=np.broadcast_to(places, is_number.shape)[is_number].astype(np.int32),
            number_integers=integers[is_number],
            key_paths=paths,
        )

    def _numbered(self, is_number: NDArray[np.bool_]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """The place of each column's key path among those with numbers, which come as a walk meets them."""
        first = np.where(is_number.any(axis=0), is_number.argmax(axis=0), len(is_number))
        order = [place for place in np.argsort(first, kind="stable").tolist() if first[place] < len(is_number)]
        places = np.full(len(self.keys), -1, dtype=np.int64)
        places[order] = np.arange(len(order))
        return places, tuple(self._paths[place] for place in order)

    @cached_property
    def _bytes(self) -> list[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Returns, for each column, the length of each text, and the UTF-8 bytes of all."""
        return [bytes_of(column.texts) for column in self._columns]

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        """(rows, columns): tokens of each value."""
        lengths = np.ones((len(self), len(self._columns)), dtype=np.int64)
        for place, (column, (sizes, _)) in enumerate(zip(self._columns, self._bytes, strict=True)):
            lengths[column.kinds == TEXT, place] = sizes + 2
        return lengths

    @cached_property
    def _offsets(self) -> NDArray[np.int64]:
        """Returns where the tokens of each row start: brackets, keys, commas and values."""
        whole = self._lengths.sum(axis=1) + 2 * len(self._columns) + 1
        return np.concatenate([[0], np.cumsum(whole)]).astype(np.int64)

    def _tokens(self, kinds: NDArray[np.uint8]) -> NDArray[np.int32]:
        starts, lengths = self._offsets[:-1], self._lengths
        tokens = np.empty(int(self._offsets[-1]), dtype=np.int32)
        # A key, a value, and the comma, or the bracket, behind it.
        at = starts[:, None] + 1 + np.cumsum(lengths + 2, axis=1) - lengths - 2
        tokens[starts] = ord(OPEN_OBJECT)
        for place, (sizes, data) in enumerate(self._bytes):
            keys, values = at[:, place], at[:, place] + 1
            tokens[keys] = FIRST_KEY + place
            tokens[values] = np.where(kinds[:, place] == NUMBER, NUM, ord(NULL))
            tokens[values + lengths[:, place]] = ord(COMMA)
            if len(sizes):
                texts = values[kinds[:, place] == TEXT]
                tokens[texts] = tokens[texts + sizes + 1] = _QUOTE
                behind = np.repeat(texts + 1 - (np.cumsum(sizes) - sizes), sizes) + np.arange(len(data))
                tokens[behind] = data.astype(np.int32) + FIRST_BYTE
        tokens[self._offsets[1:] - 1] = ord(CLOSE_OBJECT)
        return tokens
