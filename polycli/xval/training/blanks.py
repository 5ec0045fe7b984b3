"""Hides classes whole: of a value, all from a place on where candidates part is cut away, but for one [MASK].

A byte of a text that is hidden alone hardly needs the rest of the record: its neighbours give it away. Behind the one
[MASK] of a blank may stand a short text or a long one, and the model must say with which token it goes on, as it is
asked when it fills in a class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polycli.engine.batches.order import GOLDEN, keyed_words, mixed
from polycli.xval.records.classes import Column
from polycli.xval.records.records import Records
from polycli.xval.records.structure import QUOTE, token_text

Marks = NDArray[np.bool_]
_BLANK, _PLACE = (np.uint64(word) for word in keyed_words(2, "xval blanks"))
_QUOTE = ord(QUOTE)


@dataclass(frozen=True)
class Blanked:
    """Records in which some classes were cut, and what of their tokens must be hidden, or shown, for that."""

    records: Records
    hidden: Marks
    shown: Marks

    def settle(self, drawn: Marks) -> Marks:
        """Returns what is hidden: what was drawn, but for the tokens of blanks."""
        return (drawn | self.hidden) & ~self.shown


def blank_classes(
    records: Records,
    columns: Mapping[int, Column],
    seeds: NDArray[np.uint64],
    probability: float,
    *,
    others_shown: bool = False,
) -> Blanked:
    """Cut classes with a probability, each a pure function of the record's seed and of its place among the classes.

    Args:
        records: nothing hidden.
        columns: by the token of their key.
        seeds: a word for each record.
        probability: of each class.
        others_shown: whether the classes that are not cut must not be hidden in another way.
    """
    ids = records.token_ids
    copies = np.ones(len(ids), dtype=np.int64)
    hidden, shown = np.zeros(len(ids), np.bool_), np.zeros(len(ids), np.bool_)
    #: Closing quotes that are a target themselves: of two copies the second is shown.
    doubled = []
    keys = np.flatnonzero(np.isin(ids, np.fromiter(columns, dtype=np.int64)))
    owners = np.searchsorted(records.token_offsets, keys, side="right") - 1
    first = np.searchsorted(keys, records.token_offsets[:-1])
    places = (np.arange(len(keys)) - first[owners]).astype(np.uint64)
    words = mixed(mixed(seeds[owners] + _BLANK) + places * np.uint64(GOLDEN))
    chosen = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53 < probability
    draws = mixed(words + _PLACE) >> np.uint64(11)
    wanted = slice(None) if others_shown else chosen
    for key, draw, cut in zip(keys[wanted].tolist(), draws[wanted].tolist(), chosen[wanted].tolist(), strict=True):
        start, end = key + 1, _end_of(ids, key + 1)
        forks = columns[int(ids[key])].forks_of(token_text(ids[start:end]))
        if not cut or not forks:
            shown[start:end] |= bool(forks)
            continue
        place = start + forks[draw % len(forks)]
        copies[place + 1 : end] = 0
        hidden[place] = True
        shown[start:place] = True
        if place > start and place == end - 1:
            copies[place] = 2
            doubled.append(place)
        elif place > start:
            # A text that was opened is closed.
            copies[end - 1] = 1
            shown[end - 1] = True
    starts = np.concatenate([[0], np.cumsum(copies)])
    found = replace(records, token_ids=np.repeat(ids, copies), token_offsets=starts[records.token_offsets])
    hidden, shown = np.repeat(hidden, copies), np.repeat(shown, copies)
    second = starts[np.array(doubled, dtype=np.int64)] + 1
    hidden[second], shown[second] = False, True
    return Blanked(found, hidden, shown)


def _end_of(ids: NDArray[np.int32], start: int) -> int:
    """Returns the place behind the value that begins at `start`: a text with its quotes, or one token."""
    end = start + 1
    if ids[start] == _QUOTE:
        while ids[end] != _QUOTE:
            end += 1
        end += 1
    return end
