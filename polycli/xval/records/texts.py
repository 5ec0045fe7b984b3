"""Many texts in one Arrow array: their bytes lie one behind the other, so that work on all of them is work on bytes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

#: Texts without nulls.
Texts: TypeAlias = "pa.LargeStringArray"

#: Bytes up to this one are white space and control characters, from 128 on characters that are not ASCII.
_SPACE, _FOREIGN = 0x20, 0x80


def as_texts(texts: Sequence[str] | Texts) -> Texts:
    """Returns the texts as an Arrow array, which they may be already."""
    return texts if isinstance(texts, pa.LargeStringArray) else pa.array(texts, pa.large_string())


def bytes_of(texts: Texts) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The length of each text in UTF-8, and the bytes of all."""
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return np.zeros(len(texts), dtype=np.int64), np.empty(0, dtype=np.uint8)
    bounds = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.diff(bounds), np.frombuffer(data, dtype=np.uint8)[bounds[0] : bounds[-1]]


def among(texts: Texts, wanted: Collection[str]) -> NDArray[np.bool_]:
    """Whether each text is one of the wanted ones."""
    found = pc.is_in(texts, value_set=pa.array(sorted(wanted), pa.large_string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.bool_)


def stripped_among(texts: Texts, wanted: Collection[str]) -> NDArray[np.bool_]:
    """Whether each text is one of the wanted ones, or would be without the white space around it."""
    found = among(texts, wanted)
    lengths, data = bytes_of(texts)
    filled = np.flatnonzero(lengths)
    ends = np.cumsum(lengths)[filled]
    first, last = data[ends - lengths[filled]], data[ends - 1]
    # White space is one of few characters, of which str.strip knows best.
    padded = (np.minimum(first, last) <= _SPACE) | (np.maximum(first, last) >= _FOREIGN)
    for row in filled[padded].tolist():
        found[row] |= texts[row].as_py().strip() in wanted
    return found


def kept(texts: Texts, mask: NDArray[np.bool_]) -> Texts:
    """The texts that a mask keeps."""
    return texts if mask.all() else texts.filter(pa.array(mask))
