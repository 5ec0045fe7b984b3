"""SHA-256 of documents, files and array rows, so that equal content is known by an equal name."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.store.columns import Column, Ragged

#: Hex digits kept of a row's hash: 128 bits, which 1e9 rows share by chance with probability 1e-21.
ROW_HASH_DIGITS = 32
#: Rows whose bytes are copied together; those of a whole block would be as large as the block.
_HASHED_AT_ONCE = 4096


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


def row_hashes(columns: Sequence[Column]) -> NDArray[np.uint8]:
    """The content hash of every row over several columns, (rows, 16): of each value's shape and bytes, in order."""
    size = ROW_HASH_DIGITS // 2
    sha256 = hashlib.sha256
    rows, digests = len(columns[0]), bytearray()
    for start in range(0, rows, _HASHED_AT_ONCE):
        stop = min(start + _HASHED_AT_ONCE, rows)
        # One call for each row: the loop is most of the cost where rows are small.
        said = zip(*(part for column in columns for part in _described(column, start, stop)), strict=True)
        digests += b"".join([sha256(b"".join(row)).digest()[:size] for row in said])
    return np.frombuffer(bytes(digests), dtype=np.uint8).reshape(rows, size).copy()


def _described(column: Column, start: int, stop: int) -> tuple[list[bytes], list[bytes]]:
    """Describes rows of a column: what is said of each one's type and shape, and its bytes."""
    whole = column.values if isinstance(column, Ragged) else column
    offsets = column.offsets[start : stop + 1] if isinstance(column, Ragged) else np.arange(start, stop + 1)
    values = np.ascontiguousarray(whole[offsets[0] : offsets[-1]])
    rest = values.shape[1:]
    size = values.dtype.itemsize * math.prod(rest)
    data = values.reshape(-1).view(np.uint8).tobytes()
    bounds = ((offsets - offsets[0]) * size).tolist()
    lengths = [end - start for start, end in pairwise(bounds)]
    known = {length: f"{length}{values.dtype.str}{rest}".encode() for length in set(lengths)}
    return [known[length] for length in lengths], [data[start:end] for start, end in pairwise(bounds)]


def hashes_of(digits: Sequence[str]) -> NDArray[np.uint8]:
    """Row hashes of 32 hex digits as (rows, 16) bytes."""
    return np.frombuffer(bytes.fromhex("".join(digits)), dtype=np.uint8).reshape(len(digits), ROW_HASH_DIGITS // 2)


def hex_of(hashes: NDArray[np.uint8]) -> list[str]:
    """Row hashes of (rows, 16) bytes as 32 hex digits each."""
    text = np.ascontiguousarray(hashes).tobytes().hex()
    return [text[start : start + ROW_HASH_DIGITS] for start in range(0, len(text), ROW_HASH_DIGITS)]


def combined_hash(hashes: list[str]) -> str:
    """One row hash for a row that has several arrays, in the order of the arrays; a single one is itself."""
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("|".join(hashes).encode()).hexdigest()[:ROW_HASH_DIGITS]
