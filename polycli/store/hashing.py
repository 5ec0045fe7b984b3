"""SHA-256 of documents, files and array rows, so that equal content is known by an equal name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Hex digits kept of a row's hash: 128 bits, which 1e9 rows share by chance with probability 1e-21.
ROW_HASH_DIGITS = 32


def canonical_hash(document: object) -> str:
    """SHA-256, 64 hex digits, of a JSON document with sorted keys and no spaces; NaN and infinities are refused."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256, 64 hex digits, of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ContentHash:
    """Running hash of one array that arrives in blocks along its first axis: values and shape, not the cuts."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._length = 0
        self._rest: tuple[int, ...] = ()

    def update(self, block: NDArray[Any]) -> None:
        """Add the next block, (n, ...), in its own dtype and C order."""
        self._digest.update(np.ascontiguousarray(block).view(np.uint8).data)
        self._length += block.shape[0]
        self._rest = block.shape[1:]

    def hexdigest(self) -> str:
        """The hash of all blocks so far and of the shape that they make together."""
        digest = self._digest.copy()
        digest.update(repr((self._length, *self._rest)).encode())
        return digest.hexdigest()[:ROW_HASH_DIGITS]


def combined_hash(hashes: list[str]) -> str:
    """One row hash for a row that has several arrays, in the order of the arrays; a single one is itself."""
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("|".join(hashes).encode()).hexdigest()[:ROW_HASH_DIGITS]
