"""Columns of plain decimal numbers, all cells at once: the values that `cells` and `columns` find one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.xval.records.values import NumberLiteral
from polycli.xval.sources.json_text import number_of

_PLAIN = b"0123456789+-.eE\n"
_LONGEST = 300
#: Integers below this size are float64 exactly, each of them; the next one above it becomes it by rounding.
_EXACT = 2.0**53


@dataclass(frozen=True)
class PlainNumbers:
    """Cells that are digits, with a point, a sign or an exponent perhaps, and nothing else."""

    values: NDArray[np.float64]
    #: Whether a cell is an integer; minus zero is none.
    integers: NDArray[np.bool_]
    #: Cells that are digits alone, begin with a zero and another digit, and all others.
    whole: int
    zeros: int
    dots: int


def plain_numbers(cells: Sequence[str]) -> PlainNumbers | None:
    """Reads cells; None where one is something else, or a number that float64 does not hold."""
    data = "\n".join(cells).encode("utf-8", "replace")
    # Whatever is not ASCII is none of these characters.
    if not cells or data.translate(None, _PLAIN) or data.count(b"\n") != len(cells) - 1:
        return None
    try:
        values = np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))
    except ValueError:
        return None
    characters = np.frombuffer(data + b"\n\n", dtype=np.uint8)
    ends = np.flatnonzero(characters[:-1] == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    if int((ends - starts).max()) > _LONGEST or not np.isfinite(values).all():
        return None
    pointed = (characters == ord(".")) | ((characters | 0x20) == ord("e"))
    fractions = np.logical_or.reduceat(pointed[:-1], starts)
    first = starts + np.isin(characters[starts], [ord("+"), ord("-")])
    behind = characters[first + 1]
    zeros = (characters[first] == ord("0")) & (behind >= ord("0")) & (behind <= ord("9"))
    vanished = {cells[place] for place in np.flatnonzero(fractions & (values == 0)).tolist()}
    inexact = (np.abs(values[~fractions]) >= _EXACT).any()
    if inexact or any(isinstance(number_of(cell), NumberLiteral) for cell in vanished):
        return None
    return PlainNumbers(
        values,
        ~fractions & ~((values == 0) & np.signbit(values)),
        whole=int((~fractions & ~zeros).sum()),
        zeros=int(zeros.sum()),
        dots=int((fractions & ~zeros).sum()),
    )
