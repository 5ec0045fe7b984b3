"""Finds where numbers stand in the lists of a record and which one came before each: the baseline "nothing changes"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polycli.xval.records import structure
from polycli.xval.records.records import Records
from polycli.xval.records.structure import CLOSE_LIST, CLOSE_OBJECT, COMMA, NUM_CHAR, OPEN_LIST, OPEN_OBJECT

Rows = NDArray[np.int64]


def list_positions(stream: str) -> list[tuple[int, ...]]:
    """Returns the indices of each number in the lists around it, outermost first; a record has one character a token.

    Indices of objects in between are left out: keys say those.
    """
    positions: list[tuple[int, ...]] = []
    # The open containers: the index of the next item in a list, -1 for an object.
    stack: list[int] = []
    previous = ""
    for token in structure.split_brackets(stream):
        in_list = bool(stack) and stack[-1] >= 0
        # Between two numbers no comma is written.
        if in_list and (token == COMMA or (token == NUM_CHAR and previous == NUM_CHAR)):
            stack[-1] += 1
        if token == NUM_CHAR:
            positions.append(tuple(index for index in stack if index >= 0))
        elif token == OPEN_LIST:
            stack.append(0)
        elif token == OPEN_OBJECT:
            stack.append(-1)
        elif token in (CLOSE_LIST, CLOSE_OBJECT) and stack:
            stack.pop()
        previous = token
    return positions


def persistence(records: Records, turn_of: Rows) -> NDArray[np.float64]:
    """Returns, for each number, the last one before it that is visible when it is hidden.

    Before it means: under the same key path, a smaller first list index and the same other ones, as the same planet or
    station one time step earlier. NaN for numbers that stand in no list, or have none before them that is visible.
    """
    last = np.full(len(records.numbers), np.nan)
    for row in range(len(records)):
        place = records.numbers_of(row)
        series: dict[tuple[int, ...], list[int]] = {}
        indices = list_positions(structure.token_text(records.tokens_of(row)))
        for number, index in zip(range(place.start, place.stop), indices, strict=True):
            if not index:
                continue
            earlier = series.setdefault((int(records.number_keys[number]), *index[1:]), [])
            last[number] = next(
                (records.numbers[other] for other in reversed(earlier) if turn_of[other] != turn_of[number]), np.nan
            )
            earlier.append(number)
    return last
