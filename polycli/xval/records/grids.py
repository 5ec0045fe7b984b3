"""Lists in lists of equal length that hold numbers alone, such as time series of positions: taken at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from polycli.xval.records import structure
from polycli.xval.records.structure import CLOSE_LIST, COMMA, NUM_CHAR, OPEN_LIST

#: Deeper grids are walked list by list; a look ahead from each of many levels would take the square of their number.
_MOST_AXES = 6
#: Integers up to this size are float64 exactly, each of them.
_EXACT = 2**53
_FLOATS, _LISTS, _NUMBERS = {float}, {list}, {float, int}


class Grid(NamedTuple):
    """Numbers in the order in which they stand, and how many there are along each level of lists."""

    flat: Sequence[float]
    shape: tuple[int, ...]
    #: Whether none is an integer.
    all_floats: bool


def grid_of(values: Sequence[Any]) -> Grid | None:
    """The grid that these lists are; None where they are none, or hold a number that is no plain one."""
    shape = [len(values)]
    flat = values
    while type(flat[0]) is list:
        lengths = set(map(len, flat)) if set(map(type, flat)) == _LISTS else set()
        if len(lengths) != 1 or 0 in lengths or len(shape) == _MOST_AXES:
            return None
        flat = list(chain.from_iterable(flat))
        shape.append(lengths.pop())
    kinds = set(map(type, flat))
    if not kinds <= _NUMBERS or not _all_plain(flat):
        return None
    return Grid(flat, tuple(shape), kinds == _FLOATS)


def _all_plain(values: Sequence[float]) -> bool:
    """Whether no number is NaN or infinite, nor an integer that float64 rounds; may be False for very large ones."""
    # A NaN or an infinity makes the sum one; an integer beyond 2^53 makes it 2^53 at least, however it is rounded.
    try:
        return sum(map(abs, values)) < _EXACT
    except OverflowError:
        return False


@lru_cache(maxsize=4096)
def grid_text(shape: tuple[int, ...]) -> str:
    """The tokens of lists in lists of this shape, filled with numbers."""
    inner = NUM_CHAR if len(shape) == 1 else grid_text(shape[1:])
    between = "" if len(shape) == 1 else COMMA
    return structure.merge_brackets(
        f"{OPEN_LIST}{between.join([structure.split_brackets(inner)] * shape[0])}{CLOSE_LIST}"
    )
