"""Whether a value came back as it was read: the check that nothing is lost on the way into tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polycli.xval.records.number_text import split_text
from polycli.xval.records.values import FreeText, NumberLiteral


def alike(found: Any, read: Any) -> bool:  # noqa: ANN401, PLR0911  # any value; one return for each kind
    """Whether `found` is what `read` must come back as: types, order of keys and the sign of zero included.

    NaN and infinities come back as null, what float64 cannot hold as Python reads it, numbers in free text respelled.
    """
    if isinstance(read, np.ndarray | np.generic):
        return alike(found, read.tolist())
    if isinstance(read, NumberLiteral):
        return type(found) is type(read.value()) and found == read.value()
    if isinstance(read, FreeText):
        pieces = (piece if isinstance(piece, str) else repr(piece) for piece in split_text(read.text))
        return isinstance(found, FreeText) and found.text in ("".join(pieces), read.text)
    if isinstance(read, float) and not math.isfinite(read):
        return found is None
    if isinstance(read, float):
        # A comparison of all digits: -0.0 is not 0.0.
        return type(found) is float and repr(found) == repr(float(read))
    if isinstance(read, str | int) or read is None:
        return type(found) is type(read) and found == read
    if isinstance(read, Mapping):
        same_keys = isinstance(found, Mapping) and list(found) == list(read)
        return same_keys and all(alike(found[key], value) for key, value in read.items())
    same_length = isinstance(found, Sequence) and not isinstance(found, str) and len(found) == len(read)
    return same_length and all(alike(one, other) for one, other in zip(found, read, strict=True))
