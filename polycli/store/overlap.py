"""Which rows of a store a model was trained on: hashes packed small enough for model.json, and looked up again.

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


def pack_hashes(hashes: NDArray[np.uint8]) -> str:
    """Row hashes, (rows, 16) bytes, as base64 of their sorted prefixes: 11 characters a row."""
    return base64.b64encode(np.unique(_prefixes(hashes)).astype(">u8").tobytes()).decode("ascii")


def overlap(trained: str | Sequence[str], hashes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Positions in `hashes`, (rows, 16) bytes, of the rows that are among `trained`: packed, or a list of hex digits.

    Raises:
        CheckpointError: `trained` is neither.
    """
    try:
        known = _unpacked(trained) if isinstance(trained, str) else _prefixes(hashes_of(trained))
    except (binascii.Error, ValueError) as error:
        raise CheckpointError(f"the hashes of the rows that were trained on cannot be read: {error}") from error
    return np.flatnonzero(np.isin(_prefixes(hashes), known)).astype(np.int64)


def _prefixes(hashes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(hashes[:, :_PREFIX_BYTES]).view(">u8").astype(np.uint64).reshape(-1)


def _unpacked(text: str) -> NDArray[np.uint64]:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=">u8").astype(np.uint64)
