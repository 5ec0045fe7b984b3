"""Finds the rows of a store that a model was trained on: hashes packed small enough for model.json, and looked up.

Of each hash of 16 bytes the first 8 are kept: of a million rows and a million others, two agree by chance with
probability 5e-8.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.errors import CheckpointError
from polycli.store.hashing import hashes_of

_PREFIX_BYTES = 8


Numbers = NDArray[np.uint64]


def pack_hashes(hashes: NDArray[np.uint8]) -> str:
    """Row hashes, (rows, 16) bytes, as base64 of their sorted prefixes: 11 characters a row."""
    return pack(prefixes(hashes))


def overlap(trained: str | Sequence[str], hashes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Positions in `hashes`, (rows, 16) bytes, of the rows that are among `trained`: packed, or a list of hex digits.

    Raises:
        CheckpointError: `trained` is neither.
    """
    return np.flatnonzero(np.isin(prefixes(hashes), unpack(trained))).astype(np.int64)


def prefixes(hashes: NDArray[np.uint8]) -> Numbers:
    """The first 8 bytes of row hashes, (rows, 16) bytes, as numbers, (rows,)."""
    return np.ascontiguousarray(hashes[:, :_PREFIX_BYTES]).view(">u8").astype(np.uint64).reshape(-1)


def pack(numbers: Numbers) -> str:
    """Numbers as base64 of them, sorted and each once, big-endian: 11 characters each."""
    return base64.b64encode(np.unique(numbers).astype(">u8").tobytes()).decode("ascii")


def unpack(packed: str | Sequence[str]) -> Numbers:
    """The numbers that `pack` packed, or those of hashes of 32 hex digits each.

    Raises:
        CheckpointError: it is neither.
    """
    try:
        if isinstance(packed, str):
            return np.frombuffer(base64.b64decode(packed, validate=True), dtype=">u8").astype(np.uint64)
        return prefixes(hashes_of(packed))
    except (binascii.Error, ValueError) as error:
        raise CheckpointError(f"the hashes of the rows that were trained on cannot be read: {error}") from error
