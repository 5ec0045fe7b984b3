"""Columns of plain decimal numbers, all cells at once: the values that `cells` and `columns` find one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polycli.xval.records.texts import Texts, as_texts, bytes_of
from polycli.xval.records.values import NumberLiteral
from polycli.xval.sources.json_text import number_of

_PLAIN = b"0123456789+-.eE"
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


def plain_numbers(cells: Sequence[str] | Texts) -> PlainNumbers | None:
    """Reads cells; None where one is something else, or a number that float64 does not hold."""
    texts = as_texts(cells)
    lengths, data = bytes_of(texts)
    # Whatever is not ASCII is none of these characters.
    if not len(texts) or not lengths.all() or lengths.max() > _LONGEST or data.tobytes().translate(None, _PLAIN):
        return None
    values = _values(texts)
    if values is None or not np.isfinite(values).all():
        return None
    characters = np.append(data, np.uint8(0))
    starts = np.cumsum(lengths) - lengths
    pointed = (data == ord(".")) | ((data | 0x20) == ord("e"))
    fractions = np.logical_or.reduceat(pointed, starts)
    first = starts + ((characters[starts] == ord("+")) | (characters[starts] == ord("-")))
    behind = characters[first + 1]
    # The next cell's first digit is not behind this one's.
    longer = first + 1 < starts + lengths
    zeros = (characters[first] == ord("0")) & longer & (behind >= ord("0")) & (behind <= ord("9"))
    vanished = texts.filter(pa.array(fractions & (values == 0))).unique().to_pylist()
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


def _values(texts: Texts) -> NDArray[np.float64] | None:
    """The nearest float64 of each text; None where one is no number."""
    try:
        return np.asarray(pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except pa.ArrowInvalid:
        # Arrow knows no plus sign in front.
        try:
            return np.fromiter(map(float, texts.to_pylist()), dtype=np.float64, count=len(texts))
        except ValueError:
            return None
