"""Puts the keys of objects into a random order, on the neutral tokens, many records at once.

A model that trains on records whose keys stand in another order each time cannot lean on where a key stands. What is
said stays the same: members of an object move as they are, with all that stands in them, and nothing else moves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polycli.engine.batches.order import GOLDEN, keyed_words, mixed
from polycli.xval.records.records import Records
from polycli.xval.records.structure import CLOSE_OBJECT, COMMA, FIRST_BYTE, NUM, OPEN_OBJECT, STRUCTURE

Rows = NDArray[np.int64]
#: By structure token: how many containers it closes, and how many it opens after that.
_CLOSES = np.array([0 if name in ('"', "text") else name.count("]") + name.count("}") for name in STRUCTURE])
_OPENS = np.array([name.count("[") + name.count("{") if name[0] in "[]{" else 0 for name in STRUCTURE])
_CLOSES[:4] = 0
_OPENS[:4] = 0
_OPEN, _CLOSE, _COMMA = ord(OPEN_OBJECT), ord(CLOSE_OBJECT), ord(COMMA)
_ORDER = keyed_words(1, "xval order of keys")[0]


def shuffle_keys(records: Records, seeds: NDArray[np.uint64]) -> Records:
    """The records with the keys of each of their objects in a random order, a pure function of the record's seed."""
    depth = 1
    while True:
        levels = _levels(records.token_ids)
        if depth > levels.deepest:
            return records
        records = _shuffled_at(records, levels, depth, seeds)
        depth += 1


@dataclass(frozen=True)
class _Levels:
    """How deep every token stands."""

    before: Rows
    #: Between what it closes and what it opens.
    lowest: Rows
    after: Rows

    @property
    def deepest(self) -> int:
        return int(self.after.max(initial=0))


def _levels(token_ids: NDArray[np.int32]) -> _Levels:
    structural = np.minimum(token_ids, FIRST_BYTE - 1)
    is_structure = token_ids < FIRST_BYTE
    closes = np.where(is_structure, _CLOSES[structural], 0)
    opens = np.where(is_structure, _OPENS[structural], 0)
    after = np.cumsum(opens - closes)
    before = after - opens + closes
    return _Levels(before, before - closes, after)


def _shuffled_at(records: Records, levels: _Levels, depth: int, seeds: NDArray[np.uint64]) -> Records:
    """The records with the members of all objects shuffled whose inside is at this depth."""
    ids = records.token_ids
    place = np.arange(len(ids))
    opened = np.maximum.accumulate(np.where((levels.lowest < depth) & (levels.after >= depth), place, -1))
    inside = (opened >= 0) & (place > opened) & (levels.before >= depth) & (ids[opened] == _OPEN)
    ends = inside & (levels.before == depth) & ((ids == _COMMA) | (ids == _CLOSE))
    if not (ends & (ids == _COMMA)).any():
        return records
    member = np.cumsum(ends) - ends  # Each member has the comma, or the bracket, behind it.
    owner = np.repeat(np.arange(len(records)), records.token_lengths)
    within = member - member[records.token_offsets[:-1]][owner]
    words = mixed(mixed(seeds[owner] + _ORDER + np.uint64(depth)) + within.astype(np.uint64) * np.uint64(GOLDEN))
    anchor = np.where(inside, 2 * opened + 1, 2 * place)
    order = np.lexsort((place, np.where(inside, words, np.uint64(0)), anchor))
    moved = ids[order]
    # Commas and the bracket stay where they were; what stood before them has changed places.
    moved[ends[order]] = ids[ends]
    is_number = ids == NUM
    number = (np.cumsum(is_number) - 1)[order][is_number[order]]
    return replace(
        records,
        token_ids=moved,
        numbers=records.numbers[number],
        number_keys=records.number_keys[number],
        number_integers=records.number_integers[number],
    )
